//! What the fleet's programs learnt of its account at Daytona by being refused: which limits it has, whether its key is taken.
//!
//! Daytona tells an API key neither. Whoever meets a refusal writes it down, so that nobody else has to meet it.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use strum::Display;

/// What is older than this is told of no more.
const FORGOTTEN_AFTER: Duration = Duration::days(2);

/// What an organization has a limit of, as it stands in the register: these words stay, whatever Daytona calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Virtual processors of sandboxes.
    #[strum(serialize = "vCPU")]
    Cpu,
    /// Memory of sandboxes, GiB.
    #[strum(serialize = "GiB of memory")]
    Memory,
    /// Disk of sandboxes, GiB.
    #[strum(serialize = "GiB of disk")]
    Disk,
    /// Snapshots that are not asleep.
    #[strum(serialize = "snapshots")]
    Snapshots,
}

/// One thing that somebody learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountEntry {
    /// Daytona refused to make something: a limit of the organization was met.
    LimitMet(LimitMet),
    /// The API refused a key.
    KeyRefused(KeyRefusal),
    /// The API takes a key again.
    KeyAccepted {
        /// Tells it from other keys.
        key: String,
        /// When it was taken, so that no two of these are alike.
        at: DateTime<Utc>,
    },
}

/// A limit of the organization that somebody met.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LimitMet {
    /// What there was no more of.
    pub resource: Resource,
    /// How much of it the organization may have, where Daytona said.
    pub maximum: Option<f64>,
    /// How much of it the fleet had then, as far as it was counted.
    pub fleet_had: f64,
    /// When it was met, by the clock of who met it.
    pub at: DateTime<Utc>,
}

/// A key that the API did not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRefusal {
    /// Tells it from other keys.
    pub key: String,
    /// When the API was last asked about it, by the clock of who asked.
    pub at: DateTime<Utc>,
}

/// What is known of the account.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccountState {
    limits: BTreeMap<Resource, LimitMet>,
    keys: BTreeMap<String, KeyRefusal>,
}

impl AccountState {
    /// Takes what somebody learnt: the last word on each thing counts.
    pub fn fold(&mut self, entry: AccountEntry) {
        match entry {
            AccountEntry::LimitMet(met) => drop(self.limits.insert(met.resource, met)),
            AccountEntry::KeyRefused(refusal) => drop(self.keys.insert(refusal.key.clone(), refusal)),
            AccountEntry::KeyAccepted { key, at: _ } => drop(self.keys.remove(&key)),
        }
    }

    /// The limits that were met, each as it was met last.
    pub fn limits_met(&self) -> impl Iterator<Item = &LimitMet> {
        self.limits.values()
    }

    /// The refusal of this key, while it stands.
    pub fn refusal_of(&self, key: &str) -> Option<&KeyRefusal> {
        self.keys.get(key)
    }

    /// All of it that is of use to who begins to read now.
    pub fn written_again(&self, now: DateTime<Utc>) -> impl Iterator<Item = AccountEntry> {
        let is_fresh = move |at: DateTime<Utc>| now - at < FORGOTTEN_AFTER;
        let limits = self.limits.values().filter(move |met| is_fresh(met.at)).copied();
        let keys = self.keys.values().filter(move |refusal| is_fresh(refusal.at)).cloned();
        limits.map(AccountEntry::LimitMet).chain(keys.map(AccountEntry::KeyRefused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(maximum: f64, at: DateTime<Utc>) -> AccountEntry {
        let resource = Resource::Cpu;
        AccountEntry::LimitMet(LimitMet { resource, maximum: Some(maximum), fleet_had: 4.0, at })
    }

    #[test]
    fn the_last_word_on_each_thing_counts() {
        let now = Utc::now();
        let mut state = AccountState::default();
        let refusal = |key: &str| KeyRefusal { key: key.to_owned(), at: now };
        state.fold(met(10.0, now));
        state.fold(met(20.0, now - Duration::hours(1)));
        assert_eq!(state.limits_met().next().unwrap().maximum, Some(20.0), "clocks are not compared");
        state.fold(AccountEntry::KeyRefused(refusal("one")));
        state.fold(AccountEntry::KeyRefused(refusal("other")));
        state.fold(AccountEntry::KeyAccepted { key: "one".to_owned(), at: now });
        assert_eq!(state.refusal_of("one"), None);
        assert_eq!(state.refusal_of("other"), Some(&refusal("other")));
    }

    #[test]
    fn what_is_written_again_comes_to_the_same() {
        let now = Utc::now();
        let mut state = AccountState::default();
        state.fold(met(10.0, now));
        state.fold(AccountEntry::KeyRefused(KeyRefusal { key: "one".to_owned(), at: now }));
        let mut again = AccountState::default();
        for entry in state.written_again(now) {
            let line = serde_json::to_string(&entry).unwrap();
            again.fold(serde_json::from_str(&line).unwrap());
        }
        assert_eq!(again, state);
        assert_eq!(state.written_again(now + FORGOTTEN_AFTER).count(), 0);
    }
}
