//! Single calls on sandboxes. Waiting is in `start`, `wait` and `capture`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::errors::{Error, ErrorKind, Message};
use crate::ids::SandboxId;
use crate::operation::{
    CREATE_SANDBOX, DELETE_SANDBOX, GET_SANDBOX, Operation, REPLACE_LABELS, SET_AUTODELETE, SET_AUTOSTOP,
    SET_TTL, START_SANDBOX, STOP_SANDBOX, TOUCH,
};
use crate::sandbox::{NewSandbox, Sandbox, minutes};
use crate::wire::Watch;

/// How a create ended when Daytona gave a clear answer.
///
/// An error whose [`Error::retry`] is `ReadFirst` is not clear: look the name up before anything else.
#[derive(Debug)]
pub enum CreateOutcome {
    /// It exists. Mostly `creating` still: wait for it.
    Created(Box<Sandbox>),
    /// Another sandbox has the name: read it, then adopt, wait or give up.
    NameTaken,
    /// It exists **and** failed: look it up by name and delete it, or it leaks.
    FailedToStart {
        /// Why it did not start, as Daytona says.
        reason: Message,
    },
}

/// How a delete was taken.
#[derive(Debug)]
pub enum DeleteOutcome {
    /// On its way; the name is free already.
    Deleting,
    /// There was nothing to delete.
    AlreadyGone,
}

impl Client {
    /// Makes a sandbox. Never repeated blindly.
    pub async fn create_sandbox(&self, new: &NewSandbox) -> Result<CreateOutcome, Error> {
        let mut body = json!({
            "name": new.name,
            "snapshot": new.snapshot,
            "labels": new.labels,
            "env": new.env,
            "autoStopInterval": minutes(new.auto_stop),
            "autoDeleteInterval": minutes(new.auto_delete),
            "ttlMinutes": minutes(new.ttl),
            "queueTimeout": minutes(new.queue).max(1),
        });
        if let Some(user) = &new.user {
            body["user"] = json!(user);
        }
        if let Some(target) = &self.settings.target {
            body["target"] = json!(target);
        }
        let call = self.call(CREATE_SANDBOX, &[]).timeout(self.settings.create_timeout).json(&body)?;
        let refused = match self.send(&call).await {
            Ok(answer) => return Ok(CreateOutcome::Created(Box::new(answer.read_row()?))),
            Err(error) => error,
        };
        match (refused.kind(), refused) {
            (ErrorKind::NameTaken, _) => Ok(CreateOutcome::NameTaken),
            (ErrorKind::StartFailed, Error::Refused { message, .. }) => {
                Ok(CreateOutcome::FailedToStart { reason: message })
            }
            (ErrorKind::RegionMissing, Error::Refused { operation, status, message, .. }) => {
                // Which there are is worth a call: only a person can correct it.
                let regions = self.regions().await.ok();
                let regions = regions.map(|all| all.iter().map(|region| region.shown().to_owned()).collect());
                let target = self.settings.target.clone();
                Err(Error::NoSuchRegion { operation, status, message, target, regions })
            }
            (_, error) => Err(error),
        }
    }

    /// The sandbox with this id or name; none when there is none.
    pub async fn get_sandbox(&self, id_or_name: impl AsRef<str>) -> Result<Option<Sandbox>, Error> {
        self.look_up_sandbox(id_or_name.as_ref(), Watch::Attempt).await
    }

    pub(crate) async fn look_up_sandbox(
        &self,
        id_or_name: &str,
        watch: Watch,
    ) -> Result<Option<Sandbox>, Error> {
        let found = self.find(&self.call(GET_SANDBOX, &[id_or_name]).watch(watch)).await?;
        found.map(|answer| answer.read_row()).transpose()
    }

    /// Asks for a sandbox to be deleted. 409 while it is changing state, see [`Client::delete_and_confirm`].
    pub async fn delete_sandbox(&self, id: &SandboxId) -> Result<DeleteOutcome, Error> {
        self.request_delete(id, Watch::Attempt).await
    }

    pub(crate) async fn request_delete(&self, id: &SandboxId, watch: Watch) -> Result<DeleteOutcome, Error> {
        // The body is the sandbox in some versions and nothing in others; nobody needs it.
        let answer = self.find(&self.call(DELETE_SANDBOX, &[id.as_str()]).watch(watch)).await?;
        Ok(if answer.is_some() { DeleteOutcome::Deleting } else { DeleteOutcome::AlreadyGone })
    }

    /// Starts a stopped sandbox. Answers before it is started.
    pub async fn start_sandbox(&self, id: &SandboxId) -> Result<Sandbox, Error> {
        self.act(START_SANDBOX, &[id.as_str()]).await
    }

    /// Stops a sandbox. One with `auto_delete` zero is deleted by this.
    pub async fn stop_sandbox(&self, id: &SandboxId) -> Result<Sandbox, Error> {
        self.act(STOP_SANDBOX, &[id.as_str()]).await
    }

    /// Replaces all labels: one that is left out is gone.
    pub async fn replace_labels(
        &self,
        id: &SandboxId,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let arguments = [id.as_str()];
        let call = self.call(REPLACE_LABELS, &arguments).json(&json!({ "labels": labels }))?;
        self.send(&call).await.map(drop)
    }

    /// Stops it after this long without activity (whole minutes, rounded up; zero is never).
    pub async fn set_autostop(&self, id: &SandboxId, idle: Duration) -> Result<(), Error> {
        let arguments = [id.as_str(), &minutes(idle).to_string()];
        self.send(&self.call(SET_AUTOSTOP, &arguments)).await.map(drop)
    }

    /// Deletes it once it was stopped for this long (whole minutes, rounded up; zero is at once).
    pub async fn set_autodelete(&self, id: &SandboxId, stopped: Duration) -> Result<(), Error> {
        let arguments = [id.as_str(), &minutes(stopped).to_string()];
        self.send(&self.call(SET_AUTODELETE, &arguments)).await.map(drop)
    }

    /// Destroys it this long from now (whole minutes, rounded up; zero is never).
    ///
    /// [`ErrorKind::Unsupported`] where Daytona is too old for it; auto-stop is the guard there.
    pub async fn set_ttl(&self, id: &SandboxId, left: Duration) -> Result<(), Error> {
        let arguments = [id.as_str(), &minutes(left).to_string()];
        self.send(&self.call(SET_TTL, &arguments)).await.map(drop)
    }

    /// Counts as activity, so that auto-stop begins anew.
    pub async fn touch(&self, id: &SandboxId) -> Result<(), Error> {
        let arguments = [id.as_str()];
        self.send(&self.call(TOUCH, &arguments).json(&json!({}))?).await.map(drop)
    }

    async fn act(&self, operation: Operation, arguments: &[&str]) -> Result<Sandbox, Error> {
        self.send(&self.call(operation, arguments)).await?.read_row()
    }
}
