//! What workers, keeper, operator and chance can do, one step at a time.

use job::Folded;

use super::super::rules::Occupant;
use super::platform::{APART, Standing, patience};
use super::register::Promoted;
use super::worker::{Phase, Worker};
use super::{Broken, Collecting, World, Wrong};

/// One step of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The branch moves on.
    Push,
    /// A worker takes the next step of its attempt.
    Work(usize),
    /// A worker's create succeeds, and the answer is lost.
    LoseAnswer(usize),
    Crash(usize),
    Stick(usize),
    Unstick(usize),
    /// The keeper looks at a name, as the list shows it.
    Sweep(usize),
    /// The same, and the list is a beat late.
    SweepByStaleList(usize),
    /// A worker is frozen between its last look and its promotion.
    Freeze(usize),
    KeeperReads,
    KeeperWrites,
    KeeperCollects,
    OperatorReads,
    OperatorWrites,
}

impl World {
    pub(super) fn actions(&self, actions: &mut Vec<Action>) {
        for (who, worker) in self.workers.iter().enumerate() {
            if !worker.is_idle() || self.wants_attempt() {
                actions.push(Action::Work(who));
            }
            if worker.phase == Phase::Creating && self.left.lost_answers > 0 {
                actions.push(Action::LoseAnswer(who));
            }
            if !worker.is_idle() && self.left.crashes > 0 {
                actions.push(Action::Crash(who));
            }
            let promotes_next = worker.phase == Phase::Beaten && worker.of_verify;
            if promotes_next && self.left.freezes > 0 {
                actions.push(Action::Freeze(who));
            }
        }
        for (place, standing) in self.names.iter().enumerate() {
            let Some(standing) = standing else { continue };
            actions.push(Action::Sweep(place));
            if standing.beat > 0 && self.left.stale_lists > 0 {
                actions.push(Action::SweepByStaleList(place));
            }
            if standing.sticks {
                actions.push(Action::Unstick(place));
            } else if self.left.stuck > 0 {
                actions.push(Action::Stick(place));
            }
        }
        if self.left.pushes > 0 {
            actions.push(Action::Push);
        }
        match self.rewriting {
            Some(_) => actions.push(Action::KeeperWrites),
            None if self.left.rewrites > 0 => actions.push(Action::KeeperReads),
            None => {}
        }
        if self.collecting != Collecting::Not || self.left.collections > 0 && !self.snapshots.is_empty() {
            actions.push(Action::KeeperCollects);
        }
        match self.rolling_back {
            Some(_) => actions.push(Action::OperatorWrites),
            None if self.left.rollbacks > 0 => actions.push(Action::OperatorReads),
            None => {}
        }
    }

    /// A job is there while the head is not promoted.
    fn wants_attempt(&self) -> bool {
        self.left.attempts > 0
            && self.stream.fold().promoted.is_none_or(|promoted| promoted.commit != self.head)
    }

    pub(super) fn act(&mut self, action: Action, broken: Broken) {
        match action {
            Action::Push => {
                self.left.pushes -= 1;
                self.head += 1;
            }
            Action::Work(who) => self.work(who, broken),
            Action::LoseAnswer(who) => {
                let worker = self.workers[who];
                let has_image = worker.has_image(self);
                if self.names[worker.name].is_none() && has_image {
                    self.left.lost_answers -= 1;
                    self.place(who);
                    // What has the name now says whose it is.
                    self.workers[who].phase = if worker.of_verify { Phase::Checking } else { Phase::Looking };
                }
            }
            Action::Crash(who) => {
                self.left.crashes -= 1;
                self.workers[who] = Worker::idle();
            }
            Action::Stick(place) => {
                self.left.stuck -= 1;
                self.set_sticking(place, true);
            }
            Action::Unstick(place) => self.set_sticking(place, false),
            Action::Sweep(place) => self.sweep(place, 0, broken),
            Action::SweepByStaleList(place) => {
                self.left.stale_lists -= 1;
                self.sweep(place, 1, broken);
            }
            Action::Freeze(who) => {
                if self.workers[who].passes(self, broken) {
                    self.left.freezes -= 1;
                    self.workers[who].phase = Phase::Frozen;
                }
            }
            Action::KeeperCollects => self.collect(broken),
            Action::KeeperReads => {
                self.left.rewrites -= 1;
                self.rewriting = Some(self.stream.rewritten());
            }
            Action::KeeperWrites => self.rewrite(),
            Action::OperatorReads => {
                if let Some(known) = self.stream.fold().known.filter(|known| known.kept.is_some()) {
                    self.left.rollbacks -= 1;
                    self.rolling_back = Some(known);
                }
            }
            Action::OperatorWrites => self.roll_back(broken),
        }
        self.forget_what_makes_no_difference();
    }

