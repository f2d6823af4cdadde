//! Whose a sandbox is, and whether its holder lives: what whoever takes a lease and whoever sweeps must agree on.
//!
//! Pure: the looks themselves, taking, holding and deleting are the programs'.

#![warn(missing_docs)]

mod labels;
mod life;
mod section;

use std::time::Duration;

pub use labels::{Holder, Labels, Owner, attempts_at_work, fleet_label, fleet_of, keep_awake_labels};
pub use life::{Sighting, is_dead, is_stuck, observe, since_message_looked};
pub use section::LeaseSection;

/// How long a sandbox may take to go before it is left to its own limits and to the next sweep. Daytona refuses to delete what
/// is under way: 15 minutes while it creates, 30 while it pulls, and hours where it sticks, for which nobody waits.
pub const DELETE_DEADLINE: Duration = Duration::from_mins(2);

/// How long a sandbox that did not start in time, or that sticks, may take to go: what is under way there can't be deleted.
pub const GIVE_UP_DEADLINE: Duration = Duration::from_secs(5);
