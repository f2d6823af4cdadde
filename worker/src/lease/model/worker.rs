//! The attempt of a worker, step by step: the order of the program's own calls.

use job::Folded;

use super::super::rules::{Occupant, PassedOver, Step, became_holder, may_go_on, next_step};
use super::platform::{APART, AT_ONCE, SandboxNumber, Seen, Standing, patience};
use super::register::{Captured, Prebuild};
use super::{Broken, NAMES_MAX, World, Wrong};

/// How far an attempt is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    #[default]
    Idle,
    Looking,
    Removing(SandboxNumber),
    Creating,
    /// Created; the other names are looked at next.
    Checking,
    /// It waits for its sandbox to start.
    Starting,
    Working,
    /// It has beaten, and looks at the other names next.
    Beaten,
    /// It has noted what it is going to capture.
    Capturing,
    /// It was frozen between its last look and its promotion.
    Frozen,
    Releasing(After),
}

/// What follows a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum After {
    End,
    Verify,
    /// The same attempt looks again what is wanted.
    Again,
}

/// A worker, and its attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Worker {
    pub(super) phase: Phase,
    pub(super) attempt: u8,
    pub(super) of_verify: bool,
    /// How many sandboxes it has made.
    create: u8,
    commit: u8,
    /// The promotion that the register showed when the commit was looked up.
    known: Option<u8>,
    pub(super) name: usize,
    passed: [Option<(SandboxNumber, u8)>; NAMES_MAX],
    pub(super) seen: [Option<Seen>; NAMES_MAX],
    /// Whether that came with its message, from the keeper.
    of_message: bool,
    /// What it has captured, or taken up.
    captured: Option<Captured>,
}

impl Worker {
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Whether it holds, as far as it knows.
    pub(super) fn works(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Working | Phase::Beaten | Phase::Capturing)
    }

    pub(super) fn number(&self) -> SandboxNumber {
        SandboxNumber { attempt: self.attempt, create: self.create }
    }

    fn prebuild(&self) -> Prebuild {
        Prebuild { attempt: self.attempt, commit: self.commit }
    }

    /// Whether what it verifies is still there.
    pub(super) fn has_image(&self, world: &World) -> bool {
        !self.of_verify || self.captured.is_some_and(|captured| world.snapshots.has(captured.prebuild))
    }

    pub(super) fn create_another(&mut self) {
        self.create += 1;
    }

    fn own(&self, world: &World) -> Option<Standing> {
        world.names[self.name].filter(|standing| standing.id == self.number())
    }

    fn others(&self, world: &World) -> Vec<Standing> {
        let other = |(place, standing): (usize, &Option<Standing>)| standing.filter(|_| place != self.name);
        world.names.iter().enumerate().filter_map(other).collect()
    }

    fn passed(&self) -> Vec<PassedOver<SandboxNumber, u8>> {
        self.passed.iter().flatten().map(|&(id, sign)| PassedOver { id, sign }).collect()
    }

    fn may_go_on(&self, world: &World) -> bool {
        let others: Vec<SandboxNumber> = self.others(world).iter().map(|other| other.id).collect();
        may_go_on(&others, &self.passed())
    }

    /// Whether a look would find it the holder now.
    pub(super) fn would_pass(&self, world: &World) -> bool {
        self.own(world).is_some() && self.may_go_on(world)
    }

    /// The same, with one rule left out.
    pub(super) fn passes(&self, world: &World, broken: Broken) -> bool {
        let alone = broken == Broken::OwnNameOnly || self.may_go_on(world);
        self.own(world).is_some() && alone
    }

    pub(super) fn idle() -> Self {
        Self::default()
    }
}

impl World {
    pub(super) fn work(&mut self, who: usize, broken: Broken) {
        let worker = self.workers[who];
        let phase = match worker.phase {
            Phase::Idle => return self.start(who),
            Phase::Looking => return self.look(who, broken),
            Phase::Removing(id) => {
                let found = self.names[worker.name].is_some_and(|found| found.id == id && !found.sticks);
                if found {
                    self.names[worker.name] = None;
                }
                Phase::Looking
            }
            Phase::Creating if self.names[worker.name].is_some() => {
                if worker.of_verify {
                    return self.workers[who] = Worker::idle();
                }
                Phase::Looking
            }
            // Nothing starts from what is gone.
            Phase::Creating if !worker.has_image(self) => {
                return self.workers[who] = Worker::idle();
            }
            Phase::Creating => {
                self.place(who);
                Phase::Checking
            }
            Phase::Checking => self.check(worker, broken),
            Phase::Starting => match worker.own(self) {
                Some(own) if own.sticks => Phase::Releasing(After::End),
                Some(_) => Phase::Working,
                None => return self.workers[who] = Worker::idle(),
            },
            Phase::Working => return self.beat(who, broken),
            Phase::Beaten if worker.passes(self, broken) => {
                return self.go_on(who, broken);
            }
            Phase::Beaten => return self.workers[who] = Worker::idle(),
            Phase::Releasing(after) => return self.release(who, after),
            Phase::Capturing => return self.capture(who),
            Phase::Frozen => return self.promote(who, broken),
        };
        self.workers[who].phase = phase;
    }

