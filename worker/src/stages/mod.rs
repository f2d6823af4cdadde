//! The stages of an attempt, one file each, in the order of `process`.

pub(crate) mod build;
pub(crate) mod build_in_sandbox;
pub(crate) mod capture;
pub(crate) mod checkout;
pub(crate) mod detect;
pub(crate) mod install;
pub(crate) mod promote;
pub(crate) mod provision;
pub(crate) mod resolve;
pub(crate) mod scrub;
pub(crate) mod toolchain;
pub(crate) mod verify;
