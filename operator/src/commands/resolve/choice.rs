//! Which prebuild a session should start from, from what register and Daytona say. Pure.
//!
//! The answer never depends on the broker being up: then Daytona's names alone give it, and it says so.

use chrono::{DateTime, Utc};
use daytona::SnapshotState;
use job::{
    AttemptId, BuildMode, Completeness, FoundPrebuild, PrebuildName, PrebuildRecord, Provenance, Target,
    TargetState,
};
use serde::Serialize;

use crate::layout::format_rows;
use crate::output::View;
use crate::time::{absolute, at, since};

/// What there is to say of one that sleeps: nobody is to activate it.
const ASLEEP: &str = "sleeps in Daytona: nothing starts from it, and activating it would destroy it (the producer has it built anew, \
                      ahead of the queue)";

/// What the register says of the target.
#[derive(Debug)]
pub(super) enum RegisterSays {
    /// It could not be read, and why.
    Unreadable(String),
    /// It never heard of the target.
    Nothing,
    /// How the target stands.
    State(Box<TargetState>),
}

/// What Daytona says of the target.
#[derive(Debug)]
pub(super) enum DaytonaSays {
    /// It was not asked: there is no key.
    NoKey,
    /// It could not be asked, and why.
    Unreachable(String),
    /// Snapshots with a name of this target.
    Snapshots(Vec<PrebuildSnapshot>),
}

/// A snapshot in Daytona that has a name of the target.
#[derive(Debug, Clone)]
pub(super) struct PrebuildSnapshot {
    pub(super) id: String,
    pub(super) name: PrebuildName,
    pub(super) state: SnapshotState,
    pub(super) created_at: Option<DateTime<Utc>>,
}

/// The snapshot to start from.
#[derive(Debug, Serialize)]
pub(crate) struct ResolveView {
    pub(super) target: Target,
    pub(super) name: PrebuildName,
    pub(super) snapshot_id: String,
    /// All digits where the register knows them, else the first twelve.
    pub(super) commit: String,
    pub(super) completeness: Option<Completeness>,
    pub(super) flags: Vec<String>,
    pub(super) mode: BuildMode,
    pub(super) built_at: Option<DateTime<Utc>>,
    pub(super) age_seconds: Option<u64>,
    /// Whether register and Daytona agree on it.
    pub(super) confirmed: bool,
    pub(super) source: Source,
    /// Daytona's word, where it was asked.
    pub(super) state: Option<SnapshotState>,
    pub(super) notes: Vec<String>,
    #[serde(skip)]
    now: DateTime<Utc>,
}

/// Where the answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// The register's newest that Daytona has, too.
    Register,
    /// Daytona's newest, by its name alone.
    DaytonaNames,
}

/// There is none. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{target} has no prebuild: {why}")]
pub(super) struct NoPrebuild {
    target: Target,
    why: String,
}

/// Chooses from what both say.
pub(super) fn choose(
    target: &Target,
    register: &RegisterSays,
    daytona: &DaytonaSays,
    now: DateTime<Utc>,
) -> Result<ResolveView, NoPrebuild> {
    let without = |why: String| NoPrebuild { target: target.clone(), why };
    match register {
        RegisterSays::State(state) => {
            from_register(state, daytona, now).ok_or_else(|| without(explain_none(state, daytona)))
        }
        RegisterSays::Nothing => {
            let why = "the register does not know the target";
            from_names(target, daytona, why, now).map_err(without)
        }
        RegisterSays::Unreadable(error) => {
            let why = format!("the register could not be read ({error})");
            from_names(target, daytona, &why, now).map_err(without)
        }
    }
}

