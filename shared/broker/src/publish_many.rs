//! Many jobs at once: a window of unconfirmed ones on one channel, and what a lost connection left unconfirmed is
//! published again. Ids are stable, so a second copy is recognised by whoever takes it.

use std::collections::VecDeque;
use std::time::Duration;

use job::{Envelope, Job};
use lapin::PublisherConfirm;
use tokio::time::{Instant, timeout_at};

use crate::pool::ConfirmChannel;
use crate::publish::{Outgoing, judge, send, wait_unblocked};
use crate::{PublishError, Publisher, WorkQueue};

/// Ten times the throughput of one by one; more gains nothing.
const WINDOW: usize = 1000;

/// A job to publish, with all that goes with it.
#[derive(Debug, Clone)]
pub struct JobMessage {
    /// The job, which is the message's body.
    pub job: Job,
    /// What travels beside it, which becomes the headers.
    pub envelope: Envelope,
    /// The work queue it is published to.
    pub queue: WorkQueue,
}

struct BatchedJob {
    index: usize,
    message: Outgoing,
    sent_before: bool,
}

struct Batch<I> {
    jobs: I,
    next_index: usize,
    to_resend: VecDeque<BatchedJob>,
    in_flight: VecDeque<(BatchedJob, PublisherConfirm)>,
    results: Vec<Option<Result<(), PublishError>>>,
}

impl Publisher {
    /// Publishes all jobs within `patience`; the results are in their order. Jobs are taken from the iterator as the
    /// window moves on, so a hundred thousand of them are never in memory at once.
    pub async fn publish_jobs<I>(&self, jobs: I, patience: Duration) -> Vec<Result<(), PublishError>>
    where
        I: IntoIterator<Item = JobMessage>,
        I::IntoIter: Send,
    {
        let deadline = Instant::now() + patience;
        let mut batch = Batch {
            jobs: jobs.into_iter(),
            next_index: 0,
            to_resend: VecDeque::new(),
            in_flight: VecDeque::new(),
            results: Vec::new(),
        };
        while self.publish_batch(&mut batch, deadline).await == Progress::Interrupted
            && Instant::now() < deadline
        {
            batch.requeue_unconfirmed();
        }
        batch.into_results(self)
    }

    /// Publishes over one channel until there is nothing left, the channel is gone or the deadline has passed.
    async fn publish_batch<I: Iterator<Item = JobMessage>>(
        &self,
        batch: &mut Batch<I>,
        deadline: Instant,
    ) -> Progress {
        let Ok(checkout) = self.checkout((Instant::now() + self.timeout).min(deadline)).await else {
            return Progress::Interrupted;
        };
        let channel = checkout.get();
        loop {
            let step = (Instant::now() + self.timeout).min(deadline);
            if self.fill(batch, channel, step).await == Progress::Interrupted {
                return Progress::Interrupted;
            }
            let Some((batched, confirm)) = batch.in_flight.pop_front() else {
                checkout.give_back();
                return Progress::Done;
            };
            let interrupted = match timeout_at(step, confirm).await {
                Ok(Ok(confirmation)) => {
                    batch.results[batched.index] = Some(judge(&confirmation, &batched.message));
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_elapsed) => {
                    if channel.live.blocked().borrow().is_none() {
                        channel.live.give_up();
                    }
                    "no answer".to_owned()
                }
            };
            tracing::debug!(
                error = interrupted,
                "publishing interrupted, the unconfirmed will be published again"
            );
            batch.to_resend.push_back(batched);
            return Progress::Interrupted;
        }
    }

    /// Publishes until the window is full or there are no more.
    async fn fill<I: Iterator<Item = JobMessage>>(
        &self,
        batch: &mut Batch<I>,
        channel: &ConfirmChannel,
        step: Instant,
    ) -> Progress {
        while batch.in_flight.len() < WINDOW {
            let Some(mut batched) = batch.next(self) else { break };
            if wait_unblocked(&channel.live, step).await.is_err() {
                batch.to_resend.push_front(batched);
                return Progress::Interrupted;
            }
            batched.sent_before = true;
            let Ok(Ok(confirm)) = timeout_at(step, send(&channel.channel, &batched.message)).await else {
                batch.to_resend.push_front(batched);
                return Progress::Interrupted;
            };
            batch.in_flight.push_back((batched, confirm));
        }
        Progress::Done
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done,
    Interrupted,
}

impl<I: Iterator<Item = JobMessage>> Batch<I> {
    /// The next message to publish; a job that cannot be one gets its result at once.
    fn next(&mut self, publisher: &Publisher) -> Option<BatchedJob> {
        if let Some(batched) = self.to_resend.pop_front() {
            return Some(batched);
        }
        loop {
            let JobMessage { job, envelope, queue } = self.jobs.next()?;
            let index = self.next_index;
            self.next_index += 1;
            match Outgoing::job(&publisher.topology, &job, &envelope, queue) {
                Ok(message) => {
                    self.results.push(None);
                    return Some(BatchedJob { index, message, sent_before: false });
                }
                Err(error) => self.results.push(Some(Err(error))),
            }
        }
    }

    /// Puts what was not confirmed back to the front, oldest first.
    fn requeue_unconfirmed(&mut self) {
        let unconfirmed = self.in_flight.drain(..).map(|(batched, _)| batched);
        self.to_resend.extend(unconfirmed);
        self.to_resend.make_contiguous().sort_by_key(|batched| batched.index);
    }

    fn into_results(mut self, publisher: &Publisher) -> Vec<Result<(), PublishError>> {
        self.requeue_unconfirmed();
        while let Some(batched) = self.next(publisher) {
            let error =
                if batched.sent_before { PublishError::Unknown(None) } else { PublishError::Disconnected };
            self.results[batched.index] = Some(Err(error));
        }
        self.results.into_iter().map(|result| result.unwrap_or(Err(PublishError::Unknown(None)))).collect()
    }
}