    /// Worlds that go on alike are one: which worker is which, and what was seen of sandboxes that are gone or have beaten since.
    fn forget_what_makes_no_difference(&mut self) {
        self.workers.sort_unstable();
        let lists_are_late = self.left.stale_lists > 0;
        let workers = self.workers.iter_mut().map(|worker| &mut worker.seen);
        for seen in workers.chain([&mut self.swept]) {
            for (seen, standing) in seen.iter_mut().zip(&self.names) {
                *seen = seen.filter(|seen| {
                    standing.is_some_and(|now| {
                        now.id == seen.id
                            && (now.beat == seen.beat || lists_are_late && now.beat == seen.beat + 1)
                    })
                });
            }
        }
    }

    fn set_sticking(&mut self, place: usize, sticks: bool) {
        if let Some(standing) = &mut self.names[place] {
            standing.sticks = sticks;
        }
    }

    pub(super) fn place(&mut self, who: usize) {
        let worker = &mut self.workers[who];
        worker.create_another();
        self.names[worker.name] = Some(Standing { id: worker.number(), beat: 0, sticks: false });
    }

    fn sweep(&mut self, place: usize, late: u8, broken: Broken) {
        let Some(standing) = self.names[place] else { return };
        let listed = Standing { beat: standing.beat - late, ..standing };
        let before = self.swept[place];
        let (seen, found) = listed.look(before, APART, patience(broken == Broken::OneLookIsEnough));
        self.swept[place] = Some(seen);
        // Confirmed by what its own id answers.
        if found == Occupant::Dead && listed.beat == standing.beat && !standing.sticks {
            self.condemn(standing, before);
            self.names[place] = None;
            self.swept[place] = None;
        }
    }

    fn rewrite(&mut self) {
        let Some(read) = self.rewriting.take() else { return };
        let before = self.stream.fold().known;
        self.stream.append(&read);
        if self.stream.fold().known != before {
            self.wrong = Some(Wrong::UndidTheUnseen);
        }
    }

    fn collect(&mut self, broken: Broken) {
        self.collecting = match self.collecting {
            Collecting::Not => {
                self.left.collections -= 1;
                Collecting::Listed(self.snapshots)
            }
            Collecting::Listed(listed) => {
                let state = self.stream.fold();
                Collecting::Condemned(listed.only(if broken == Broken::CollectsTheYoung {
                    state.superfluous_however_young
                } else {
                    state.superfluous
                }))
            }
            Collecting::Condemned(condemned) => {
                self.snapshots.remove(condemned);
                Collecting::Not
            }
        };
    }

    fn roll_back(&mut self, broken: Broken) {
        let Some(Promoted { version, prebuild, kept: Some(kept) }) = self.rolling_back.take() else { return };
        let before = self.stream.fold();
        let follows = if broken == Broken::NoPredecessor { before.version() } else { Some(version) };
        let folded = self.stream.promote(kept, Some(prebuild), follows, (None, 7));
        let taken = folded == Folded::Taken;
        if taken && before.version() != Some(version) {
            self.wrong = Some(Wrong::UndidTheUnseen);
        }
    }
}
