//! Which signal means what: the first SIGTERM or SIGINT drains, the second forces. Listening replaces the
//! operating system's default (die at once), so it starts before anything worth finishing does.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use crate::Shutdown;

/// The listening for signals; it ends when this value is dropped.
#[derive(Debug)]
pub struct Lifecycle {
    shutdown: Shutdown,
    _listener: AbortOnDropHandle<()>,
}

/// The operating system refused a signal handler.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals")]
pub struct SignalError(#[source] std::io::Error);

impl Lifecycle {
    /// Listens for SIGTERM and SIGINT. Call it in main, inside the runtime.
    pub fn listen_for_signals() -> Result<Self, SignalError> {
        let terminate = signal(SignalKind::terminate()).map_err(SignalError)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(SignalError)?;
        let shutdown = Shutdown::new();
        let listener = tokio::spawn(follow(terminate, interrupt, shutdown.clone()));
        Ok(Self { shutdown, _listener: AbortOnDropHandle::new(listener) })
    }

    /// The shutdown that the signals drive.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }
}

async fn follow(mut terminate: Signal, mut interrupt: Signal, shutdown: Shutdown) {
    let name = next(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = name, "draining: finishing what runs; a second signal ends the process at once");
    shutdown.drain();
    let name = next(&mut terminate, &mut interrupt).await;
    tracing::warn!(signal = name, "second signal: ending at once");
    shutdown.force();
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    /// One test for both signals: they belong to the process, not to a test.
    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_forces() {
        let lifecycle = Lifecycle::listen_for_signals().expect("listen");
        let shutdown = lifecycle.shutdown();
        let patience = Duration::from_secs(10);

        kill_process(getpid(), Signal::TERM).expect("kill");
        tokio::time::timeout(patience, shutdown.draining().cancelled()).await.expect("SIGTERM drains");
        assert!(!shutdown.forced().is_cancelled(), "one signal must not force");

        kill_process(getpid(), Signal::INT).expect("kill");
        tokio::time::timeout(patience, shutdown.forced().cancelled()).await.expect("a second signal forces");
    }
}