fn from_register(state: &TargetState, daytona: &DaytonaSays, now: DateTime<Utc>) -> Option<ResolveView> {
    if let Some(found) = &state.found {
        return from_found(state, found, daytona, now);
    }
    let promoted = state.promoted.as_ref();
    let alone = |why: String| {
        let note = format!("not confirmed by Daytona: {why}");
        state.prebuilds().next().map(|prebuild| from_record(state, prebuild, None, vec![note], now))
    };
    let found = match daytona {
        DaytonaSays::NoKey => return alone("DAYTONA_API_KEY is not set".to_owned()),
        DaytonaSays::Unreachable(error) => return alone(error.clone()),
        DaytonaSays::Snapshots(found) => found,
    };
    let in_daytona = |prebuild: &PrebuildRecord| found.iter().find(|s| s.id == prebuild.snapshot_id);
    let startable =
        |prebuild: &&PrebuildRecord| in_daytona(prebuild).is_some_and(PrebuildSnapshot::is_usable);
    let sleeps = promoted.and_then(in_daytona).is_some_and(PrebuildSnapshot::is_asleep);
    if let Some(prebuild) = state.prebuilds().find(startable) {
        let mut notes = Vec::new();
        if promoted.is_none_or(|promoted| promoted.name != prebuild.name) {
            let why = match promoted {
                Some(_) if sleeps => ASLEEP,
                Some(_) => "is not usable in Daytona",
                None => "was withdrawn",
            };
            notes.push(format!("the promoted prebuild {why}; this is the newest kept one"));
        }
        return Some(from_record(state, prebuild, in_daytona(prebuild), notes, now));
    }
    let verified = verified_by(promoted?.name.attempt(), state, found);
    let asleep = format!("the promoted prebuild {ASLEEP}");
    let note = if sleeps { asleep.as_str() } else { "no prebuild of the register is in Daytona" };
    from_names(&state.target, &verified, note, now).ok()
}

/// By a name alone it is not known what was verified: nothing newer than what was ever promoted, and nothing withdrawn.
fn verified_by(newest: AttemptId, state: &TargetState, found: &[PrebuildSnapshot]) -> DaytonaSays {
    let can_be = |snapshot: &&PrebuildSnapshot| {
        let provenance = Provenance { built_at: snapshot.created_at, ..Provenance::from(&snapshot.name) };
        snapshot.name.attempt() <= newest && !state.is_revoked(provenance)
    };
    DaytonaSays::Snapshots(found.iter().filter(can_be).cloned().collect())
}

/// Of a target whose record RabbitMQ has lost: what was there before the register began.
fn from_found(
    state: &TargetState,
    found: &FoundPrebuild,
    daytona: &DaytonaSays,
    now: DateTime<Utc>,
) -> Option<ResolveView> {
    let why = "RabbitMQ has lost its record, and it is not built anew yet";
    let note = match daytona {
        DaytonaSays::Snapshots(snapshots) => {
            let before = verified_by(found.name.attempt(), state, snapshots);
            return from_names(&state.target, &before, why, now).ok();
        }
        DaytonaSays::NoKey => "not confirmed by Daytona: DAYTONA_API_KEY is not set".to_owned(),
        DaytonaSays::Unreachable(error) => format!("not confirmed by Daytona: {error}"),
    };
    Some(ResolveView {
        target: state.target.clone(),
        name: found.name.clone(),
        snapshot_id: found.snapshot_id.clone(),
        commit: found.name.commit_short().to_owned(),
        completeness: None,
        flags: Vec::new(),
        mode: found.name.mode(),
        built_at: found.built_at,
        age_seconds: found.built_at.map(|built_at| since(built_at, now).as_secs()),
        confirmed: false,
        source: Source::DaytonaNames,
        state: None,
        notes: vec![format!("{why}; this was Daytona's newest by name"), note],
        now,
    })
}

fn from_record(
    state: &TargetState,
    prebuild: &PrebuildRecord,
    snapshot: Option<&PrebuildSnapshot>,
    notes: Vec<String>,
    now: DateTime<Utc>,
) -> ResolveView {
    let agreed = notes.is_empty() && snapshot.is_some();
    ResolveView {
        target: state.target.clone(),
        name: prebuild.name.clone(),
        snapshot_id: prebuild.snapshot_id.clone(),
        commit: prebuild.commit.to_string(),
        completeness: Some(prebuild.completeness),
        flags: prebuild.flags.clone(),
        mode: prebuild.mode,
        built_at: Some(prebuild.built_at),
        age_seconds: Some(since(prebuild.built_at, now).as_secs()),
        confirmed: agreed,
        source: Source::Register,
        state: snapshot.map(|snapshot| snapshot.state.clone()),
        notes,
        now,
    }
}

