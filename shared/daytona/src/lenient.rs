//! Readers for the fields Daytona leaves out, sends as null, or changes the form of.
//!
//! Only an identity is required of a row: a field nobody decides on must not make it unreadable, and one row that can't be read
//! must not make a list so. Daytona stores whatever somebody's program gave it (labels that are numbers, lists or nested).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// An object, whatever its fields are. A list in its place is no row, though serde would read its entries as the fields.
pub(crate) fn row<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(text)?;
    serde_json::from_value(Value::Object(object))
}

/// The entries of a list, each to be read by itself.
pub(crate) type Rows = Vec<Box<RawValue>>;

/// An id: a text, or a number in its place; anything else can't be asked for.
pub(crate) fn id<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let id = text_of(Value::deserialize(input)?).filter(|id| !id.is_empty());
    id.ok_or_else(|| serde::de::Error::custom("there is no id"))
}

/// A text, empty where there is none.
pub(crate) fn word<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    Ok(text_of(Value::deserialize(input)?).unwrap_or_default())
}

/// An empty text is no text.
pub(crate) fn text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(text_of(Value::deserialize(input)?).filter(|text| !text.is_empty()))
}

/// The same as a value made of it.
pub(crate) fn named<'de, D, T>(input: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: From<String>,
{
    Ok(text(input)?.map(T::from))
}

/// A time that can't be read is no time.
pub(crate) fn time<'de, D: Deserializer<'de>>(input: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = text(input)?;
    Ok(text.and_then(|text| DateTime::parse_from_rfc3339(&text).ok()).map(|time| time.to_utc()))
}

/// A number of either kind, or a text of one.
pub(crate) fn number<'de, D: Deserializer<'de>>(input: D) -> Result<Option<f64>, D::Error> {
    Ok(number_of(&Value::deserialize(input)?))
}

/// A whole number of either kind: one that is none is nothing, and never rounded to what means success.
pub(crate) fn whole<'de, D: Deserializer<'de>>(input: D) -> Result<Option<i32>, D::Error> {
    let number = number(input)?.filter(|number| number.fract() == 0.0);
    Ok(number.and_then(|number| format!("{number:.0}").parse().ok()))
}

/// The same as a number that is there, zero where there is none.
pub(crate) fn amount<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(number(input)?.unwrap_or_default())
}

/// Whether it is true; whatever is not is false.
pub(crate) fn flag<'de, D: Deserializer<'de>>(input: D) -> Result<bool, D::Error> {
    Ok(text_of(Value::deserialize(input)?).is_some_and(|text| text == "true"))
}

/// Labels, each a text. One that is none is what it reads as in JSON; a list or an object never equals what the fleet writes.
pub(crate) fn labels<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<String, String>, D::Error> {
    let Value::Object(labels) = Value::deserialize(input)? else { return Ok(BTreeMap::new()) };
    let label = |(key, value)| match value {
        Value::Null => None,
        Value::String(text) => Some((key, text)),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Some((key, other.to_string()))
        }
    };
    Ok(labels.into_iter().filter_map(label).collect())
}

/// The texts of a list, made values of; whatever else is in it is passed over.
pub(crate) fn words<'de, D, T>(input: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: From<String>,
{
    let Value::Array(items) = Value::deserialize(input)? else { return Ok(Vec::new()) };
    Ok(items.into_iter().filter_map(text_of).map(T::from).collect())
}

fn text_of(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
    .filter(|number| number.is_finite())
}
