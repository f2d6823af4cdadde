//! How much time and how many bytes are left of a search, and what it has to report so far.

use std::time::{Duration, Instant};

use crate::report::{Hit, Report, Unsearched, UnsearchedReason};
use crate::search::Request;

/// Longer names are cut in a report.
const MOST_OF_A_NAME: usize = 4096;

/// A search is over: out of time or out of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exhausted;

/// What was used and found.
pub(super) struct Meter {
    report: Report,
    began: Instant,
    time: Duration,
    bytes_left: u64,
    unpacked_of_one: u64,
}

impl Meter {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            report: Report::default(),
            began: Instant::now(),
            time: Duration::from_millis(request.milliseconds),
            bytes_left: request.bytes,
            unpacked_of_one: request.unpacked_bytes,
        }
    }

    /// Bytes that one archive may unpack to.
    pub(super) fn unpacked_of_one(&self) -> u64 {
        self.unpacked_of_one
    }

    pub(super) fn count_file(&mut self) {
        self.report.files += 1;
    }

    pub(super) fn use_bytes(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.report.bytes += bytes;
        self.take(bytes)
    }

    pub(super) fn use_unpacked(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.report.unpacked_bytes += bytes;
        self.take(bytes)
    }

    fn take(&mut self, bytes: u64) -> Result<(), Exhausted> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Exhausted)?;
        self.check_time()
    }

    pub(super) fn check_time(&self) -> Result<(), Exhausted> {
        if self.began.elapsed() > self.time { Err(Exhausted) } else { Ok(()) }
    }

    pub(super) fn hit(&mut self, hit: Hit) {
        if self.report.hits.len() < Report::MOST_HITS && !self.report.hits.contains(&hit) {
            self.report.hits.push(hit);
        }
    }

    pub(super) fn unsearched(&mut self, path: &[u8], reason: UnsearchedReason) {
        // Nobody knows what is in an unreadable file: it is never crowded out by archives that are merely odd.
        let crowded = self.report.unsearched.len() >= Report::MOST_UNSEARCHED;
        if crowded && reason == UnsearchedReason::Unreadable {
            self.report.unsearched.pop();
        } else if crowded {
            return;
        }
        self.report.unsearched.push(Unsearched { path: shown(path), reason });
    }

    pub(super) fn into_report(self, complete: bool) -> Report {
        let milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Report { milliseconds, cpu_milliseconds: cpu_milliseconds(), complete, ..self.report }
    }
}

/// Of this process, which does nothing but search.
fn cpu_milliseconds() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let milliseconds = used.tv_sec.saturating_mul(1000).saturating_add(used.tv_nsec / 1_000_000);
    u64::try_from(milliseconds).unwrap_or_default()
}

/// A name as a report says it.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(MOST_OF_A_NAME)]).into_owned()
}
