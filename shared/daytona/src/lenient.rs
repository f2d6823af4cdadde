//! Readers for the fields Daytona leaves out, sends as null, or changes the form of.
//!
//! Only an identity is required of an answer: a field nobody decides on must not make one unreadable.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

/// Null, like a missing key under `#[serde(default)]`, is the default.
pub(crate) fn or_default<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(input)?.unwrap_or_default())
}

/// An empty text is no text.
pub(crate) fn text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(input)?.filter(|text| !text.is_empty()))
}

/// A time that can't be read is no time.
pub(crate) fn time<'de, D: Deserializer<'de>>(input: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    Ok(text.and_then(|text| DateTime::parse_from_rfc3339(&text).ok()).map(|time| time.to_utc()))
}
