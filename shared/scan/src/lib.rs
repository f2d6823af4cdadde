//! Finds known secrets in a file tree without being told them.
//!
//! The worker turns each secret into the forms it may turn up in and each form into a length and keyed hashes
//! ([`Search`]). The program `harvest-scan` runs in a sandbox that was started anew, in which nothing of the repository
//! runs any more, and reports where a hash matched ([`Report`]). The worker then confirms each match against the secret
//! itself. It catches accidents: whoever wants to hide a secret from a search can (XOR is enough).

#![warn(missing_docs)]

mod form;
mod pattern;
mod report;
mod search;

#[cfg(feature = "program")]
pub mod program;

pub use form::{Form, FormKind, forms_of};
pub use pattern::{Key, Pattern};
pub use report::{Hit, Place, Report, Unsearched, UnsearchedReason};
pub use search::{Confirmed, Limits, Request, Search};
