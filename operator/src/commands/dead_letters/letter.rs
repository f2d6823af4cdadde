//! A dead letter as people and programs see it. Pure.

use std::collections::BTreeMap;

use broker::DeadLetter;
use chrono::{DateTime, Utc};
use job::{
    Commit, CutMessage, DeadLetterReason, Failure, FailureKind, FleetName, Job, JobId, PrebuildName,
    PrebuildRecord, Target,
};
use serde::Serialize;

/// What a letter's bytes are to this version; a newer version may read what an older one could not.
#[derive(Debug)]
pub(super) enum Content {
    Job(Box<Job>),
    /// It is none; here is why.
    NoJob(String),
    /// The beginning of something too large to be kept: never a job, even where it reads as one.
    Part(CutMessage),
}

pub(super) fn read_content(letter: &DeadLetter, fleet: &FleetName) -> Content {
    if let Some(cut) = letter.cut() {
        return Content::Part(cut.clone());
    }
    match Job::decode(&letter.body, fleet) {
        Ok(job) => Content::Job(Box::new(job)),
        Err(error) => Content::NoJob(error_chain::line(&error)),
    }
}

/// The end of the job's id: its random part, so a dozen characters are enough. Other letters have a name of their bytes.
pub(super) fn short_id(letter: &DeadLetter) -> String {
    let id = letter.id.as_str();
    let is_job = id.parse::<JobId>().is_ok();
    id.rsplit('-').next().filter(|_| is_job).unwrap_or(id).to_owned()
}

fn failure(letter: &DeadLetter) -> Option<&Failure> {
    letter.record.as_ref().and_then(|record| record.failure.as_ref())
}

fn trace_id(letter: &DeadLetter) -> Option<String> {
    let recorded = letter.record.as_ref().and_then(|record| record.trace_id.clone());
    recorded.or_else(|| telemetry::trace_id_of(&letter.envelope.trace))
}

/// What sessions are given of each target, by the register.
pub(super) type Promoted = BTreeMap<Target, PrebuildRecord>;

/// The build of its target that came after a letter: it need not be sent again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ResolvedBy {
    pub(super) prebuild: PrebuildName,
    pub(super) commit: Commit,
    pub(super) built_at: DateTime<Utc>,
}

/// One row of the list.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LetterView {
    pub(super) id: String,
    pub(super) short_id: String,
    pub(super) at: DateTime<Utc>,
    pub(super) reason: DeadLetterReason,
    pub(super) target: Option<Target>,
    pub(super) job: Option<JobId>,
    pub(super) attempt: u32,
    pub(super) failure: Option<FailureKind>,
    pub(super) message: String,
    pub(super) trace_id: Option<String>,
    /// What the message was, where only a part of it is left.
    pub(super) cut: Option<CutMessage>,
    /// The good build that its target has had since.
    pub(super) resolved_by: Option<ResolvedBy>,
}

impl LetterView {
    pub(super) fn new(letter: &DeadLetter, fleet: &FleetName, promoted: &Promoted) -> Self {
        let record = letter.record.as_ref();
        let recorded =
            || (record.and_then(|record| record.target.clone()), record.and_then(|record| record.job));
        let ((target, job), unreadable) = match read_content(letter, fleet) {
            Content::Job(job) => ((Some(job.target), Some(job.id)), None),
            Content::NoJob(error) => (recorded(), Some(error)),
            Content::Part(_) => (recorded(), None),
        };
        let message = failure(letter)
            .map(|failure| failure.message.clone())
            .or_else(|| record.and_then(|record| record.decode_error.clone()))
            .or_else(|| describe_broker_death(letter))
            .or(unreadable)
            .unwrap_or_else(|| "the broker gave up on delivering it".to_owned());
        let built = target.as_ref().and_then(|target: &Target| promoted.get(target));
        let resolved_by = built.filter(|built| built.built_at > letter.died_at).map(|built| ResolvedBy {
            prebuild: built.name.clone(),
            commit: built.commit.clone(),
            built_at: built.built_at,
        });
        Self {
            id: letter.id.to_string(),
            short_id: short_id(letter),
            at: letter.died_at,
            // Only the broker itself moves a message without writing a record.
            reason: record.map_or(DeadLetterReason::Broker, |record| record.reason),
            target,
            job,
            attempt: letter.envelope.attempt,
            failure: failure(letter).map(|failure| failure.id),
            message,
            trace_id: trace_id(letter),
            cut: letter.cut().cloned(),
            resolved_by,
        }
    }
}

fn describe_broker_death(letter: &DeadLetter) -> Option<String> {
    let death = letter.broker_death.as_ref()?;
    Some(format!("the broker gave up on it in {}: {}, {} times", death.queue, death.reason, death.count))
}

/// Why an id does not name a dead letter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSuchLetter {
    #[error("no dead letter has the id `{0}`; harvestctl dead-letters list shows them")]
    None(String),
    #[error("`{id}` could be {}: give more of it", .candidates.join(" or "))]
    Several { id: String, candidates: Vec<String> },
    #[error("`{0}` is too short for an id: give at least 4 characters")]
    Short(String),
}

/// The dead letter that a person means by the beginning or the end of its id. Copies of one message share an id and are
/// dealt with together.
pub(super) fn find<'a, L: AsRef<DeadLetter>>(
    letters: &'a [L],
    id: &str,
) -> Result<&'a DeadLetter, NoSuchLetter> {
    let wanted = id.to_ascii_lowercase();
    if wanted.len() < 4 {
        return Err(NoSuchLetter::Short(id.to_owned()));
    }
    let mut found: Vec<&DeadLetter> = Vec::new();
    for letter in letters.iter().map(AsRef::as_ref) {
        let is_meant = letter.id.as_str().starts_with(&wanted) || letter.id.as_str().ends_with(&wanted);
        if is_meant && !found.iter().any(|other| other.id == letter.id) {
            found.push(letter);
        }
    }
    match found[..] {
        [] => Err(NoSuchLetter::None(id.to_owned())),
        [one] => Ok(one),
        _ => {
            let candidates = found.iter().map(|letter| letter.id.to_string()).collect();
            Err(NoSuchLetter::Several { id: id.to_owned(), candidates })
        }
    }
}
