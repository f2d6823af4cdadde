//! Which snapshot a name of a base means.
//!
//! Names are for ever in Daytona, so a new base is a new name: `<name>.<tag>` beside the older ones. A snapshot of exactly
//! the name (or id) wins; else it is the newest active `<name>.*`. Producer, worker and harvestctl ask here, so that all
//! mean the same one.

use crate::client::Client;
use crate::errors::Error;
use crate::ids::SnapshotId;
use crate::snapshot::Snapshot;
use crate::states::SnapshotState;

/// Why a name means no snapshot that a sandbox could start from.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// Daytona could not be asked.
    #[error(transparent)]
    Call(#[from] Error),
    /// No snapshot has the name, and no active one begins with it.
    #[error("base snapshot `{name}` does not exist, and no active snapshot is named `{name}.*`")]
    Missing {
        /// What was asked for.
        name: String,
    },
    /// There is one of exactly this name, and it cannot be used: no other is taken in its stead.
    #[error("base snapshot `{name}` is {state}{}", because(.reason.as_ref()))]
    NotActive {
        /// What was asked for.
        name: String,
        /// The id of the one that has the name.
        id: SnapshotId,
        /// What it is doing instead.
        state: SnapshotState,
        /// Why, where Daytona gives a reason.
        reason: Option<String>,
    },
}

fn because(reason: Option<&String>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl Client {
    /// The snapshot that builds start from where this name (or id) is given as their base.
    pub async fn base_snapshot(&self, name: &str) -> Result<Snapshot, BaseError> {
        let exact = self.get_snapshot(name).await?;
        let prefix = prefix_of(name);
        let others = if exact.is_some() {
            Vec::new()
        } else {
            self.newest_snapshots(&prefix, |snapshot| is_usable(snapshot, &prefix)).await?
        };
        choose(name, exact, others)
    }
}

/// The rule. `others` may hold anything: what Daytona filters by is a part of the name, without case.
fn choose(
    name: &str,
    exact: Option<Snapshot>,
    others: impl IntoIterator<Item = Snapshot>,
) -> Result<Snapshot, BaseError> {
    if let Some(exact) = exact {
        return if exact.state == SnapshotState::Active {
            Ok(exact)
        } else {
            Err(BaseError::NotActive {
                name: name.to_owned(),
                id: exact.id,
                state: exact.state,
                reason: exact.error_reason,
            })
        };
    }
    let prefix = prefix_of(name);
    let usable = others.into_iter().filter(|snapshot| is_usable(snapshot, &prefix));
    // Two of one moment: everybody must take the same.
    let newest = usable.max_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    newest.ok_or_else(|| BaseError::Missing { name: name.to_owned() })
}

fn prefix_of(name: &str) -> String {
    format!("{name}.")
}

fn is_usable(snapshot: &Snapshot, prefix: &str) -> bool {
    snapshot.state == SnapshotState::Active && snapshot.name.starts_with(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, state: &str, minute: Option<u32>) -> Snapshot {
        let created = minute.map(|minute| format!("2026-11-23T10:{minute:02}:00Z"));
        let row = serde_json::json!({ "id": format!("id of {name}"), "name": name, "state": state, "createdAt": created });
        serde_json::from_value(row).unwrap()
    }

    fn chosen(exact: Option<(&str, &str)>, others: &[(&str, &str, Option<u32>)]) -> String {
        let exact = exact.map(|(name, state)| snapshot(name, state, Some(0)));
        let others = others.iter().map(|(name, state, minute)| snapshot(name, state, *minute));
        choose("base", exact, others).map_or_else(|error| error.to_string(), |snapshot| snapshot.name)
    }

    #[test]
    fn the_exact_one_wins_else_the_newest_active_of_the_name() {
        const NONE: &str = "base snapshot `base` does not exist, and no active snapshot is named `base.*`";
        let (old, new) = (("base.a", "active", Some(1)), ("base.b", "active", Some(2)));
        for (exact, others, expected) in [
            (Some(("base", "active")), vec![old, new], "base"),
            (Some(("named by its id", "active")), vec![old], "named by its id"),
            // Said, not passed over.
            (Some(("base", "inactive")), vec![old, new], "base snapshot `base` is inactive"),
            (Some(("base", "pulling")), vec![old], "base snapshot `base` is pulling"),
            (Some(("base", "unheard_of")), vec![old], "base snapshot `base` is unheard_of"),
            (None, vec![old, new], "base.b"),
            (None, vec![new, old], "base.b"),
            (None, vec![old], "base.a"),
            // Whatever is on its way, asleep or failed is not there.
            (None, vec![old, ("base.b", "inactive", Some(2))], "base.a"),
            (None, vec![old, ("base.b", "building", Some(2)), ("base.c", "error", Some(3))], "base.a"),
            (None, vec![old, ("base.b", "removing", Some(2)), ("base.c", "new_state", Some(3))], "base.a"),
            // A part of the name without case is what Daytona lists by.
            (
                None,
                vec![old, ("Base.b", "active", Some(2)), ("hv.demo.base.0a1b", "active", Some(3))],
                "base.a",
            ),
            (None, vec![("baseline.b", "active", Some(1)), ("base", "active", Some(2))], NONE),
            (None, vec![("base.b", "inactive", Some(1))], NONE),
            (None, vec![], NONE),
            // Without a time it is older than all; of one moment, the same for everybody.
            (None, vec![("base.z", "active", None), old], "base.a"),
            (None, vec![("base.z", "active", Some(1)), old], "base.z"),
            (None, vec![old, ("base.z", "active", Some(1))], "base.z"),
            (None, vec![("base.3f2a91c.hotfix", "active", Some(4)), new], "base.3f2a91c.hotfix"),
        ] {
            assert_eq!(chosen(exact, &others), expected, "{exact:?} {others:?}");
        }
    }
}
