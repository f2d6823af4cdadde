//! The files of config/ as they are compiled in, so that each program also knows which variables the others read.

use crate::knobs::Knobs;

/// Variables of Daytona's own tools that set a knob of ours.
const ALIASES: &[(&str, &str)] =
    &[("DAYTONA_API_URL", "daytona.api_url"), ("DAYTONA_TARGET", "daytona.target")];

/// The knobs of config/worker.toml.
pub const WORKER: Knobs = Knobs {
    defaults: include_str!("../../../config/worker.toml"),
    required: &["fleet"],
    open: &["classes", "secrets"],
    aliases: ALIASES,
};

/// The knobs of config/producer.toml, which harvestctl reads too.
pub const PRODUCER: Knobs = Knobs {
    defaults: include_str!("../../../config/producer.toml"),
    required: &["fleet"],
    open: &[],
    aliases: ALIASES,
};

/// The knobs of every program.
pub(crate) const ALL: [&Knobs; 2] = [&WORKER, &PRODUCER];