fn from_names(
    target: &Target,
    daytona: &DaytonaSays,
    why: &str,
    now: DateTime<Utc>,
) -> Result<ResolveView, String> {
    let found = match daytona {
        DaytonaSays::NoKey => {
            return Err(format!("{why}, and Daytona cannot be asked: set DAYTONA_API_KEY"));
        }
        DaytonaSays::Unreachable(error) => {
            return Err(format!("{why}, and Daytona could not be asked: {error}"));
        }
        DaytonaSays::Snapshots(found) => found,
    };
    let usable = found.iter().filter(|snapshot| snapshot.is_usable());
    let Some(snapshot) = usable.max_by_key(|snapshot| snapshot.name.attempt()) else {
        let none = match found.iter().find(|snapshot| snapshot.is_asleep()) {
            Some(asleep) => format!("of those that Daytona has by name, {} {ASLEEP}", asleep.name),
            None => "Daytona has none by name".to_owned(),
        };
        return Err(format!("{why}, and {none}; build it: harvestctl submit {target} --wait"));
    };
    let notes = vec![format!("{why}; this is Daytona's newest by name")];
    Ok(ResolveView {
        target: target.clone(),
        name: snapshot.name.clone(),
        snapshot_id: snapshot.id.clone(),
        commit: snapshot.name.commit_short().to_owned(),
        completeness: None,
        flags: Vec::new(),
        mode: snapshot.name.mode(),
        built_at: snapshot.created_at,
        age_seconds: snapshot.created_at.map(|built| since(built, now).as_secs()),
        confirmed: false,
        source: Source::DaytonaNames,
        state: Some(snapshot.state.clone()),
        notes,
        now,
    })
}

impl PrebuildSnapshot {
    /// Whether a session can start from it.
    pub(super) fn is_usable(&self) -> bool {
        self.state == SnapshotState::Active
    }

    /// Whether Daytona has put it to sleep, from which a captured snapshot never wakes.
    fn is_asleep(&self) -> bool {
        self.state == SnapshotState::Inactive
    }
}

fn explain_none(state: &TargetState, daytona: &DaytonaSays) -> String {
    let target = &state.target;
    if let Some(retired) = state.gone.and_then(|gone| gone.retired) {
        return format!(
            "it is gone from fleet.toml, so its prebuilds were removed at {}; list it there again, and it is built anew",
            absolute(retired)
        );
    }
    match (&state.failing, &state.promoted) {
        (Some(failing), _) => format!(
            "{}. Mend that, then: harvestctl submit {target} --force --wait. harvestctl explain {target} tells more",
            failing.failure
        ),
        (None, Some(promoted)) => {
            let sleeps = |s: &PrebuildSnapshot| s.id == promoted.snapshot_id && s.is_asleep();
            let why = match daytona {
                DaytonaSays::Snapshots(found) if found.iter().any(sleeps) => ASLEEP,
                DaytonaSays::Snapshots(_) | DaytonaSays::NoKey | DaytonaSays::Unreachable(_) => {
                    "is gone from Daytona"
                }
            };
            format!("{} {why}; build it anew: harvestctl submit {target} --wait", promoted.name)
        }
        (None, None) if !state.revocations.is_empty() => {
            format!("what there was is withdrawn; build it anew: harvestctl submit {target} --wait")
        }
        (None, None) => format!("none was built yet; build it: harvestctl submit {target} --wait"),
    }
}

impl View for ResolveView {
    fn text(&self) -> String {
        let quality = self.completeness.map(|completeness| match completeness {
            Completeness::Complete => "complete",
            Completeness::Partial => "partial (dependencies are in, the build script failed)",
        });
        let mut rows = vec![
            ("snapshot", self.name.to_string()),
            ("id", self.snapshot_id.clone()),
            ("commit", self.commit.clone()),
            ("built", self.built_at.map_or("unknown".to_owned(), |built| at(built, self.now))),
            ("quality", quality.unwrap_or("unknown").to_owned()),
        ];
        if !self.flags.is_empty() {
            rows.push(("flags", self.flags.join(", ")));
        }
        rows.push(("confirmed", if self.confirmed { "yes" } else { "no" }.to_owned()));
        rows.extend(self.notes.iter().map(|note| ("note", note.clone())));
        format_rows(rows)
    }
}

#[cfg(test)]
mod tests;