    fn start(&mut self, who: usize) {
        let attempt = self.attempts_begun();
        self.left.attempts -= 1;
        let (commit, known) = (self.head, self.stream.fold().version());
        // What the keeper has seen goes with the job.
        let seen = self.swept;
        let of_message = true;
        let begun = Worker { attempt, commit, known, seen, of_message, ..Worker::idle() };
        self.workers[who] = Worker { phase: Phase::Looking, ..begun };
    }

    fn attempts_begun(&self) -> u8 {
        self.attempts - self.left.attempts
    }

    fn look(&mut self, who: usize, broken: Broken) {
        let patience = patience(broken == Broken::OneLookIsEnough);
        let mut worker = self.workers[who];
        let apart = if worker.of_message { AT_ONCE } else { APART };
        worker.of_message = false;
        let mut occupants = Vec::new();
        for place in 0..self.names_used {
            let Some(standing) = self.names[place] else {
                worker.seen[place] = None;
                occupants.push(Occupant::Nobody);
                continue;
            };
            let before = worker.seen[place];
            let (seen, found) = standing.look(before, apart, patience);
            worker.seen[place] = Some(seen);
            let mine = standing.id.attempt == worker.attempt;
            occupants.push(if mine { Occupant::Mine } else { found });
        }
        match next_step(&occupants) {
            Step::Adopt(place) => {
                worker.create = self.names[place].map_or(worker.create, |standing| standing.id.create);
                worker.phase = Phase::Checking;
                worker.name = place;
                worker.pass_over(&occupants);
            }
            Step::Create(place) => {
                worker.phase = Phase::Creating;
                worker.name = place;
                worker.pass_over(&occupants);
            }
            Step::Remove(place) => {
                worker.name = place;
                let Some(standing) = self.names[place] else { return };
                worker.phase = Phase::Removing(standing.id);
                let before = self.workers[who].seen[place];
                self.condemn(standing, before);
            }
            // The job comes again, and looks the commit up anew.
            Step::Wait(_) => {
                let state = self.stream.fold();
                if state.promoted.is_some_and(|promoted| promoted.commit == self.head) {
                    return self.workers[who] = Worker::idle();
                }
                worker.commit = self.head;
                worker.known = state.version();
            }
            Step::Refuse(_) => unreachable!("nobody else has names of ours"),
        }
        if matches!(worker.phase, Phase::Creating | Phase::Checking) {
            worker.seen = Default::default();
        }
        self.workers[who] = worker;
    }

    /// Only who showed the same sign at a look before is dead.
    pub(super) fn condemn(&mut self, standing: Standing, before: Option<Seen>) {
        if before.is_none_or(|before| before.id != standing.id || before.beat != standing.beat) {
            self.wrong = Some(Wrong::SweptTheLiving);
        }
    }

    fn check(&mut self, worker: Worker, broken: Broken) -> Phase {
        let others: Vec<(SandboxNumber, u8)> =
            worker.others(self).iter().map(|other| (other.id, other.beat)).collect();
        let truly = became_holder(&others, &worker.passed());
        let found = match broken {
            Broken::NoSecondLook => true,
            Broken::PassedOverForGood => worker.may_go_on(self),
            Broken::Nothing
            | Broken::OwnNameOnly
            | Broken::NoFence
            | Broken::NoPredecessor
            | Broken::OneLookIsEnough
            | Broken::CollectsTheYoung
            | Broken::PromotesTheOvertaken => truly,
        };
        let living = |(id, beat): &(SandboxNumber, u8)| {
            worker.passed.iter().flatten().all(|passed| *passed != (*id, *beat))
        };
        if found && others.iter().any(living) {
            self.wrong = Some(Wrong::TakenFromTheLiving);
        }
        if found { Phase::Starting } else { Phase::Releasing(After::End) }
    }

    fn beat(&mut self, who: usize, broken: Broken) {
        let worker = self.workers[who];
        if broken == Broken::NoFence && worker.of_verify {
            return self.go_on(who, broken);
        }
        match (worker.own(self), &mut self.names[worker.name]) {
            (Some(_), Some(standing)) => {
                standing.beat += 1;
                self.workers[who].phase = Phase::Beaten;
            }
            (Some(_) | None, Some(_) | None) => self.workers[who] = Worker::idle(),
        }
    }

