//! What the next tick will do with a target, and why. Pure: the same rules as the worker's resolve stage.

use chrono::{DateTime, Utc};
use job::{Commit, FailureKind, Fingerprint, Pause, TargetState};
use serde::Serialize;

use crate::commands::pause::describe;

/// What the git host says of the branch.
#[derive(Debug)]
pub(super) enum Head {
    /// It points at this commit.
    At(Commit),
    /// It could not be asked; what came instead, in a sentence.
    Unknown(String),
}

/// What decides what the next tick does.
#[derive(Debug)]
pub(super) struct TickFacts<'a> {
    /// Whether fleet.toml has the target.
    pub(super) is_listed: bool,
    pub(super) head: Option<&'a Head>,
    /// That of a build now. None where the base snapshot could not be looked up.
    pub(super) fingerprint: Option<&'a Fingerprint>,
    pub(super) state: Option<&'a TargetState>,
    pub(super) now: DateTime<Utc>,
}

/// What the next tick will do with the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub(super) enum NextTick {
    /// Nothing: the schedule does not know it.
    NotListed,
    /// Nothing: an operator has paused it.
    Paused { pause: Pause },
    /// The prebuild is up to date.
    Unchanged { commit: Commit, certain: bool },
    /// It failed for good, and nothing has changed since.
    StillFailing { failure: FailureKind, message: String },
    /// A kept prebuild has this commit and these inputs.
    PromotedAgain { commit: Commit },
    /// It is built anew.
    Builds { commit: Commit, because: Because },
    /// The git host decides, and it could not be asked.
    Unknown { error: String },
}

/// Why it is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Because {
    /// There is no prebuild.
    NoPrebuild,
    /// The branch has another commit than the prebuild.
    Commit { prebuilt: Commit },
    /// Settings, base snapshot or detection are not those of the prebuild.
    Inputs,
}

/// Says what the next tick will do.
pub(super) fn predict(facts: &TickFacts<'_>) -> NextTick {
    let (true, Some(head)) = (facts.is_listed, facts.head) else { return NextTick::NotListed };
    if let Some(pause) = facts.state.and_then(|state| state.pause_at(facts.now)) {
        return NextTick::Paused { pause: pause.clone() };
    }
    let standing = facts.state.and_then(|state| state.failing.as_ref());
    let same_inputs = |other: &Fingerprint| facts.fingerprint.is_none_or(|fingerprint| fingerprint == other);
    let standing = standing.filter(|standing| same_inputs(&standing.fingerprint));
    let commit = match head {
        Head::At(commit) => commit,
        Head::Unknown(error) => {
            return match standing.filter(|standing| standing.commit.is_none()) {
                Some(standing) => still_failing(standing),
                None => NextTick::Unknown { error: error.clone() },
            };
        }
    };
    if let Some(standing) = standing.filter(|standing| standing.commit.as_ref() == Some(commit)) {
        return still_failing(standing);
    }
    let Some(promoted) = facts.state.and_then(|state| state.promoted.as_ref()) else {
        return NextTick::Builds { commit: commit.clone(), because: Because::NoPrebuild };
    };
    if promoted.commit == *commit && same_inputs(&promoted.fingerprint) {
        return NextTick::Unchanged { commit: commit.clone(), certain: facts.fingerprint.is_some() };
    }
    let kept = facts.state.into_iter().flat_map(|state| &state.kept);
    let mut holding =
        kept.filter(|kept| kept.commit == *commit && facts.fingerprint == Some(&kept.fingerprint));
    if holding.next().is_some() {
        return NextTick::PromotedAgain { commit: commit.clone() };
    }
    let because = if promoted.commit == *commit {
        Because::Inputs
    } else {
        Because::Commit { prebuilt: promoted.commit.clone() }
    };
    NextTick::Builds { commit: commit.clone(), because }
}

fn still_failing(standing: &job::StandingFailure) -> NextTick {
    NextTick::StillFailing { failure: standing.failure.id, message: standing.failure.message.clone() }
}

