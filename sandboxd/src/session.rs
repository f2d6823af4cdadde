//! A session of a sandbox as the server keeps it: its shell and the commands that shell was given. What is asked of it
//! over HTTP is in `toolbox/session.rs`.

use std::sync::{Mutex, PoisonError};

use tokio::process::ChildStdin;
use tokio_util::sync::CancellationToken;

use crate::jail::HOME;

#[derive(Clone)]
pub(crate) struct SessionCommand {
    pub(crate) id: String,
    pub(crate) text: String,
}

pub(crate) struct Session {
    pub(crate) id: String,
    commands: Mutex<Vec<SessionCommand>>,
    pub(crate) shell: tokio::sync::Mutex<ChildStdin>,
    /// The process that entered the sandbox for the shell; its session is what a delete kills.
    pub(crate) nsenter: Option<u32>,
    pub(crate) ended: CancellationToken,
}

impl Session {
    pub(crate) fn new(id: String, shell: ChildStdin, nsenter: Option<u32>, ended: CancellationToken) -> Self {
        Self { id, commands: Mutex::default(), shell: tokio::sync::Mutex::new(shell), nsenter, ended }
    }

    /// Where the texts and logs of its commands lie inside the sandbox.
    pub(crate) fn directory(&self) -> String {
        format!("{HOME}/.daytona/sessions/{}", self.id)
    }

    pub(crate) fn remember(&self, command: SessionCommand) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command);
    }

    pub(crate) fn commands(&self) -> Vec<SessionCommand> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn command(&self, id: &str) -> Option<SessionCommand> {
        self.commands().into_iter().find(|command| command.id == id)
    }
}
