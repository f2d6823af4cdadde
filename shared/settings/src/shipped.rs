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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_share_is_shipped_alike() {
        let [worker, producer] = ALL.map(|knobs| toml::from_str::<toml::Table>(knobs.defaults).unwrap());
        for section in ["retry", "lease"] {
            assert!(worker.contains_key(section), "[{section}]");
            assert_eq!(worker.get(section), producer.get(section), "[{section}]");
        }
    }
}
