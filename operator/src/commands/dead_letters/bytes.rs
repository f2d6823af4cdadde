//! Bytes that may be anything, shown so that a terminal survives them. Pure.

use serde::Serialize;
use serde_json::Value;

/// The most bytes of a message that are shown when it is no JSON.
const SHOWN: usize = 2048;

/// The bytes of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub(super) enum Bytes {
    /// JSON, as it reads.
    Json { bytes: usize, value: Value },
    /// Readable text, control characters escaped.
    Text { bytes: usize, text: String, cut: bool },
    /// Anything else, as hexadecimal.
    Hex { bytes: usize, hex: String, cut: bool },
}

impl Bytes {
    pub(super) fn of(body: &[u8]) -> Self {
        let bytes = body.len();
        if let Ok(value) = serde_json::from_slice(body) {
            return Self::Json { bytes, value };
        }
        let cut = bytes > SHOWN;
        let shown = &body[..bytes.min(SHOWN)];
        match std::str::from_utf8(shown) {
            Ok(text) => Self::Text { bytes, text: escape(text), cut },
            // The cut may have gone through a character.
            Err(error) if cut && error.error_len().is_none() => {
                let text = std::str::from_utf8(&shown[..error.valid_up_to()]).unwrap_or_default();
                Self::Text { bytes, text: escape(text), cut }
            }
            Err(_) => Self::Hex {
                bytes,
                hex: hex::encode(&shown[..shown.len().min(SHOWN / 4)]),
                cut: bytes > SHOWN / 4,
            },
        }
    }

    pub(super) fn text(&self) -> String {
        let rest = |cut: bool| if cut { "\n… (cut)" } else { "" };
        match self {
            Self::Json { value, .. } => format!("{value:#}"),
            Self::Text { text, cut, .. } => format!("{text}{}", rest(*cut)),
            Self::Hex { hex, cut, .. } => format!("{}{}", wrap_hex(hex), rest(*cut)),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json { bytes, .. } | Self::Text { bytes, .. } | Self::Hex { bytes, .. } => *bytes,
        }
    }
}

/// With every control character but line breaks and tabs escaped: a log must not move the cursor.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

fn wrap_hex(hex: &str) -> String {
    hex.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_bytes_can_be_shown() {
        assert_eq!(Bytes::of(br#"{"b":1}"#).text(), "{\n  \"b\": 1\n}");
        assert_eq!(Bytes::of(b"not json\x1b[2J\r\n").text(), "not json\\u{1b}[2J\\r\n");
        assert_eq!(Bytes::of(&[0xff, 0x00, 0x80]).text(), "ff0080");
        assert_eq!(Bytes::of(b"").text(), "");
        assert_eq!(Bytes::of(b"x").len(), 1);
    }

    #[test]
    fn what_is_long_is_cut_even_within_a_character() {
        let long = format!("x{}", "é".repeat(SHOWN));
        let Bytes::Text { text, cut: true, bytes } = Bytes::of(long.as_bytes()) else { panic!("text") };
        assert!(text.len() <= SHOWN && bytes == long.len());
        assert!(Bytes::of(&vec![0xff; 5000]).text().ends_with("(cut)"));
    }
}
