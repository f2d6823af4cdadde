//! What is sent when a dead letter is replayed. Pure.
//!
//! The job keeps its id and its trace, so that its whole life is found by them; it is forced past an earlier permanent
//! failure, and its attempts begin again at 1 (the dead-letter queue's envelope says so).

use broker::DeadLetter;
use daytona::BaseIds;
use job::{CutMessage, FleetName, Job};
use settings::FleetLoad;

use super::letter::{Content, read_content};

/// Where a replayed job's settings come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum SettingsFrom<'a> {
    /// fleet.toml, and the bases it names, as they are now.
    FleetFile(&'a FleetLoad, &'a BaseIds),
    /// The job that is in the letter.
    Recorded,
}

/// Why a dead letter is not sent again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotReplayable {
    #[error(
        "its bytes are no job: {0}. If a newer version wrote them, upgrade harvestctl and the workers first"
    )]
    NoJob(String),
    #[error(
        "only the first {kept} of its {bytes} bytes were kept, for no more could be published. Ask for the target's job anew: harvestctl submit TARGET"
    )]
    Part {
        /// How many bytes the letter holds.
        kept: u64,
        /// How many the message had.
        bytes: u64,
    },
    #[error(
        "{0} is not in fleet.toml any more: add it, or give --as-recorded to use the settings in the job"
    )]
    NotListed(String),
}

/// Decides which job is sent in the letter's stead.
pub(super) fn plan(
    letter: &DeadLetter,
    fleet: &FleetName,
    from: SettingsFrom<'_>,
) -> Result<Job, NotReplayable> {
    let recorded = match read_content(letter, fleet) {
        Content::Job(job) => *job,
        Content::Part(CutMessage { kept, bytes, .. }) => return Err(NotReplayable::Part { kept, bytes }),
        Content::NoJob(error) => return Err(NotReplayable::NoJob(error)),
    };
    let (settings, base_snapshot_id) = match from {
        SettingsFrom::Recorded => (recorded.settings.clone(), recorded.base_snapshot_id.clone()),
        SettingsFrom::FleetFile(load, bases) => {
            let settings = load
                .settings_of(&recorded.target)
                .cloned()
                .ok_or_else(|| NotReplayable::NotListed(recorded.target.to_string()))?;
            let base = bases.id_of(&settings.base_snapshot).map(ToString::to_string);
            (settings, base)
        }
    };
    Ok(recorded.replay_with(settings, base_snapshot_id))
}
