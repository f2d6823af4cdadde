//! The steps of an attempt, in the order they run.

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};

/// One step of an attempt.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Display, IntoStaticStr,
)]
#[cfg_attr(test, derive(strum::VariantArray))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// Which commit is wanted, and is it built already?
    Resolve,
    /// A sandbox of this target's name: the lease.
    Provision,
    /// The commit on its branch under `/workspace/<name>`.
    Checkout,
    /// From the files of the checkout to a recipe.
    Detect,
    /// The exact Node and package manager.
    Toolchain,
    /// The dependencies are installed.
    Install,
    /// The build script is run.
    Build,
    /// Secrets and run files out, manifest in.
    Scrub,
    /// The sandbox becomes a snapshot.
    Capture,
    /// A sandbox from the snapshot holds what the manifest says.
    Verify,
    /// The register points at it.
    Promote,
}

impl Stage {
    /// The word used in logs, spans, metrics and the ledger.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn the_word_is_the_same_on_the_wire_and_in_logs() {
        for stage in Stage::VARIANTS {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
        }
    }
}
