//! From the errors of clients to failures of an attempt: the id, whose fault it is, what else it touches.

mod daytona;
mod remote;

pub(crate) use daytona::{from_call, from_capture, from_delete, from_start};
pub(crate) use remote::from_head;

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
