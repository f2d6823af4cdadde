//! A set of named tasks that live as long as the program: one that panics, fails or ends although nobody asked
//! for a shutdown takes the program down in order, instead of leaving it half alive.
//!
//! The set owns its tasks: dropping it aborts them, so nothing is ever detached.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::instrument::WithSubscriber;

use crate::Shutdown;

/// What a task's future may return: `()`, or a `Result` whose error is reported.
pub trait TaskOutput {
    /// The error, when there is one.
    fn into_error(self) -> Option<Box<dyn Error + Send + Sync>>;
}

impl TaskOutput for () {
    fn into_error(self) -> Option<Box<dyn Error + Send + Sync>> {
        None
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> TaskOutput for Result<(), E> {
    fn into_error(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.err().map(Into::into)
    }
}

/// How a task ended.
#[derive(Debug)]
pub enum TaskEnd {
    /// By itself, after the drain began: as it should.
    Finished,
    /// By itself and without an error, though no drain was asked for.
    Early,
    /// It returned this error, which nobody else handles.
    Failed(Box<dyn Error + Send + Sync>),
    /// With a panic, whose message this is.
    Panicked(String),
    /// Aborted from outside (the runtime is going down).
    Aborted,
}

/// One task's name and ending.
#[derive(Debug)]
pub struct TaskEndReport {
    /// The name it was spawned under.
    pub name: Cow<'static, str>,
    /// Whether it finished, and if not, why.
    pub ending: TaskEnd,
}

/// At least one task ended as it should not have.
#[derive(Debug)]
pub struct TasksFailed(pub Vec<TaskEndReport>);

/// The tasks of one program.
#[derive(Debug)]
pub struct TaskGroup {
    shutdown: Shutdown,
    tasks: JoinSet<TaskEndReport>,
    /// An aborted task cannot say its name any more.
    names: HashMap<Id, Cow<'static, str>>,
}

impl TaskGroup {
    /// An empty group whose members start `shutdown`'s drain when they end too early.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, tasks: JoinSet::new(), names: HashMap::new() }
    }

    /// Starts a task under the caller's tracing subscriber. Must be called inside a runtime.
    pub fn spawn<F>(&mut self, name: impl Into<Cow<'static, str>>, task: F)
    where
        F: Future + Send + 'static,
        F::Output: TaskOutput,
    {
        let name = name.into();
        let kept_name = name.clone();
        let shutdown = self.shutdown.clone();
        let supervised = async move {
            let caught = AssertUnwindSafe(task).catch_unwind().await.map(TaskOutput::into_error);
            let ending = end_of(caught, &shutdown);
            settle(&name, &ending, &shutdown);
            TaskEndReport { name, ending }
        };
        let spawned = self.tasks.spawn(supervised.with_current_subscriber());
        self.names.insert(spawned.id(), kept_name);
    }

    /// How many tasks have not been joined.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there is nothing to join.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits for every task. Unbounded by itself: wrap it in [`Shutdown::drain_within`], whose deadline drops
    /// it and with it the tasks.
    pub async fn join_all(mut self) -> Result<(), TasksFailed> {
        let mut failed = Vec::new();
        while let Some(joined) = self.tasks.join_next().await {
            let report = joined.unwrap_or_else(|error| aborted(&error, &mut self.names));
            match report.ending {
                TaskEnd::Finished => {}
                TaskEnd::Early | TaskEnd::Failed(_) | TaskEnd::Panicked(_) | TaskEnd::Aborted => {
                    failed.push(report);
                }
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(TasksFailed(failed)) }
    }
}

type Caught = Result<Option<Box<dyn Error + Send + Sync>>, Box<dyn Any + Send>>;

fn end_of(caught: Caught, shutdown: &Shutdown) -> TaskEnd {
    match caught {
        Err(panic) => TaskEnd::Panicked(panic_message(panic.as_ref())),
        Ok(Some(error)) => TaskEnd::Failed(error),
        Ok(None) if shutdown.draining().is_cancelled() => TaskEnd::Finished,
        Ok(None) => TaskEnd::Early,
    }
}

fn settle(name: &str, ending: &TaskEnd, shutdown: &Shutdown) {
    match ending {
        TaskEnd::Finished => tracing::debug!(task = name, "task finished"),
        TaskEnd::Early => tracing::error!(task = name, "task ended though nothing asked it to; draining"),
        TaskEnd::Failed(error) => {
            tracing::error!(task = name, error = error.as_ref() as &dyn Error, "task failed; draining");
        }
        TaskEnd::Panicked(message) => {
            tracing::error!(task = name, panic = message, "task panicked; draining");
        }
        TaskEnd::Aborted => tracing::error!(task = name, "task aborted; draining"),
    }
    match ending {
        TaskEnd::Finished => {}
        TaskEnd::Early | TaskEnd::Failed(_) | TaskEnd::Panicked(_) | TaskEnd::Aborted => shutdown.drain(),
    }
}

/// Panics are caught inside the task, so what is left here is an abort.
fn aborted(error: &JoinError, names: &mut HashMap<Id, Cow<'static, str>>) -> TaskEndReport {
    TaskEndReport { name: names.remove(&error.id()).unwrap_or_default(), ending: TaskEnd::Aborted }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

impl fmt::Display for TaskEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Early => f.write_str("ended though nothing asked it to"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Aborted => f.write_str("was aborted"),
        }
    }
}

impl fmt::Display for TasksFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, report) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}task `{}` {}", report.name, report.ending)?;
        }
        Ok(())
    }
}

impl Error for TasksFailed {}

#[cfg(test)]
mod tests;