    /// The lease was confirmed: captures, or takes up, under the first one, promotes under the second.
    fn go_on(&mut self, who: usize, broken: Broken) {
        let worker = self.workers[who];
        if worker.of_verify {
            return self.promote(who, broken);
        }
        let can = worker.own(self).is_some_and(|own| !own.sticks);
        let state = self.stream.fold();
        // Somebody promoted since the commit was looked up: it is looked up again.
        let still_wanted = state.version() == worker.known || broken == Broken::NoPredecessor;
        let is_overtaken =
            Some(worker.attempt) < state.newest_promoted && broken != Broken::PromotesTheOvertaken;
        let phase = if !can || is_overtaken {
            Phase::Releasing(After::End)
        } else if !still_wanted {
            Phase::Releasing(After::Again)
        } else if let Some(found) = self.find_captured(worker) {
            self.workers[who].captured = Some(found);
            Phase::Releasing(After::Verify)
        } else if self.snapshots.has(worker.prebuild()) {
            // Its name is taken.
            Phase::Releasing(After::End)
        } else {
            self.workers[who].captured = Some(self.stream.note(worker.prebuild()));
            Phase::Capturing
        };
        self.workers[who].phase = phase;
    }

    /// What is there of what is wanted: its own, or what the register knows of one that did not come to promote it.
    fn find_captured(&self, worker: Worker) -> Option<Captured> {
        let state = self.stream.fold();
        let is_wanted = |captured: &Captured| {
            captured.prebuild.commit == worker.commit
                && self.snapshots.has(captured.prebuild)
                && Some(captured.prebuild.attempt) >= state.newest_promoted
        };
        [worker.captured, state.captured].into_iter().flatten().find(is_wanted)
    }

    fn capture(&mut self, who: usize) {
        let worker = self.workers[who];
        let can = worker.own(self).is_some_and(|own| !own.sticks);
        if can {
            self.snapshots.insert(worker.prebuild());
        }
        self.workers[who].phase = Phase::Releasing(if can { After::Verify } else { After::End });
    }

    fn promote(&mut self, who: usize, broken: Broken) {
        let worker = self.workers[who];
        let Some(captured) = worker.captured else { unreachable!("only what was captured is verified") };
        let before = self.stream.fold();
        let follows = if broken == Broken::NoPredecessor { before.version() } else { worker.known };
        let by = (Some(captured.version), worker.attempt);
        let folded = if broken == Broken::PromotesTheOvertaken {
            self.stream.promote_overtaken(captured.prebuild, before.promoted, follows, by)
        } else {
            self.stream.promote(captured.prebuild, before.promoted, follows, by)
        };
        if folded == Folded::Taken {
            if before.promoted.is_some_and(|promoted| promoted.commit > captured.prebuild.commit) {
                self.wrong = Some(Wrong::WentBackwards);
            } else if before.version() != worker.known {
                self.wrong = Some(Wrong::UndidTheUnseen);
            } else if worker.phase != Phase::Frozen
                && !worker.would_pass(self)
                && broken != Broken::OwnNameOnly
            {
                self.wrong = Some(Wrong::PromotedWithoutLease);
            }
        }
        self.workers[who].phase = Phase::Releasing(match folded {
            Folded::Taken | Folded::Overtaken => After::End,
            Folded::Refused | Folded::Outdated => After::Again,
        });
    }

    fn release(&mut self, who: usize, after: After) {
        let worker = self.workers[who];
        if worker.own(self).is_some_and(|own| !own.sticks) {
            self.names[worker.name] = None;
        }
        let state = self.stream.fold();
        match after {
            After::End => self.workers[who] = Worker::idle(),
            After::Verify => {
                self.workers[who].of_verify = true;
                self.workers[who].phase = Phase::Creating;
            }
            After::Again if state.promoted.is_some_and(|promoted| promoted.commit == self.head) => {
                self.workers[who] = Worker::idle();
            }
            After::Again => {
                let Worker { attempt, create, captured, .. } = worker;
                let (commit, known, phase) = (self.head, state.version(), Phase::Looking);
                self.workers[who] =
                    Worker { phase, attempt, create, commit, known, captured, ..Worker::idle() };
            }
        }
    }
}

impl Worker {
    /// What sticks is passed over, with the sign that it shows.
    fn pass_over(&mut self, occupants: &[Occupant]) {
        for (place, found) in occupants.iter().enumerate() {
            let stuck = self.seen[place].filter(|_| *found == Occupant::Stuck);
            self.passed[place] = stuck.map(|seen| (seen.id, seen.beat));
        }
    }
}
