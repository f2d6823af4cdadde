//! The protocol of lease, names, promotion and register as a model, checked exhaustively: two workers, one keeper that sweeps, gives
//! the jobs what it has seen, writes the register anew and collects without a lease, one operator; crashes at every point, sandboxes
//! that stick, lost answers, stale lists.
//!
//! What decides is the program's own: `rules.rs`, the crate `lease` and the register's fold. Nothing waits for anybody, so a worker that
//! is not scheduled is a frozen one. `make model` checks larger bounds.

mod platform;
mod register;
mod steps;
mod tests;
mod worker;

use stateright::{Model, Property};

use self::platform::{Seen, Standing};
use self::register::{Snapshots, Stream};
use self::steps::Action;
use self::worker::Worker;

/// Names of the one target. The program's three are in the larger bounds.
const NAMES_MAX: usize = 3;

/// How much may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Bounds {
    names: usize,
    attempts: u8,
    pushes: u8,
    crashes: u8,
    stuck: u8,
    lost_answers: u8,
    stale_lists: u8,
    rewrites: u8,
    rollbacks: u8,
    collections: u8,
    /// Between the last look before a promotion and the promotion.
    freezes: u8,
}

/// The rule that is left out, for the model to show what it is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Broken {
    Nothing,
    /// Nobody looks before a promotion whether the lease is still held.
    NoFence,
    /// A promotion follows whatever the register shows when it is written.
    NoPredecessor,
    /// Nobody looks at the other names after a create.
    NoSecondLook,
    /// One look at a silent holder is enough.
    OneLookIsEnough,
    /// Who is passed over is not looked at again.
    PassedOverForGood,
    /// A holder looks at its own name alone.
    OwnNameOnly,
    /// What is not given is collected, however young.
    CollectsTheYoung,
    /// Attempts promote what they made, whatever newer ones have promoted.
    PromotesTheOvertaken,
}

/// The protocol within its bounds.
#[derive(Debug, Clone, Copy)]
struct Protocol {
    bounds: Bounds,
    broken: Broken,
}

/// Everything there is at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    left: Bounds,
    names_used: usize,
    attempts: u8,
    /// The commit that the branch is at: they count up.
    head: u8,
    /// Who stands under the target's names.
    names: [Option<Standing>; NAMES_MAX],
    snapshots: Snapshots,
    stream: Stream,
    workers: [Worker; 2],
    /// What the keeper has seen of each name.
    swept: [Option<Seen>; NAMES_MAX],
    /// What the keeper has read and not written yet.
    rewriting: Option<Stream>,
    /// How far the keeper's collection is.
    collecting: Collecting,
    /// The promotion that the operator has seen and goes back from.
    rolling_back: Option<register::Promoted>,
    /// What must never happen, and did.
    wrong: Option<Wrong>,
}

/// A collection of the keeper, who may be none any more at any of its steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Collecting {
    #[default]
    Not,
    Listed(Snapshots),
    /// Found superfluous, as the register was then.
    Condemned(Snapshots),
}

/// What no property of a single state shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wrong {
    /// A lease was taken while one that was passed over for it showed life.
    TakenFromTheLiving,
    /// Somebody promoted who would not have passed a look.
    PromotedWithoutLease,
    /// A worker promoted an older commit over a newer one.
    WentBackwards,
    /// A promotion replaced one that its writer did not know.
    UndidTheUnseen,
    /// A sandbox was deleted whose holder had just beaten at the look that condemned it.
    SweptTheLiving,
}

impl Protocol {
    fn new(bounds: Bounds, broken: Broken) -> Self {
        Self { bounds, broken }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            left: self.bounds,
            names_used: self.bounds.names,
            attempts: self.bounds.attempts,
            head: 0,
            names: [None; NAMES_MAX],
            snapshots: Snapshots::default(),
            stream: Stream::default(),
            workers: [Worker::default(); 2],
            swept: [None; NAMES_MAX],
            rewriting: None,
            collecting: Collecting::Not,
            rolling_back: None,
            wrong: None,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.act(action, self.broken);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            // Invariant 2.
            Property::always("one holder", |model: &Self, world: &World| world.holders(model.broken) <= 1),
            Property::always("no lease is taken from the living", |_, world: &World| {
                !world.went(Wrong::TakenFromTheLiving) && !world.went(Wrong::SweptTheLiving)
            }),
            Property::always("nobody promotes without the lease", |_, world: &World| {
                !world.went(Wrong::PromotedWithoutLease)
            }),
            // Invariant 3.
            Property::always("promotions never go backwards", |_, world: &World| {
                !world.went(Wrong::WentBackwards)
            }),
            Property::always("no promotion undoes one its writer did not know", |_, world: &World| {
                !world.went(Wrong::UndidTheUnseen)
            }),
            Property::always("what is promoted or kept exists", |_, world: &World| {
                world.stream.fold().known.is_none_or(|known| {
                    world.snapshots.has(known.prebuild)
                        && known.kept.is_none_or(|kept| world.snapshots.has(kept))
                })
            }),
            // Invariant 5.
            Property::always("where nothing is left to do, no sandbox is left", |model, world: &World| {
                world.is_empty() || !world.is_idle() || model.can_go_on(world)
            }),
            // What the protocol is for.
            Property::sometimes("the head is promoted", |_, world: &World| {
                world.stream.fold().promoted.is_some_and(|promoted| promoted.commit == 1)
            }),
            Property::sometimes(
                "something is collected",
                |_, world: &World| matches!(world.collecting, Collecting::Condemned(condemned) if !condemned.is_empty()),
            ),
            Property::sometimes("built beside one that sticks", |_, world: &World| {
                world.names[0].is_some_and(|standing| standing.sticks)
                    && world.stream.fold().promoted.is_some()
                    && world.names[1].is_some()
            }),
        ]
    }
}

impl Protocol {
    fn can_go_on(&self, world: &World) -> bool {
        let mut actions = Vec::new();
        world.actions(&mut actions);
        actions.into_iter().any(|action| self.next_state(world, action).is_some())
    }
}

impl World {
    fn went(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn is_empty(&self) -> bool {
        self.names.iter().all(Option::is_none)
    }

    fn is_idle(&self) -> bool {
        self.workers.iter().all(Worker::is_idle)
    }

    /// How many workers would pass a look now.
    fn holders(&self, broken: Broken) -> usize {
        self.workers.iter().filter(|worker| worker.works() && worker.passes(self, broken)).count()
    }
}
