//! The entries of one target, merged: every reader that folds the same entries knows the same.
//!
//! Invariant: a promotion is taken only where it follows the one that is there and gives nothing that may have been collected, and
//! nothing but a promotion changes what is promoted and kept. Of every other concern the entry of the greatest version counts.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};

use super::collection::is_overtaken;
use super::entry::{Concern, EntryFormat, Promotion, TargetEntry, Writing};
use super::{
    CapturedPrebuild, EntryVersion, FoundPrebuild, GoneTarget, LastAttempt, Listing, LostSandbox,
    OpenDeadLetter, Pause, Provenance, Revocation, Revoked, StandingFailure, TargetState,
};
use crate::{AttemptId, FailureKind, PrebuildRecord, Target};

/// A promotion this much older may have aged out of the stream for whoever writes the next, which then follows none.
/// The stream keeps entries for three days.
const MAY_BE_FORGOTTEN: Duration = Duration::days(2);

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folded {
    /// It counts from now on.
    Taken,
    /// It was folded before, or a newer one of its concern was.
    Outdated,
    /// A promotion that does not follow the one that is there: its writer did not know of that one.
    Refused,
    /// A promotion of what is not given already, by an attempt that began before one that was promoted, or long ago: it may have
    /// been collected.
    Overtaken,
}

/// Everything that is known of one target, each concern with its version.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetFold {
    target: Target,
    /// The greatest version seen: the next entry has a greater one.
    newest: Option<EntryVersion>,
    promotion: Option<Versioned<Promotion>>,
    /// The newest attempt whose prebuild was ever promoted.
    newest_promoted: Option<AttemptId>,
    captured: Option<Versioned<CapturedPrebuild>>,
    found: Option<Versioned<FoundPrebuild>>,
    pause: Option<Versioned<Option<Pause>>>,
    last: Option<Versioned<LastAttempt>>,
    failing: Option<Versioned<Option<StandingFailure>>>,
    lost_sandbox: Option<Versioned<Option<LostSandbox>>>,
    dead_letters: BTreeMap<FailureKind, Versioned<Option<OpenDeadLetter>>>,
    dead_letters_closed: Option<EntryVersion>,
    listing: Option<Versioned<Listing>>,
    revocations: BTreeMap<EntryVersion, Revocation>,
}

#[derive(Debug, Clone, PartialEq)]
struct Versioned<T> {
    version: EntryVersion,
    value: T,
}

