//! The tests of the whole, one binary, one module per area.

#![allow(clippy::unwrap_used, reason = "a step of a test that fails ends it, with the place")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks the one variant it is about")]

mod broker;
mod contract;
mod e2e;
mod harness;
mod hostile;
// The image, by whose npm it runs, is built for this platform only.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod npm_registry;
mod operator;
mod prebuilt;
mod producer;
mod sections;
mod smoke;
mod stages;
