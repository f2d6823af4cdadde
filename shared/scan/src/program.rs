//! The sandbox's half: walks the tree, reads every file that the user could have written, unpacks what can be unpacked.

mod content;
mod matcher;
mod meter;
mod mounts;
mod pack;
mod tree;

use std::io;
use std::path::Path;

use self::matcher::Matcher;
use crate::report::Report;
use crate::search::Request;

/// Searches as `request` says, as the user this process runs as.
pub fn run(request: &Request) -> Report {
    let matcher = Matcher::new(request.key, &request.patterns);
    let mut scan = content::Scan::new(&matcher, meter::Meter::new(request));
    tree::Walk::new(request).run(&mut scan);
    scan.into_report()
}

/// Reads a request and removes its file: whatever runs here later finds no trace of it.
pub fn take_request(path: &Path) -> io::Result<Request> {
    let text = std::fs::read(path)?;
    std::fs::remove_file(path)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
