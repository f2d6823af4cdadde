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

struct Pending {
    index: usize,
    message: Outgoing,
    sent_before: bool,
}

struct Batch<I> {
    jobs: I,
    next_index: usize,
    again: VecDeque<Pending>,
    in_flight: VecDeque<(Pending, PublisherConfirm)>,
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
            again: VecDeque::new(),
            in_flight: VecDeque::new(),
            results: Vec::new(),
        };
        while self.fly(&mut batch, deadline).await == Flight::Interrupted && Instant::now() < deadline {
            batch.take_back();
        }
        batch.give_up(self)
    }

    /// Publishes over one channel until there is nothing left, the channel is gone or the deadline has passed.
    async fn fly<I: Iterator<Item = JobMessage>>(&self, batch: &mut Batch<I>, deadline: Instant) -> Flight {
        let Ok(checkout) = self.checkout((Instant::now() + self.timeout).min(deadline)).await else {
            return Flight::Interrupted;
        };
        let channel = checkout.get();
        loop {
            let step = (Instant::now() + self.timeout).min(deadline);
            if self.fill(batch, channel, step).await == Flight::Interrupted {
                return Flight::Interrupted;
            }
            let Some((pending, confirm)) = batch.in_flight.pop_front() else {
                checkout.give_back();
                return Flight::Done;
            };
            let interrupted = match timeout_at(step, confirm).await {
                Ok(Ok(confirmation)) => {
                    batch.results[pending.index] = Some(judge(&confirmation, &pending.message));
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
            batch.again.push_back(pending);
            return Flight::Interrupted;
        }
    }

    /// Publishes until the window is full or there are no more.
    async fn fill<I: Iterator<Item = JobMessage>>(
        &self,
        batch: &mut Batch<I>,
        channel: &ConfirmChannel,
        step: Instant,
    ) -> Flight {
        while batch.in_flight.len() < WINDOW {
            let Some(mut pending) = batch.next(self) else { break };
            if wait_unblocked(&channel.live, step).await.is_err() {
                batch.again.push_front(pending);
                return Flight::Interrupted;
            }
            pending.sent_before = true;
            let Ok(Ok(confirm)) = timeout_at(step, send(&channel.channel, &pending.message)).await else {
                batch.again.push_front(pending);
                return Flight::Interrupted;
            };
            batch.in_flight.push_back((pending, confirm));
        }
        Flight::Done
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Flight {
    Done,
    Interrupted,
}

impl<I: Iterator<Item = JobMessage>> Batch<I> {
    /// The next message to publish; a job that cannot be one gets its result at once.
    fn next(&mut self, publisher: &Publisher) -> Option<Pending> {
        if let Some(pending) = self.again.pop_front() {
            return Some(pending);
        }
        loop {
            let JobMessage { job, envelope, queue } = self.jobs.next()?;
            let index = self.next_index;
            self.next_index += 1;
            match Outgoing::job(&publisher.topology, &job, &envelope, queue) {
                Ok(message) => {
                    self.results.push(None);
                    return Some(Pending { index, message, sent_before: false });
                }
                Err(error) => self.results.push(Some(Err(error))),
            }
        }
    }

    /// Puts what was not confirmed back to the front, oldest first.
    fn take_back(&mut self) {
        let unconfirmed = self.in_flight.drain(..).map(|(pending, _)| pending);
        self.again.extend(unconfirmed);
        self.again.make_contiguous().sort_by_key(|pending| pending.index);
    }

    fn give_up(mut self, publisher: &Publisher) -> Vec<Result<(), PublishError>> {
        self.take_back();
        while let Some(pending) = self.next(publisher) {
            let error =
                if pending.sent_before { PublishError::Unknown(None) } else { PublishError::Disconnected };
            self.results[pending.index] = Some(Err(error));
        }
        self.results.into_iter().map(|result| result.unwrap_or(Err(PublishError::Unknown(None)))).collect()
    }
}
