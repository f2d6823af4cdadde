//! Looks for the secrets that the job was given, without giving them again.
//!
//! `harvest-scan`, which the worker carries with it, is uploaded and started by its path with an empty environment. It is told
//! lengths and keyed digests, and what it reports is compared with the secrets here. A match names the file, never what was
//! found. It catches accidents: whoever wants to hide a secret from a search can.

use std::collections::BTreeSet;
use std::time::Duration;

use job::{Failure, FailureKind, Stage, Tail};
use scan::{Limits, Report, Search, UnsearchedReason};
use secrecy::SecretString;

use crate::sandbox::{Environment, Exit, LongCommand, SHORT, Sandbox};

/// Built by `build.rs`, statically: it needs nothing of the sandbox but its kernel.
const PROGRAM: &[u8] = include_bytes!(env!("HARVEST_SCAN_PROGRAM"));

/// Made anew for each search, and not searched. Not in /tmp, where some hosts let nothing be started from.
const FOLDER: &str = "/workspace/.harvest/scan";
const PROGRAM_PATH: &str = "/workspace/.harvest/scan/harvest-scan";
const REQUEST_PATH: &str = "/workspace/.harvest/scan/request";
const REPORT_PATH: &str = "/workspace/.harvest/scan/report";

const PREPARE: &str = include_str!("search/prepare.sh");
const RUN: &str = include_str!("search/run.sh");
const REMOVE: &str = "rm -rf -- /workspace/.harvest/scan";

/// What a shell exits with when it may not start a program.
const CANNOT_RUN: i32 = 126;
/// What a shell exits with when there is no such program.
const NOT_FOUND: i32 = 127;

/// How long a search may take; the program gives up by itself before it is ended.
const DEADLINE: Duration = Duration::from_mins(15);
const LIMITS: Limits = Limits { milliseconds: 14 * 60 * 1000, bytes: 1 << 37, unpacked_bytes: 1 << 30 };

/// Files that a message names; its log has all that were reported.
const NAMED: usize = 5;

/// Whether there was anything to search for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Searched {
    Everything,
    Nothing,
}

/// Searches every file that the sandbox's user could have written for the secrets that the job was `given`.
pub(super) async fn run(sandbox: &Sandbox, given: &[SecretString]) -> Result<Searched, Failure> {
    let Some(search) = Search::new(given) else { return Ok(Searched::Nothing) };
    let report = ask(sandbox, &search).await?;
    let Report { files, bytes, unpacked_bytes, milliseconds, cpu_milliseconds, .. } = report;
    let unsearched = report.unsearched.len();
    tracing::info!(
        files,
        bytes,
        unpacked_bytes,
        milliseconds,
        cpu_milliseconds,
        unsearched,
        "searched for the job's secrets"
    );
    judge(sandbox, &search, &report)?;
    Ok(Searched::Everything)
}

/// Has the program search, and reads what it reports.
async fn ask(sandbox: &Sandbox, search: &Search) -> Result<Report, Failure> {
    step(sandbox, PREPARE).await?;
    let request = serde_json::to_vec(&search.request(FOLDER, LIMITS)).map_err(|error| {
        failed(&format!("the request cannot be written: {}", error_chain::line(&error)), None, "")
    })?;
    sandbox.upload(Stage::Scrub, PROGRAM_PATH, PROGRAM.to_vec()).await?;
    sandbox.upload(Stage::Scrub, REQUEST_PATH, request).await?;
    let command = LongCommand {
        stage: Stage::Scrub,
        label: "search",
        script: RUN.to_owned(),
        cwd: "/".to_owned(),
        environment: Environment::new(),
        deadline: DEADLINE,
    };
    let end = sandbox.run(&command).await?;
    match end.exit {
        Exit::Code(0) => {}
        Exit::OutOfMemory(code) => {
            let text = "the search for secrets was ended for want of memory; give the target a larger class";
            let failure = Failure::new(FailureKind::OutOfMemory, text).at(Stage::Scrub);
            return Err(failure.with_output(Some(code), end.tail));
        }
        Exit::Code(code @ (CANNOT_RUN | NOT_FOUND)) => {
            return Err(failed("it could not be started", Some(code), end.tail.as_str()));
        }
        // It reads nothing but what the repository's code could write, so that is what ended it.
        Exit::Code(code) => {
            let text = format!(
                "what install or build left cannot be searched for secrets: the search ended with {code}; nothing was captured"
            );
            return Err(Failure::new(FailureKind::ScrubFailed, text).with_output(Some(code), end.tail));
        }
        Exit::DeadlinePassed => return Err(too_slow()),
    }
    let report = sandbox.download(Stage::Scrub, REPORT_PATH, Report::MOST_BYTES).await?;
    step(sandbox, REMOVE).await?;
    let report = serde_json::from_slice(&report.unwrap_or_default());
    report.map_err(|error| {
        failed(&format!("its report cannot be read: {}", error_chain::line(&error)), None, "")
    })
}

