//! A file on its way into a sandbox.

use std::fmt;

/// A file to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    /// Where; folders are made.
    pub path: String,
    /// The bytes that the file will hold.
    pub content: Vec<u8>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Upload").field("path", &self.path).field("bytes", &self.content.len()).finish()
    }
}
