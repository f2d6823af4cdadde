//! How hashes and ids are written where they are part of a name: in lower case, since Daytona's names know no other.

/// Lower-case base32 (extended hex alphabet, no padding): keeps the order of the bytes.
pub(crate) fn lower_base32(bytes: &[u8]) -> String {
    data_encoding::BASE32HEX_NOPAD.encode(bytes).to_ascii_lowercase()
}

pub(crate) fn is_lower_base32(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'v').contains(&b))
}

pub(crate) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
