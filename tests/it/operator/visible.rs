//! Every command against a broker, a register and a Daytona in which somebody planted what acts on terminals.

use std::collections::BTreeMap;

use ::operator::Arguments;
use broker::Settled;
use chrono::Utc;
use clap::CommandFactory;
use job::{
    AttemptEnd, AttemptId, BuildMode, DeadLetterReason, DeadLetterRecord, Failure, FailureKind, JobId,
    LastAttempt, LedgerEvent, OpenDeadLetter, OutcomeWord, Stage, StageReport, StandingFailure, Tail,
    TargetState,
};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use lifecycle::Shutdown;
use serde_json::Value;

use super::daytona::Daytona;
use super::record;
use super::scene::{Said, Scene, target};
use super::worker::Worker;

/// Sets the clipboard, clears the screen in both control sets, turns the line around, hides, overwrites.
const PLANTED: &str = "\u{1b}]52;c;aGk=\u{7}\u{1b}[2J\u{9b}3J\u{202e}\u{2066}\u{200b}\u{85}\rx\u{8}";
/// A branch may hold no control character, but those of direction.
const BRANCH: &str = "feat/\u{202e}gpj";

/// What nobody should have to read raw.
fn acts_on_a_terminal(character: char) -> bool {
    (character.is_control() && !matches!(character, '\n' | '\t'))
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
}

fn planted_failure() -> Failure {
    // As a key of .harvest.toml reaches it: quoted from the file.
    let message = format!("unknown field `{PLANTED}` in .harvest.toml");
    Failure::new(FailureKind::DetectInvalid, message).with_output(Some(1), Tail::of(PLANTED))
}

fn planted_end(target: &job::Target, job: JobId) -> LedgerEvent {
    LedgerEvent::AttemptEnded(Box::new(AttemptEnd {
        job,
        target: target.clone(),
        attempt: AttemptId::new(),
        number: 1,
        max_attempts: 3,
        outcome: OutcomeWord::Failed,
        decision: PLANTED.to_owned(),
        retry_milliseconds: None,
        next: None,
        failure: Some(planted_failure()),
        commit: None,
        prebuild: None,
        stages: vec![StageReport {
            stage: Stage::Build,
            result: PLANTED.to_owned(),
            milliseconds: 1,
            added_bytes: None,
        }],
        milliseconds: 1,
    }))
}

/// A target's state with everything planted that a repository, or whoever writes to the register, can choose.
fn planted_state(scene: &Scene, of: &job::Target) -> TargetState {
    let mut prebuild = record(scene, &of.to_string(), PLANTED);
    prebuild.flags = vec![PLANTED.to_owned()];
    prebuild.mode = BuildMode::Cold;
    let now = Utc::now();
    let mut state = TargetState::new(of.clone(), now);
    state.failing = Some(StandingFailure {
        failure: planted_failure(),
        commit: Some(prebuild.commit.clone()),
        fingerprint: prebuild.fingerprint.clone(),
        secrets: None,
        since: now,
        count: 2,
    });
    let job = JobId::on_demand();
    let open = OpenDeadLetter { job, count: 1, first: now, last: now };
    state.open_dead_letters.insert(FailureKind::DetectInvalid, open);
    state.last = Some(LastAttempt {
        job,
        attempt: AttemptId::new(),
        number: 1,
        outcome: OutcomeWord::Failed,
        failure: Some(planted_failure()),
        commit: None,
        at: now,
        milliseconds: 1,
        trace_id: Some(PLANTED.to_owned()),
    });
    state.promoted = Some(prebuild);
    state
}

fn planted_record() -> DeadLetterRecord {
    DeadLetterRecord {
        reason: DeadLetterReason::Failed,
        at: Utc::now(),
        worker: PLANTED.to_owned(),
        job: None,
        target: None,
        failure: Some(planted_failure()),
        decode_error: Some(PLANTED.to_owned()),
        cut: None,
        queue: PLANTED.to_owned(),
        trace_id: Some(PLANTED.to_owned()),
    }
}

