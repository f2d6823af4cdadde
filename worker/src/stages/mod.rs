//! The stages of an attempt, one file each, in the order of `process`.

pub mod baseline;
pub mod build;
pub(crate) mod build_in_sandbox;
pub(crate) mod capture;
pub mod checkout;
pub mod detect;
pub(crate) mod disk_use;
pub mod install;
pub(crate) mod promote;
pub(crate) mod provision;
pub(crate) mod resolve;
pub mod scrub;
pub mod toolchain;
pub(crate) mod verify;
