//! What kind of machine a sandbox is. It comes with the snapshot, and goes into whatever is captured from the sandbox.

use serde::{Deserialize, Deserializer};
use strum::{AsRefStr, Display, EnumString};

/// A kind of machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, AsRefStr, Display, EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum SandboxClass {
    /// Shares the runner's kernel.
    #[default]
    Container,
    /// A virtual machine with Linux.
    LinuxVm,
    /// A virtual machine with Windows.
    Windows,
    /// A virtual machine with Android, bound to another sandbox.
    Android,
    /// A kind that this client does not know.
    #[strum(default, transparent)]
    Other(String),
}

impl SandboxClass {
    /// Whether its disk is captured only while it is stopped: a virtual machine's is, unless its memory is captured with it.
    ///
    /// So says the field `includeMemory` of 0.226's `CreateSandboxSnapshot`; v0.190 wants it of Windows alone, and takes it of all.
    pub fn rests_for_capture(&self) -> bool {
        match self {
            Self::LinuxVm | Self::Windows | Self::Android => true,
            Self::Container | Self::Other(_) => false,
        }
    }
}

/// Absent, null or no text at all is what it always was: a container.
impl<'de> Deserialize<'de> for SandboxClass {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let read = serde_json::Value::deserialize(input)?;
        Ok(read.as_str().filter(|text| !text.is_empty()).map(Self::from).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_read_whatever_it_is() {
        for (text, expected) in [
            ("\"container\"", SandboxClass::Container),
            ("\"linux-vm\"", SandboxClass::LinuxVm),
            ("\"windows\"", SandboxClass::Windows),
            ("\"of-next-year\"", SandboxClass::Other("of-next-year".to_owned())),
            ("null", SandboxClass::Container),
            ("7", SandboxClass::Container),
        ] {
            assert_eq!(serde_json::from_str::<SandboxClass>(text).unwrap(), expected, "{text}");
        }
        assert_eq!(SandboxClass::LinuxVm.to_string(), "linux-vm");
    }
}