/// Dead letters: one that a worker wrote of a job, two that a stranger published as they are.
async fn plant_letters(scene: &Scene, worker: &Worker, said: &Said) {
    scene.run("submit acme/good", said, &Shutdown::new()).await;
    let (mut delivery, _) = worker.take().await;
    delivery.envelope_mut().last_error = Some(PLANTED.to_owned());
    assert_eq!(delivery.dead_letter(planted_record()).await, Settled::Done);

    let connection = Connection::connect(&scene.amqp_url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let json = serde_json::json!({ PLANTED: PLANTED }).to_string();
    for (id, body) in [("dead-text", format!("no job {PLANTED}")), ("dead-json", json)] {
        let mut headers = FieldTable::default();
        for (name, value) in [
            ("x-story", serde_json::to_string(&planted_record()).unwrap()),
            ("traceparent", PLANTED.to_owned()),
        ] {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let properties =
            BasicProperties::default().with_headers(headers).with_message_id(format!("{id}{PLANTED}").into());
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let dead = worker.broker.topology().dead_queue();
        let confirm = channel
            .basic_publish("".into(), dead.into(), options, body.as_bytes(), properties)
            .await
            .unwrap();
        assert!(confirm.await.unwrap().is_ack());
    }
}

/// Plants everything; the Daytona and the worker are the scene's.
async fn plant(scene: &Scene, daytona: &Daytona, worker: &Worker) {
    let file = format!(
        "[defaults]\nclone_url = \"https://git.invalid/{{owner}}/{{name}}.git\"\n[[repository]]\nname = \"acme/good\"\n\
         [[repository]]\nname = \"acme/bad\"\nbranch = \"{BRANCH}\"\n[[repository]]\nname = \"acme/wrong\"\n\"\\u001b[2J\\u202e\" = 1\n"
    );
    std::fs::write(scene.folder.path().join("fleet.toml"), file).unwrap();
    for of in [target("acme/good@main"), target(&format!("acme/bad@{BRANCH}"))] {
        worker.put(planted_state(scene, &of)).await;
        worker.tell(planted_end(&of, JobId::on_demand())).await;
        worker.tell(LedgerEvent::operator_act(PLANTED, of.clone(), JobId::on_demand())).await;
        worker
            .tell(LedgerEvent::TickSkipped {
                tick: job::Tick::at_or_before(Utc::now(), std::time::Duration::from_mins(30)),
                reason: PLANTED.to_owned(),
            })
            .await;
        let labels: BTreeMap<String, String> = [
            ("harvest.fleet", scene.fleet.as_str()),
            ("harvest.holder", PLANTED),
            ("harvest.attempt", PLANTED),
            ("harvest.beat", PLANTED),
            (PLANTED, PLANTED),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let name = job::SandboxName::of(&scene.fleet, &of);
        let wish =
            ::daytona::NewSandbox { labels, ..::daytona::NewSandbox::new(name.as_str(), "harvest-snapshot") };
        daytona.client.create_sandbox(&wish).await.unwrap();
    }
}

/// One line for each command there is, and those that wait, fail or find nothing.
const LINES: [&str; 25] = [
    "doctor",
    "status",
    "resolve acme/good",
    "resolve acme/bad@feat/\u{202e}gpj",
    "explain acme/good",
    "explain acme/bad@feat/\u{202e}gpj",
    "explain acme/\u{1b}[2J\u{202e}",
    "dead-letters list",
    "dead-letters show dead-text",
    "dead-letters show dead-json",
    "dead-letters show dead",
    "dead-letters show \u{1b}[2J\u{202e}",
    "dead-letters replay --all",
    "dead-letters replay --all --yes --as-recorded",
    "submit acme/good --wait --timeout 1s",
    "prebuilds list",
    "prebuilds list acme/\u{1b}[2J\u{202e}",
    "prebuilds revoke --secret \u{1b}[2J\u{202e} --dry-run",
    "prebuilds revoke --since 1h --yes",
    "prebuilds promote hv.demo.good.c0vco1cj0vlj.aaaaaaaaaaaa.99999999.c.0068c1d2e3f4g5h6i7j8k9l0m0 --yes",
    "pause acme/good --reason \u{1b}[2J\u{202e}",
    "resume acme/good",
    "prebuilds retire --dry-run",
    "prebuilds retire acme/bad@feat/\u{202e}gpj --yes",
    "prebuilds retire acme/\u{1b}[2J\u{202e} --yes",
];

/// The names of all commands, those of commands within commands too.
fn every_command(command: &clap::Command, before: &str) -> Vec<String> {
    let below: Vec<_> = command
        .get_subcommands()
        .flat_map(|below| every_command(below, format!("{before} {}", below.get_name()).trim()))
        .collect();
    if below.is_empty() { vec![before.to_owned()] } else { below }
}

#[tokio::test]
async fn no_command_prints_what_acts_on_a_terminal() {
    for command in every_command(&Arguments::command(), "") {
        assert!(LINES.iter().any(|line| line.starts_with(&command)), "`{command}` has no line in this test");
    }
    let (daytona, mut scene) = (Daytona::start().await, Scene::start().await);
    daytona.tell(&mut scene);
    let worker = Worker::of(&scene).await;
    plant(&scene, &daytona, &worker).await;
    let said = Said::default();
    plant_letters(&scene, &worker, &said).await;

    let mut shown = String::new();
    for (line, json) in LINES.into_iter().flat_map(|line| [(line, ""), (line, " --json")]) {
        let said = Said::default();
        let work = async {
            if line.starts_with("submit") {
                let (delivery, job) = worker.take().await;
                worker.tell(planted_end(&job.target, job.id)).await;
                assert_eq!(delivery.ack().await, Settled::Done);
            }
        };
        let shutdown = Shutdown::new();
        let command = format!("{line}{json}");
        tokio::join!(scene.run(&command, &said, &shutdown), work);
        let text = format!("{said}");
        assert!(!text.contains(acts_on_a_terminal), "`{command}`: {text:?}");
        if !json.is_empty() {
            // One document, or one a line; a note beside it is on standard error.
            let out = said.out.text();
            let documents = serde_json::Deserializer::from_str(&out).into_iter::<Value>();
            documents.for_each(|document| {
                drop(document.unwrap_or_else(|error| panic!("`{line}`: {error}: {out}")));
            });
        }
        shown.push_str(&text);
    }
    for (what, escaped) in
        [("the clipboard", "\\u001b]52;c;aGk="), ("the second set", "\\u009b3J"), ("direction", "\\u202e")]
    {
        assert!(shown.contains(escaped), "nothing showed {what}: the test plants nothing any more");
    }
    worker.broker.close().await;
    daytona.end().await;
}
