//! The fleet's account at Daytona: what limits it has and how much of them the fleet uses, and whether its key is taken.
//!
//! Daytona tells an API key neither what an organization may use nor what it uses, and counts a question that it refuses as a failed
//! authentication. So the fleet counts what it has, goes by the limits that it was told, and writes down every refusal, so that it is
//! met once and not by every worker. What belongs to one target, and what a sandbox or snapshot is for, do not belong here.

#![warn(missing_docs)]

mod counted;
mod holding;
mod key;
mod limits;
mod room;
mod section;
mod used;

pub use counted::{Admission, NotAdmitted, Rooms};
pub use holding::{Holding, Need};
pub use key::KeyWatch;
pub use limits::write_limits_met;
pub use room::{Full, Lack, Purpose, room_for};
pub use section::QuotaSection;
pub use used::{FleetUse, Size};
