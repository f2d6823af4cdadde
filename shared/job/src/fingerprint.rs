//! The hash of everything known before a sandbox exists that shapes the result.
//!
//! Timeouts, the owner and secret values are left out on purpose: changing them rebuilds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digits::is_lower_hex;
use crate::{CheckoutSettings, Commands, Settings, ToolchainSettings};

/// Raised when detection, install or scrub would make something else of the same repository.
pub const DETECTION_VERSION: u32 = 2;

/// A SHA-256, 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// From its 64 digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        (is_lower_hex(text) && text.len() == 64).then(|| Self(text.to_owned()))
    }

    /// The first eight digits, as they stand in names.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }

    /// All 64 digits, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::from_hex(&text).ok_or("a fingerprint is 64 lower-case hexadecimal digits")
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What goes into a fingerprint, and nothing else does.
#[derive(Debug, Clone, Serialize)]
pub struct FingerprintInputs<'a> {
    detection_version: u32,
    base_snapshot_id: &'a str,
    class: &'a str,
    clone_url: &'a str,
    commands: &'a Commands,
    toolchain: &'a ToolchainSettings,
    checkout: &'a CheckoutSettings,
    env: &'a BTreeMap<String, String>,
    secrets: &'a BTreeSet<String>,
}

impl<'a> FingerprintInputs<'a> {
    /// The inputs for these settings on this base snapshot (its id, since names can be given anew).
    pub fn new(settings: &'a Settings, base_snapshot_id: &'a str) -> Self {
        Self {
            detection_version: DETECTION_VERSION,
            base_snapshot_id,
            class: &settings.class,
            clone_url: &settings.clone.url,
            commands: &settings.commands,
            toolchain: &settings.toolchain,
            checkout: &settings.checkout,
            env: &settings.env,
            secrets: &settings.secrets,
        }
    }

    /// The hash of their canonical JSON (struct order and sorted maps make it canonical).
    pub fn fingerprint(&self) -> Fingerprint {
        let json = serde_json::to_vec(self)
            .unwrap_or_else(|error| unreachable!("strings and maps of strings always serialise: {error}"));
        Fingerprint(hex::encode(Sha256::digest(&json)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::settings;

    fn of(settings: &Settings) -> Fingerprint {
        FingerprintInputs::new(settings, "base-1").fingerprint()
    }

    #[test]
    fn it_changes_with_what_shapes_the_result() {
        let before = of(&settings());
        assert_ne!(before, FingerprintInputs::new(&settings(), "base-2").fingerprint());
        let changes: [fn(&mut Settings); 8] = [
            |s| s.commands.build = Some(crate::CommandSetting::Run("make".into())),
            |s| s.commands.build = Some(crate::CommandSetting::Skip(())),
            |s| s.toolchain.node = Some("22".into()),
            |s| s.class = "large".into(),
            |s| s.checkout.lfs = true,
            |s| drop(s.env.insert("A".into(), "b".into())),
            |s| s.secrets = ["OTHER_TOKEN".to_owned()].into(),
            |s| s.clone.url = "https://example.com/o/n.git".into(),
        ];
        let mut seen = vec![before];
        for change in changes {
            let mut settings = settings();
            change(&mut settings);
            let fingerprint = of(&settings);
            assert!(!seen.contains(&fingerprint), "{settings:?}");
            seen.push(fingerprint);
        }
    }

    #[test]
    fn it_ignores_what_does_not() {
        let before = of(&settings());
        let mut changed = settings();
        changed.timeouts.install = std::time::Duration::from_secs(1);
        changed.owner = Some("someone-else".into());
        changed.keep = 5;
        changed.clone.token_secret = "OTHER_TOKEN".into();
        assert_eq!(of(&changed), before);
    }
}
