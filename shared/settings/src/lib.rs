//! Reads defaults, files and the environment (`.env` too) into the struct that a program declares as the sum of its sections.
//!
//! Every mistake is reported at once, with its file and line or its variable; an unknown key refuses to start, so
//! that a typo never becomes a default. Secrets come from the environment only and are `SecretString` from there
//! on. This is the only crate that reads the environment. The sections themselves do not belong here: each library
//! owns the one it uses, each program their sum.

#![warn(missing_docs)]

mod effective;
mod environment;
mod fleet_file;
mod knobs;
mod layers;
mod problem;
mod secret_rules;
mod secret_rules_check;
mod secrets;
pub mod shipped;
mod unread;
mod variable;

pub use effective::{Effective, EffectiveEntry};
pub use environment::{EnvFileError, Environment};
pub use fleet_file::{DEFAULT_EVERY, FleetFile, FleetLoad};
pub use knobs::Knobs;
pub use layers::{Layered, Rule};
pub use problem::{Mistake, Place, Problem, Problems, closest};
pub use secret_rules::{InvalidRule, NoRule, RepositoryPattern, SecretRule, SecretRules, UrlPrefix};
pub use secret_rules_check::check_secret_rules;
pub use secrets::{SecretRefusal, Secrets, reserved};
pub use variable::{AMQP_URL, DAYTONA_API_KEY, FLEET_MISSING, Variable};
