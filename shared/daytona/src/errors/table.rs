//! The one table of Daytona's error texts. First match wins. Each row carries a sample, and the tests feed every
//! sample through the table, so a row that can't match any more fails there.
//!
//! The samples follow Daytona's documented texts with names filled in; none was recorded from a live service,
//! and rows marked "inferred" are not documented at all. Replace a sample when a real one is seen.

use serde::{Deserialize, Serialize};

use super::ErrorKind;
use super::Message;
use crate::operation::{EXECUTE, Operation};

/// A row: on this status, a message that contains every one of these (without case) means this.
struct Row {
    status: u16,
    contains: &'static [&'static str],
    kind: ErrorKind,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "documents the row and is fed through the table by the tests")
    )]
    sample: &'static str,
}

const fn row(status: u16, contains: &'static [&'static str], kind: ErrorKind, sample: &'static str) -> Row {
    Row { status, contains, kind, sample }
}

const TABLE: &[Row] = &[
    row(
        400,
        &["sandbox failed to start"],
        ErrorKind::StartFailed,
        "Sandbox failed to start: Timeout while starting",
    ),
    row(400, &["no available runners"], ErrorKind::Capacity, "No available runners"),
    row(
        400,
        &["snapshot quota exceeded"],
        ErrorKind::SnapshotQuota,
        "Snapshot quota exceeded. Maximum allowed: 30",
    ),
    row(
        400,
        &["exceeds maximum allowed per sandbox"],
        ErrorKind::SandboxTooLarge,
        "CPU request 8 exceeds maximum allowed per sandbox (4).",
    ),
    row(
        400,
        &["total ", "limit exceeded"],
        ErrorKind::SandboxQuota,
        "Total memory limit exceeded. Maximum allowed: 3GiB. To increase concurrency limits, upgrade your tier.",
    ),
    row(
        400,
        &["no ip address found"],
        ErrorKind::WrongState,
        "bad request: no IP address found. Is the Sandbox started?",
    ),
    row(
        400,
        &["must be in started or stopped state"],
        ErrorKind::WrongState,
        "Sandbox must be in started or stopped state to create a snapshot",
    ),
    // Inferred.
    row(400, &["sandbox is not running"], ErrorKind::WrongState, "Sandbox is not running"),
    row(
        400,
        &["snapshot ", " not found"],
        ErrorKind::SnapshotNotFound,
        "Snapshot node-22 not found. Did you add it through the Daytona Dashboard?",
    ),
    row(
        400,
        &["snapshot ", " is not available in region"],
        ErrorKind::SnapshotNotInRegion,
        "Snapshot node-22 is not available in region eu",
    ),
    row(400, &["snapshot ", " is inactive"], ErrorKind::SnapshotNotActive, "Snapshot node-22 is inactive"),
    row(400, &["snapshot ", " is pending"], ErrorKind::SnapshotNotActive, "Snapshot node-22 is pending"),
    row(400, &["snapshot ", " is building"], ErrorKind::SnapshotNotActive, "Snapshot node-22 is building"),
    row(400, &["snapshot ", " is pulling"], ErrorKind::SnapshotNotActive, "Snapshot node-22 is pulling"),
    row(
        400,
        &["snapshot ", " is snapshotting"],
        ErrorKind::SnapshotNotActive,
        "Snapshot node-22 is snapshotting",
    ),
    row(400, &["snapshot ", " is removing"], ErrorKind::SnapshotNotActive, "Snapshot node-22 is removing"),
    row(400, &["snapshot ", " is error"], ErrorKind::SnapshotNotActive, "Snapshot node-22 is error"),
    row(
        400,
        &["snapshot ", " is build_failed"],
        ErrorKind::SnapshotNotActive,
        "Snapshot node-22 is build_failed",
    ),
    // The organization of a create without a region has no default one.
    row(
        400,
        &["does not have a default region"],
        ErrorKind::RegionMissing,
        "This organization does not have a default region. Please open the Daytona Dashboard to set a default region.",
    ),
    row(404, &["region ", "not found"], ErrorKind::RegionMissing, "Region not found"),
    // Inferred.
    row(
        403,
        &["region ", " not "],
        ErrorKind::RegionMissing,
        "Region eu is not available to this organization",
    ),
    row(403, &["suspended"], ErrorKind::Suspended, "Organization is suspended: Depleted credits"),
    // Inferred, from the framework's wording: a route this version lacks. The sandbox may well exist, so this must not read as "gone".
    row(404, &["cannot post /"], ErrorKind::Unsupported, "Cannot POST /api/sandbox/2f1c/ttl/60"),
    row(404, &["cannot put /"], ErrorKind::Unsupported, "Cannot PUT /api/sandbox/2f1c/labels"),
    row(404, &["cannot get /"], ErrorKind::Unsupported, "Cannot GET /api/api-keys/current"),
    row(404, &["cannot delete /"], ErrorKind::Unsupported, "Cannot DELETE /api/snapshots/2f1c"),
    row(
        409,
        &["with name", "already exists"],
        ErrorKind::NameTaken,
        "Sandbox with name hv.prod.web.0a1b2c3d4e5f already exists",
    ),
    row(409, &["state change in progress"], ErrorKind::StateChanging, "Sandbox state change in progress"),
    row(
        409,
        &["modified by another operation"],
        ErrorKind::StateChanging,
        "Sandbox was modified by another operation, please try again",
    ),
];

/// What a refusal means.
pub(crate) fn classify(operation: Operation, status: u16, message: &Message) -> ErrorKind {
    let text = message.as_str().to_ascii_lowercase();
    TABLE
        .iter()
        .find(|row| row.status == status && row.contains.iter().all(|part| text.contains(part)))
        .map_or_else(|| by_status(operation, status), |row| row.kind)
}