/// What a report means for the attempt.
fn judge(sandbox: &Sandbox, search: &Search, report: &Report) -> Result<(), Failure> {
    // A name may hold what was searched for, and whatever else a terminal understands.
    let shown = |text: &str| {
        let text = sandbox.redactor().scrub(text);
        text.chars().map(|character| if character.is_control() { '?' } else { character }).collect::<String>()
    };
    let confirmed = search.confirm(report);
    if !confirmed.is_empty() {
        // Each file once: five forms of one secret in one file are not five files.
        let mut files = BTreeSet::new();
        let firsts = confirmed.iter().filter(|hit| files.insert(hit.hit.path.as_str()));
        let firsts: Vec<String> = firsts.map(|hit| shown(&hit.to_string())).collect();
        let hits: Vec<String> = confirmed.iter().map(|hit| shown(&hit.to_string())).collect();
        let text = format!(
            "a secret that this job was given is in {}; nothing was captured, and nothing will be until the commit, the settings or the secret's value changes",
            named(&firsts)
        );
        let failure = Failure::new(FailureKind::ScrubSecretFound, text);
        return Err(failure.with_output(None, Tail::of(&hits.join("\n"))));
    }
    let unread: Vec<String> = report
        .unsearched
        .iter()
        .filter(|unsearched| unsearched.reason == UnsearchedReason::Unreadable)
        .map(|unsearched| shown(&unsearched.path))
        .collect();
    if !unread.is_empty() {
        let text = format!(
            "what install or build left cannot be searched for secrets: {} cannot be read; nothing was captured",
            named(&unread)
        );
        let failure = Failure::new(FailureKind::ScrubFailed, text);
        return Err(failure.with_output(None, Tail::of(&unread.join("\n"))));
    }
    if report.complete {
        return Ok(());
    }
    if report.bytes.saturating_add(report.unpacked_bytes) >= LIMITS.bytes {
        let text = format!(
            "what install or build left is more than the {} GiB that are searched for secrets; nothing was captured",
            LIMITS.bytes >> 30
        );
        return Err(Failure::new(FailureKind::ScrubFailed, text));
    }
    Err(too_slow())
}

fn named(all: &[String]) -> String {
    let mut names: Vec<&str> = all.iter().map(String::as_str).take(NAMED).collect();
    if all.len() > NAMED {
        names.push("others");
    }
    names.join(", ")
}

fn too_slow() -> Failure {
    let text = format!(
        "the search for secrets took longer than {} s; keep what install and build leave smaller, or give the target a larger class",
        DEADLINE.as_secs()
    );
    Failure::new(FailureKind::StageDeadline, text).at(Stage::Scrub)
}

fn failed(why: &str, code: Option<i32>, output: &str) -> Failure {
    let text = format!("the search for secrets did not work: {why}");
    Failure::new(FailureKind::Internal, text).at(Stage::Scrub).with_output(code, Tail::of(output))
}

async fn step(sandbox: &Sandbox, script: &'static str) -> Result<(), Failure> {
    let executed = sandbox.short(Stage::Scrub, script, &Environment::new(), SHORT).await?;
    if executed.exit_code == 0 {
        return Ok(());
    }
    Err(failed("its folder could not be made", Some(executed.exit_code), &executed.result))
}