impl TargetFold {
    /// Of a target nothing is known of.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            newest: None,
            promotion: None,
            newest_promoted: None,
            captured: None,
            found: None,
            pause: None,
            last: None,
            failing: None,
            lost_sandbox: None,
            dead_letters: BTreeMap::new(),
            dead_letters_closed: None,
            listing: None,
            revocations: BTreeMap::new(),
        }
    }

    /// Folds an entry in.
    pub fn fold(&mut self, entry: TargetEntry) -> Folded {
        let TargetEntry { format: EntryFormat::PerConcern, target: _, version, writing, about } = entry;
        self.newest = self.newest.max(Some(version));
        match about {
            Concern::Promotion(promotion) => self.fold_promotion(version, *promotion, writing),
            Concern::Captured(captured) => take_newer(&mut self.captured, version, captured),
            Concern::Found(found) => take_newer(&mut self.found, version, found),
            Concern::Pause(pause) => take_newer(&mut self.pause, version, pause),
            Concern::Attempt(last) => take_newer(&mut self.last, version, *last),
            Concern::StandingFailure(failing) => {
                take_newer(&mut self.failing, version, failing.map(|failing| *failing))
            }
            Concern::LostSandbox(lost) => take_newer(&mut self.lost_sandbox, version, lost),
            Concern::DeadLetter { failure, open } => self.fold_dead_letter(version, failure, open),
            Concern::DeadLettersClosed => self.close_dead_letters(version),
            Concern::Listing(listing) => take_newer(&mut self.listing, version, listing),
            Concern::Revocation(revocation) => self.fold_revocation(version, revocation, writing),
        }
    }

    /// Folds in what 0.1 wrote: the whole state, of which only what its writer can have changed counts.
    pub fn fold_whole_state(&mut self, state: TargetState) {
        let version = EntryVersion::at(state.updated_at);
        self.newest = self.newest.max(Some(version));
        self.fold_promotion_of_0_1(&state);
        if let Some(captured) = state.captured {
            let version = EntryVersion::of_attempt(captured.name.attempt());
            take_newer(&mut self.captured, version, captured);
        }
        if let Some(last) = state.last {
            take_newer(&mut self.last, EntryVersion::at(last.at), last);
        }
        take_newer(&mut self.failing, version, state.failing);
        take_newer(&mut self.lost_sandbox, version, state.lost_sandbox);
        self.close_dead_letters(version);
        for (failure, open) in state.open_dead_letters {
            self.fold_dead_letter(version, failure, Some(open));
        }
    }

    fn fold_promotion(&mut self, version: EntryVersion, promotion: Promotion, writing: Writing) -> Folded {
        if let Some(current) = &self.promotion {
            if version <= current.version {
                return if version == current.version { Folded::Outdated } else { Folded::Refused };
            }
            let follows = match writing {
                Writing::First => {
                    let since = written_at(version, &promotion) - written_at(current.version, &current.value);
                    promotion.follows == Some(current.version) || since >= MAY_BE_FORGOTTEN
                }
                // It was taken where it was written from.
                Writing::Again => true,
            };
            if !follows {
                return Folded::Refused;
            }
            if writing == Writing::First && self.is_any_overtaken(&current.value, version, &promotion) {
                return Folded::Overtaken;
            }
        }
        self.promote(version, promotion);
        Folded::Taken
    }

    /// Whether a promotion gives what may have been collected. What is given already may not.
    fn is_any_overtaken(&self, current: &Promotion, version: EntryVersion, next: &Promotion) -> bool {
        let is_given = |prebuild: &&PrebuildRecord| current.prebuilds().any(|it| it.name == prebuild.name);
        let mut new = next.prebuilds().filter(|prebuild| !is_given(prebuild));
        let now = written_at(version, next);
        new.any(|prebuild| is_overtaken(prebuild.name.attempt(), self.newest_promoted, now))
    }

    /// In 0.1 an attempt's end was written with the promoted prebuild of a copy, which could be an old one. Newer attempts'
    /// prebuilds are taken, and older ones only where no program but 0.1 has promoted.
    fn fold_promotion_of_0_1(&mut self, state: &TargetState) {
        let Some(promoted) = state.promoted.clone() else { return };
        let version = EntryVersion::of_attempt(promoted.attempt);
        let taken = match &self.promotion {
            None => true,
            Some(_) if Some(promoted.attempt) > self.newest_promoted => true,
            Some(current) => {
                let tells_an_end = state.last.as_ref().is_some_and(|last| last.at == state.updated_at);
                let of_0_1 = current.version == EntryVersion::of_attempt(current.value.promoted.attempt);
                of_0_1 && !tells_an_end
            }
        };
        if taken {
            self.promote(
                version,
                Promotion { follows: None, promoted, kept: state.kept.clone(), newest: None, at: None },
            );
        }
    }

    fn promote(&mut self, version: EntryVersion, promotion: Promotion) {
        let attempts = promotion.prebuilds().map(|prebuild| prebuild.attempt);
        self.newest_promoted = self.newest_promoted.max(attempts.max()).max(promotion.newest);
        self.promotion = Some(Versioned { version, value: Promotion { newest: None, ..promotion } });
    }

    fn fold_revocation(&mut self, version: EntryVersion, revocation: Revocation, writing: Writing) -> Folded {
        if self.revocations.contains_key(&version) {
            return Folded::Outdated;
        }
        let came_back = match revocation.of {
            Revoked::Retired { gone } => self.listing.as_ref().is_some_and(|known| known.version != gone),
            Revoked::BuiltWith(_) | Revoked::BuiltSince(_) => false,
        };
        if came_back && writing == Writing::First {
            return Folded::Refused;
        }
        self.revocations.insert(version, revocation);
        Folded::Taken
    }

    /// Since when the fleet file does not have it, and whether its prebuilds were withdrawn for that.
    fn gone(&self) -> Option<GoneTarget> {
        let listing = self.listing.as_ref()?;
        let since = match listing.value {
            Listing::Listed => return None,
            Listing::GoneSince(since) => since,
        };
        let retirement = self.revocations.values().find(|revocation| match revocation.of {
            Revoked::Retired { gone } => gone == listing.version,
            Revoked::BuiltWith(_) | Revoked::BuiltSince(_) => false,
        });
        Some(GoneTarget { since, entry: listing.version, retired: retirement.map(|it| it.until) })
    }

    /// Whether nothing of it needs to be written anew: its prebuilds were withdrawn, and deleted, long ago. Where an attempt of
    /// after that has promoted, it is not done with.
    pub fn is_forgotten(&self, now: DateTime<Utc>) -> bool {
        let is_given = || self.state().prebuilds().next().is_some();
        self.gone().is_some_and(|gone| gone.is_forgotten(now)) && !is_given()
    }

    fn fold_dead_letter(
        &mut self,
        version: EntryVersion,
        failure: FailureKind,
        open: Option<OpenDeadLetter>,
    ) -> Folded {
        if self.dead_letters_closed > Some(version) {
            return Folded::Outdated;
        }
        let mut known = self.dead_letters.remove(&failure);
        let folded = take_newer(&mut known, version, open);
        self.dead_letters.extend(known.map(|known| (failure, known)));
        folded
    }

    fn close_dead_letters(&mut self, version: EntryVersion) -> Folded {
        if self.dead_letters_closed >= Some(version) {
            return Folded::Outdated;
        }
        self.dead_letters_closed = Some(version);
        self.dead_letters.retain(|_, letter| letter.version >= version);
        Folded::Taken
    }

    /// The greatest version that was seen of the target: the next entry's is greater.
    pub fn newest(&self) -> Option<EntryVersion> {
        self.newest
    }

    /// The state that all of it makes.
    pub fn state(&self) -> TargetState {
        let promotion = self.promotion.as_ref();
        let is_good = |it: Provenance<'_>| !self.revocations.values().any(|revocation| revocation.covers(it));
        let is_pending = |captured: &&Versioned<CapturedPrebuild>| {
            promotion.is_none_or(|promotion| promotion.version < captured.version)
        };
        let captured = self.captured.as_ref().filter(is_pending).map(|captured| captured.value.clone());
        let found = self.found.as_ref().filter(|_| promotion.is_none()).map(|found| found.value.clone());
        let promoted = promotion.map(|promotion| promotion.value.promoted.clone());
        let mut kept = promotion.map(|promotion| promotion.value.kept.clone()).unwrap_or_default();
        kept.retain(|prebuild| is_good(prebuild.into()));
        let letters = self.dead_letters.iter();
        TargetState {
            target: self.target.clone(),
            updated_at: self.newest_taken().map_or(DateTime::UNIX_EPOCH, EntryVersion::time),
            promotion: promotion.map(|promotion| promotion.version),
            promoted: promoted.filter(|prebuild| is_good(prebuild.into())),
            kept,
            captured: captured.filter(|captured| is_good(captured.into())),
            found: found.filter(|found| is_good(found.into())),
            pause: self.pause.as_ref().and_then(|pause| pause.value.clone()),
            newest_promoted: self.newest_promoted,
            gone: self.gone(),
            revocations: self.revocations.values().cloned().collect(),
            failing: self.failing.as_ref().and_then(|failing| failing.value.clone()),
            open_dead_letters: letters
                .filter_map(|(failure, letter)| Some((*failure, letter.value.clone()?)))
                .collect(),
            lost_sandbox: self.lost_sandbox.as_ref().and_then(|lost| lost.value.clone()),
            last: self.last.as_ref().map(|last| last.value.clone()),
        }
    }

    fn newest_taken(&self) -> Option<EntryVersion> {
        let single = [
            self.promotion.as_ref().map(|known| known.version),
            self.captured.as_ref().map(|known| known.version),
            self.found.as_ref().map(|known| known.version),
            self.pause.as_ref().map(|known| known.version),
            self.last.as_ref().map(|known| known.version),
            self.failing.as_ref().map(|known| known.version),
            self.lost_sandbox.as_ref().map(|known| known.version),
            self.dead_letters_closed,
            self.listing.as_ref().map(|known| known.version),
            self.revocations.keys().max().copied(),
        ];
        single.into_iter().flatten().chain(self.dead_letters.values().map(|known| known.version)).max()
    }

    /// All of it as entries, for whoever writes it anew before it ages out of the stream. Each keeps its version, so that it
    /// changes nothing for a reader that has seen it, or a newer one.
    pub fn written_again(&self) -> Vec<TargetEntry> {
        let entry = |(version, about)| TargetEntry {
            format: EntryFormat::PerConcern,
            target: self.target.clone(),
            version,
            writing: Writing::Again,
            about,
        };
        self.concerns().into_iter().map(entry).collect()
    }

    fn concerns(&self) -> Vec<(EntryVersion, Concern)> {
        let with_newest = |it| Promotion { newest: self.newest_promoted, ..it };
        let promotion = self
            .promotion
            .as_ref()
            .map(|known| known.with(|it| Concern::Promotion(Box::new(with_newest(it)))));
        let captured = self.captured.as_ref().map(|known| known.with(Concern::Captured));
        let found = self.found.as_ref().map(|known| known.with(Concern::Found));
        let pause = self.pause.as_ref().map(|known| known.with(Concern::Pause));
        let attempt = self.last.as_ref().map(|known| known.with(|it| Concern::Attempt(Box::new(it))));
        let failing = self.failing.as_ref();
        let failing = failing.map(|known| known.with(|it| Concern::StandingFailure(it.map(Box::new))));
        let lost = self.lost_sandbox.as_ref().map(|known| known.with(Concern::LostSandbox));
        let closed = self.dead_letters_closed.map(|version| (version, Concern::DeadLettersClosed));
        let letter = |(&failure, known): (&FailureKind, &Versioned<Option<OpenDeadLetter>>)| {
            known.with(|open| Concern::DeadLetter { failure, open })
        };
        let revoked =
            |(&version, it): (&EntryVersion, &Revocation)| (version, Concern::Revocation(it.clone()));
        let listing = self.listing.as_ref().map(|known| known.with(Concern::Listing));
        let single = [promotion, captured, found, pause, attempt, failing, lost, closed, listing];
        let letters = self.dead_letters.iter().map(letter);
        let revocations = self.revocations.iter().map(revoked);
        single.into_iter().flatten().chain(letters).chain(revocations).collect()
    }
}

impl<T: Clone> Versioned<T> {
    fn with(&self, concern: impl FnOnce(T) -> Concern) -> (EntryVersion, Concern) {
        (self.version, concern(self.value.clone()))
    }
}

/// When a promotion was written. A version is greater than every one before it, so that one entry of a clock that was ahead puts all
/// later ones ahead as well: it tells the order, and the time only where there is nothing better.
fn written_at(version: EntryVersion, promotion: &Promotion) -> DateTime<Utc> {
    promotion.at.unwrap_or_else(|| version.time())
}

/// Takes what is newer than what is known.
fn take_newer<T>(known: &mut Option<Versioned<T>>, version: EntryVersion, value: T) -> Folded {
    if known.as_ref().is_some_and(|known| known.version >= version) {
        return Folded::Outdated;
    }
    *known = Some(Versioned { version, value });
    Folded::Taken
}

#[cfg(test)]
mod tests;
