//! Counts what a run starts, a line for each in a file that belongs to the run: `scripts/test` makes it, names it in a variable for all
//! processes of the run, and prints the sums.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Names the run's list of what it started.
pub const STARTED_VARIABLE: &str = "FLEET_TESTS_STARTED";

/// Adds one to what the run has started of this; nothing in a process that was started alone.
pub fn count(what: &str) {
    let Some(list) = std::env::var_os(STARTED_VARIABLE) else { return };
    // One write of less than a page at the file's end: lines of processes that count at once do not mix.
    let added = OpenOptions::new().append(true).open(list);
    // A number that is missing fails no test.
    drop(added.and_then(|mut list| list.write_all(format!("{what}\n").as_bytes())));
}
