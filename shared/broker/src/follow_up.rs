//! What is published in a delivery's stead before it is acknowledged: another way where a queue refuses it, and a part of it where
//! nothing takes the whole.
//!
//! A message that nobody can end would come again for ever, and hold a slot each time.

use chrono::Utc;
use job::{
    CutMessage, DeadLetterReason, DeadLetterRecord, Failure, FailureKind, FleetName, Job, JobId, Stage,
};
use sha2::{Digest, Sha256};

use crate::error::PublishError;
use crate::message::Message;
use crate::publish::Outgoing;

/// The most of a message's beginning that a dead letter in part holds: enough to see what it was.
const KEPT: usize = 1024;

/// What follows a delivery.
pub(crate) struct FollowUp {
    pub(crate) message: Outgoing,
    /// Where else it may go when its own exchange refuses it.
    detours: Vec<String>,
    letter: Letter,
}

/// What is recorded should nothing take the whole message.
enum Letter {
    /// The record the dead letter was to have anyway.
    Record(Box<DeadLetterRecord>),
    /// It was not to be a dead letter.
    Unplanned,
    /// What is published is the part already.
    Sent,
}

impl FollowUp {
    /// A dead letter with this record.
    pub(crate) fn dead_letter(message: Outgoing, record: DeadLetterRecord) -> Self {
        Self { message, detours: Vec::new(), letter: Letter::Record(Box::new(record)) }
    }

    /// Another try of the job, through the message's exchange or one of the `detours`.
    pub(crate) fn another_try(message: Outgoing, detours: Vec<String>) -> Self {
        Self { message, detours, letter: Letter::Unplanned }
    }

    /// Turns to another way after a refusal, where there is one that was not tried yet.
    pub(crate) fn take_detour(&mut self, refusal: &PublishError) -> bool {
        if !refusal.is_of_its_destination() || self.detours.is_empty() {
            return false;
        }
        self.message.exchange = self.detours.remove(0);
        true
    }

    /// Becomes the dead letter of a part of `whole`, which nothing takes. No, if it is that already.
    pub(crate) fn cut(
        &mut self,
        whole: &Message,
        dlx: String,
        fleet: &FleetName,
        why: &PublishError,
    ) -> bool {
        let record = match std::mem::replace(&mut self.letter, Letter::Sent) {
            Letter::Record(record) => *record,
            Letter::Unplanned => unplanned_record(whole, fleet, why),
            Letter::Sent => return false,
        };
        let (part, cut) = cut(&whole.body);
        tracing::warn!(
            job.id = whole.message_id,
            queue = whole.queue.as_str(),
            bytes = cut.bytes,
            sha256 = cut.sha256,
            kept = cut.kept,
            why = error_chain::line(why),
            "message dead-lettered in part: nothing takes it whole"
        );
        let headers =
            whole.headers(&whole.envelope).with_record(&DeadLetterRecord { cut: Some(cut), ..record });
        self.message = whole.outgoing_with(part, dlx, whole.home.as_str(), headers);
        self.detours.clear();
        true
    }
}

/// The beginning of a message that is too large, and what it was.
fn cut(body: &[u8]) -> (Vec<u8>, CutMessage) {
    let part = &body[..body.len().min(KEPT)];
    let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let cut =
        CutMessage { bytes: length(body), sha256: hex::encode(Sha256::digest(body)), kept: length(part) };
    (part.to_vec(), cut)
}

/// For a job that was to be tried again, and that the broker does not take any more.
fn unplanned_record(whole: &Message, fleet: &FleetName, why: &PublishError) -> DeadLetterRecord {
    let job = Job::decode(&whole.body, fleet).ok();
    let id = job.as_ref().map(|job| job.id);
    let text = format!("another try of the job could not be published: {}", error_chain::line(why));
    DeadLetterRecord {
        reason: DeadLetterReason::Failed,
        at: Utc::now(),
        worker: String::new(),
        job: id.or_else(|| whole.message_id.as_deref()?.parse::<JobId>().ok()),
        target: job.map(|job| job.target),
        failure: Some(Failure::new(FailureKind::Internal, text).at(Stage::Resolve)),
        decode_error: None,
        cut: None,
        queue: whole.queue.as_str().to_owned(),
        trace_id: None,
    }
}
