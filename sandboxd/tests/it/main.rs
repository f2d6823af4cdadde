//! sandboxd from outside: HTTP only, in-process servers on port 0 and, where a server must die, the real program.

#![allow(clippy::unwrap_used, reason = "a step of a test that fails ends it, with the place")]

mod faults;
mod isolation;
mod kill;
mod lifecycle;
mod manners;
mod odd_rows;
mod processes;
mod refused;
mod snapshots;
mod support;