impl NextTick {
    /// The sentence for people.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::NotListed => "nothing: the target is not in fleet.toml".to_owned(),
            Self::Paused { pause } => {
                format!("nothing: {}; harvestctl resume ends that", describe(pause, pause.since))
            }
            Self::Unchanged { commit, certain: true } => {
                format!(
                    "nothing: the prebuild has the branch's commit {} and the same inputs",
                    commit.short()
                )
            }
            Self::Unchanged { commit, certain: false } => format!(
                "nothing, if the inputs are the same (the base snapshot could not be looked up): the prebuild has the \
                 branch's commit {}",
                commit.short()
            ),
            Self::StillFailing { failure, message } => format!(
                "nothing: this commit and these inputs failed for good with {failure} ({message}). Push a fix or change \
                 the settings; or try the same again: harvestctl submit --force"
            ),
            Self::PromotedAgain { commit } => {
                format!("promote a kept prebuild again: it has the branch's commit {}", commit.short())
            }
            Self::Builds { commit, because } => {
                let because = match because {
                    Because::NoPrebuild => "there is no prebuild".to_owned(),
                    Because::Commit { prebuilt } => format!("the prebuild has {}", prebuilt.short()),
                    Because::Inputs => {
                        "the settings, the base snapshot or the detection are not those of the prebuild"
                            .to_owned()
                    }
                };
                format!("build {}: {because}", commit.short())
            }
            Self::Unknown { error } => format!("unknown, the git host could not be asked: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{commit, failing, fingerprint, now, prebuild, state};

    const TARGET: &str = "acme/service@main";

    fn built() -> TargetState {
        TargetState { promoted: Some(prebuild(TARGET, now())), ..state(TARGET) }
    }

    fn check(head: &Head, inputs: Option<char>, state: Option<&TargetState>) -> String {
        let fingerprint = inputs.map(fingerprint);
        let facts = TickFacts {
            is_listed: true,
            head: Some(head),
            fingerprint: fingerprint.as_ref(),
            state,
            now: now(),
        };
        predict(&facts).sentence()
    }

    #[test]
    fn the_whole_table() {
        let at = |digit| Head::At(commit(digit));
        let kept = || {
            let mut old = prebuild(TARGET, now());
            old.commit = commit('d');
            TargetState { kept: vec![old], ..built() }
        };
        let nowhere = || {
            let mut state = failing(TARGET);
            state.failing.as_mut().unwrap().commit = None;
            state
        };
        let paused = || {
            let (reason, by) = ("its registry moves".to_owned(), "anna".to_owned());
            let pause = Some(Pause { reason, by, since: now(), until: None });
            TargetState { pause, ..built() }
        };
        let down = || Head::Unknown("the host is unavailable: HTTP 503".into());
        let table = [
            ("same commit, same inputs", check(&at('a'), Some('9'), Some(&built()))),
            ("same commit, inputs unknown", check(&at('a'), None, Some(&built()))),
            ("same commit, other inputs", check(&at('a'), Some('8'), Some(&built()))),
            ("other commit", check(&at('c'), Some('9'), Some(&built()))),
            ("a kept one's commit", check(&at('d'), Some('9'), Some(&kept()))),
            ("never built", check(&at('a'), Some('9'), None)),
            ("failed at this commit", check(&at('b'), Some('9'), Some(&failing(TARGET)))),
            ("failed at this commit, other inputs", check(&at('b'), Some('8'), Some(&failing(TARGET)))),
            ("failed at another commit", check(&at('c'), Some('9'), Some(&failing(TARGET)))),
            ("the host is down", check(&down(), Some('9'), Some(&built()))),
            ("paused", check(&at('c'), Some('9'), Some(&paused()))),
            ("the branch is gone, and was", check(&down(), Some('9'), Some(&nowhere()))),
        ];
        let lines: Vec<String> = table.map(|(case, sentence)| format!("{case}\n  {sentence}")).into();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_is_not_listed_is_not_built() {
        let facts =
            TickFacts { is_listed: false, head: None, fingerprint: None, state: Some(&built()), now: now() };
        assert_eq!(predict(&facts), NextTick::NotListed);
    }
}