/// What an organization has a limit of, as Daytona's texts name it. The register has words of its own for the same (`job::Resource`):
/// neither crate may name the other, and `account` translates.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display,
)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Virtual processors of sandboxes.
    #[strum(serialize = "vCPU")]
    Cpu,
    /// Memory of sandboxes, GiB.
    #[strum(serialize = "GiB of memory")]
    Memory,
    /// Disk of sandboxes, GiB.
    #[strum(serialize = "GiB of disk")]
    Disk,
    /// Snapshots that are not asleep.
    #[strum(serialize = "snapshots")]
    Snapshots,
}

/// A limit that a call would have gone over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exceeded {
    /// What there is no more of.
    pub resource: Resource,
    /// How much of it the organization may have, where Daytona says.
    pub maximum: Option<f64>,
}

/// The limit that a refusal of this text is about: `Total CPU limit exceeded. Maximum allowed: 10.` and the like.
pub(super) fn exceeded(message: &Message) -> Option<Exceeded> {
    let text = message.as_str().to_ascii_lowercase();
    let words = [
        ("total cpu limit", Resource::Cpu),
        ("total memory limit", Resource::Memory),
        ("total disk limit", Resource::Disk),
        ("snapshot quota", Resource::Snapshots),
    ];
    let (_, resource) = words.into_iter().find(|(words, _)| text.contains(words))?;
    let number = text.split_once("maximum allowed:").map(|(_, rest)| rest.trim_start()).unwrap_or_default();
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    Some(Exceeded { resource, maximum: number[..end].trim_end_matches('.').parse().ok() })
}

fn by_status(operation: Operation, status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthorized,
        402 => ErrorKind::Suspended,
        403 => ErrorKind::Forbidden,
        404 | 410 => ErrorKind::NotFound,
        408 if operation == EXECUTE => ErrorKind::CommandTimedOut,
        408 => ErrorKind::Timeout,
        409 => ErrorKind::Conflict,
        422 | 405 | 501 => ErrorKind::Unsupported,
        425 | 429 => ErrorKind::RateLimited,
        500..=599 => ErrorKind::Unavailable,
        400..=499 => ErrorKind::InvalidRequest,
        // No redirect is followed (a POST would turn into a GET), and nothing else is a refusal.
        _ => ErrorKind::Undecodable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{CREATE_SANDBOX, GET_SANDBOX};

    #[test]
    fn every_sample_is_classified_by_its_own_row() {
        for row in TABLE {
            assert_eq!(
                classify(CREATE_SANDBOX, row.status, &Message::new(row.sample)),
                row.kind,
                "{}",
                row.sample
            );
        }
    }

    #[test]
    fn every_quota_differs_from_its_limit_per_sandbox() {
        for what in ["CPU", "memory", "disk", "GPU"] {
            let total = Message::new(&format!("Total {what} limit exceeded. Maximum allowed: 10."));
            assert_eq!(classify(CREATE_SANDBOX, 400, &total), ErrorKind::SandboxQuota);
            let one = Message::new(&format!("{what} request 80 exceeds maximum allowed per sandbox (8)."));
            assert_eq!(classify(CREATE_SANDBOX, 400, &one), ErrorKind::SandboxTooLarge);
        }
    }

    #[test]
    fn a_refusal_says_which_limit_and_how_much() {
        for (text, resource, maximum) in [
            ("Total CPU limit exceeded. Maximum allowed: 10.", Some(Resource::Cpu), Some(10.0)),
            (
                "Total memory limit exceeded. Maximum allowed: 3GiB.\nTo increase concurrency limits, upgrade.",
                Some(Resource::Memory),
                Some(3.0),
            ),
            ("Total disk limit exceeded. Maximum allowed: 12.5 GiB", Some(Resource::Disk), Some(12.5)),
            ("Snapshot quota exceeded. Maximum allowed: 30", Some(Resource::Snapshots), Some(30.0)),
            ("Snapshot quota exceeded.", Some(Resource::Snapshots), None),
            ("Snapshot quota exceeded. Maximum allowed: many", Some(Resource::Snapshots), None),
            ("Total GPU limit exceeded. Maximum allowed: 0.", None, None),
        ] {
            let found = exceeded(&Message::new(text));
            assert_eq!(found.map(|exceeded| exceeded.resource), resource, "{text}");
            assert_eq!(found.and_then(|exceeded| exceeded.maximum), maximum, "{text}");
        }
    }

    #[test]
    fn a_text_on_another_status_means_nothing() {
        let message = Message::new("No available runners");
        assert_eq!(classify(CREATE_SANDBOX, 500, &message), ErrorKind::Unavailable);
    }

    #[test]
    fn without_a_known_text_the_status_decides() {
        for (status, kind) in [
            (302, ErrorKind::Undecodable),
            (400, ErrorKind::InvalidRequest),
            (401, ErrorKind::Unauthorized),
            (402, ErrorKind::Suspended),
            (403, ErrorKind::Forbidden),
            (404, ErrorKind::NotFound),
            (405, ErrorKind::Unsupported),
            (408, ErrorKind::Timeout),
            (409, ErrorKind::Conflict),
            (413, ErrorKind::InvalidRequest),
            (422, ErrorKind::Unsupported),
            (429, ErrorKind::RateLimited),
            (500, ErrorKind::Unavailable),
            (502, ErrorKind::Unavailable),
            (503, ErrorKind::Unavailable),
            (504, ErrorKind::Unavailable),
        ] {
            assert_eq!(classify(GET_SANDBOX, status, &Message::new("")), kind, "{status}");
        }
        assert_eq!(classify(EXECUTE, 408, &Message::new("")), ErrorKind::CommandTimedOut);
    }
}
