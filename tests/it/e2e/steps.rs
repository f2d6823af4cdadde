//! What the stories of failure have in common: a repository that builds nothing, a build that stands still, a look at
//! dead letters and counts.

use std::sync::Arc;
use std::time::Duration;

use broker::DeadLetter;
use daytona::{Execute, Sandbox, SandboxId};
use fleet_tests::eventually;
use job::{
    AttemptEnd, CommandSetting, Commands, Job, JobId, LedgerEntry, LedgerEvent, NoOp, SandboxName, Settings,
    Target, TargetState,
};
use serde_json::json;

use super::scene::{BUILD, SOON, Scene};

/// A build that stands still in its sandbox until [`Scene::let_go`].
pub(crate) const HELD: &str =
    "touch /tmp/held; until test -e /tmp/go; do sleep 0.1; done; rm /tmp/held /tmp/go";

impl Scene {
    /// A repository with nothing to install or build; its target and first commit.
    pub(crate) async fn small(&self, name: &str) -> (Target, String) {
        let files = self.fleet.directory().join("small");
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("README.md"), "small\n").unwrap();
        let commit = self.git.create_repo_from(name, &files).await.unwrap();
        (format!("{name}@main").parse().unwrap(), commit)
    }

    /// A job whose build is this command.
    pub(crate) fn job_building(&self, target: &Target, build: &str) -> Job {
        let build = Some(CommandSetting::Run(build.to_owned()));
        self.job_with(target, |settings| settings.commands = Commands { build, ..Commands::default() })
    }

    /// A job with changed settings.
    pub(crate) fn job_with(&self, target: &Target, change: impl FnOnce(&mut Settings)) -> Job {
        let mut job = self.job(target);
        change(&mut job.settings);
        job
    }

    pub(crate) fn sandbox_name(&self, target: &Target) -> SandboxName {
        SandboxName::of(&self.fleet_name(), target)
    }

    /// Waits until a [`HELD`] build of the target stands still, and answers its sandbox.
    pub(crate) async fn until_held(&self, target: &Target) -> Sandbox {
        self.until_held_where(target, |_| true).await
    }

    /// The same in another sandbox than `before`.
    pub(crate) async fn until_held_anew(&self, target: &Target, before: &SandboxId) -> Sandbox {
        self.until_held_where(target, |sandbox| sandbox.id != *before).await
    }

    async fn until_held_where(&self, target: &Target, wanted: impl Fn(&Sandbox) -> bool) -> Sandbox {
        self.until_held_in(&self.sandbox_name(target), wanted).await
    }

    /// Waits until a [`HELD`] build stands still in the sandbox of this name.
    pub(crate) async fn until_held_under(&self, name: &SandboxName) -> Sandbox {
        self.until_held_in(name, |_| true).await
    }

    async fn until_held_in(&self, name: &SandboxName, wanted: impl Fn(&Sandbox) -> bool) -> Sandbox {
        eventually(BUILD, &format!("a build in {name} stands still"), async || {
            let found = self.daytona.get_sandbox(name.as_str()).await.map_err(|error| error.to_string())?;
            let sandbox =
                found.filter(&wanted).ok_or_else(|| format!("no such sandbox; {}", self.story()))?;
            match self.shell(&sandbox, "test -e /tmp/held").await {
                Ok(0) => Ok(sandbox),
                other => {
                    Err(format!("{} is {}, the look: {other:?}; {}", sandbox.id, sandbox.state, self.story()))
                }
            }
        })
        .await
    }

    /// Lets a held build end.
    pub(crate) async fn let_go(&self, sandbox: &Sandbox) {
        assert_eq!(self.shell(sandbox, "touch /tmp/go").await, Ok(0));
    }

    async fn shell(&self, sandbox: &Sandbox, command: &str) -> Result<i32, String> {
        let toolbox = self.daytona.toolbox(sandbox).await.map_err(|error| error.to_string())?;
        let executed =
            toolbox.execute(&Execute::new(command, SOON)).await.map_err(|error| error.to_string())?;
        Ok(executed.exit_code)
    }

    /// How many snapshots were captured so far, collected ones included: the number of builds that got to their end.
    pub(crate) async fn captures(&self) -> u64 {
        self.fleet.requests().await.unwrap()["events"]["snapshot captured"].as_u64().unwrap_or(0)
    }

    /// Makes the next attempt's verification wait: an attempt's second sandbox is the one it verifies in.
    pub(crate) async fn delay_verification(&self, delay: Duration) {
        let delay = json!({ "kind": "delay", "milliseconds": delay.as_millis() });
        let create = json!({ "method": "POST", "path_pattern": "/api/sandbox" });
        self.fleet.plant_fault(&json!({ "match": create, "skip": 1, "action": delay })).await.unwrap();
    }

    /// Waits until the fleet's first attempt has captured, has deleted its sandbox, and asks for the one to verify in.
    pub(crate) async fn until_verification_waits(&self) {
        eventually(BUILD, "captured, and the verification's sandbox asked for", async || {
            let told = self.fleet.requests().await.map_err(|error| error.to_string())?;
            let asked = told["requests"]["POST /api/sandbox"].as_u64().unwrap_or(0);
            let left = self.sandboxes().await.len();
            if asked == 2 && left == 0 {
                Ok(())
            } else {
                Err(format!("{asked} creates, {left} sandboxes; {}", self.story()))
            }
        })
        .await;
        assert_eq!(self.captures().await, 1);
    }

    /// Waits until an attempt of the job has ended so.
    pub(crate) async fn end_where(
        &self,
        job: &Job,
        what: &str,
        wanted: impl Fn(&AttemptEnd) -> bool,
    ) -> AttemptEnd {
        eventually(BUILD, &format!("an attempt of job {} ends: {what}", job.id), async || {
            let ends = self.ends_of(job.id);
            ends.iter()
                .find(|end| wanted(end))
                .cloned()
                .ok_or_else(|| format!("{}; {}", shortly(&ends), self.story()))
        })
        .await
    }

    /// Waits until the job has ended this many attempts, and answers all.
    pub(crate) async fn ends(&self, job: JobId, count: usize) -> Vec<AttemptEnd> {
        eventually(BUILD, &format!("job {job} ends {count} attempts"), async || {
            let ends = self.ends_of(job);
            if ends.len() >= count { Ok(ends) } else { Err(format!("{}; {}", shortly(&ends), self.story())) }
        })
        .await
    }

    /// The ledger's entries behind [`Scene::ends_of`].
    pub(crate) fn told_ends(&self, job: JobId) -> Vec<LedgerEntry> {
        let of_job =
            |entry: &LedgerEntry| matches!(&entry.event, LedgerEvent::AttemptEnded(end) if end.job == job);
        self.told().into_iter().filter(of_job).collect()
    }

    /// Waits until the register says so of the target.
    pub(crate) async fn state_where(
        &self,
        target: &Target,
        what: &str,
        wanted: impl Fn(&TargetState) -> bool,
    ) {
        eventually(SOON, &format!("the register says of {target}: {what}"), async || {
            let state = self.register.get(target);
            if state.as_deref().is_some_and(&wanted) { Ok(()) } else { Err(format!("{state:?}")) }
        })
        .await;
    }

    /// How a scheduled job ended that changed nothing.
    pub(crate) async fn no_op(&self, job: &Job) -> NoOp {
        eventually(SOON, &format!("job {} changes nothing", job.id), async || {
            let told = self.told();
            let mut no_ops = told.iter().filter_map(|entry| {
                let LedgerEvent::NoOps { jobs } = &entry.event else { return None };
                jobs.iter().find(|no_op| no_op.job == job.id)
            });
            no_ops.next().cloned().ok_or_else(|| self.story())
        })
        .await
    }

    /// Every dead letter, once there are so many.
    pub(crate) async fn dead_letters(&self, count: u32) -> Vec<Arc<DeadLetter>> {
        eventually(SOON, &format!("{count} dead letters"), async || {
            let dead = self.broker.queue_depths().await.map_err(|error| error.to_string())?.dead;
            if dead == count { Ok(()) } else { Err(format!("{dead}; {}", self.story())) }
        })
        .await;
        let mut queue = self.broker.dead_letters().await.unwrap();
        let letters = queue.list().await.unwrap();
        queue.close().await;
        letters
    }

    /// Fails if a message waits anywhere, or if one is in a worker's hand and stays there.
    pub(crate) async fn queues_are_empty(&self) {
        eventually(SOON, "every queue is empty", async || {
            let depths = self.broker.queue_depths().await.map_err(|error| error.to_string())?;
            if depths.waiting() == 0 && depths.dead == 0 {
                Ok(())
            } else {
                Err(format!("{depths:?}; {}", self.story()))
            }
        })
        .await;
    }
}

/// Attempts in a line.
pub(crate) fn shortly(ends: &[AttemptEnd]) -> String {
    let one = |end: &AttemptEnd| {
        let failure = end.failure.as_ref().map_or("", |failure| failure.id.id());
        format!("{}: {} {failure} -> {} {:?}", end.number, end.outcome, end.decision, end.retry_milliseconds)
    };
    ends.iter().map(one).collect::<Vec<_>>().join(", ")
}
