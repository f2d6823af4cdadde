//! From the errors of clients to failures of an attempt: the id, whose fault it is, what else it touches.

mod daytona;
mod remote;

pub(crate) use daytona::{from_call, from_capture, from_delete, from_start};
pub(crate) use remote::from_head;
