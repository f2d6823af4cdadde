//! One flat JSON object per line, its names in alphabetical order. Those of the line itself are never overwritten: a field
//! that has one of them is written as `field.<name>`.

use chrono::SecondsFormat;
use serde_json::{Map, Value};

use super::Line;
use crate::visible::visible;

const OWN: [&str; 6] = ["timestamp", "level", "module", "message", "trace_id", "span_id"];

pub(super) fn render(line: &Line<'_>) -> String {
    let mut object = Map::new();
    object.insert("timestamp".into(), line.at.to_rfc3339_opts(SecondsFormat::Micros, true).into());
    object.insert("level".into(), line.level.as_str().into());
    object.insert("module".into(), line.module.into());
    object.insert("message".into(), line.message.as_str().into());
    let ids = [("trace_id", &line.trace_id), ("span_id", &line.span_id)];
    for (name, id) in ids.iter().filter_map(|(name, id)| Some((*name, id.as_deref()?))) {
        object.insert(name.into(), id.into());
    }
    for (name, value) in line.fields.iter() {
        let name = if OWN.contains(&name) { format!("field.{name}") } else { name.to_owned() };
        object.insert(name, value.clone());
    }
    // JSON escapes half of what acts on a terminal, and logs are read on terminals.
    let mut text = visible(&Value::Object(object).to_string()).into_owned();
    text.push('\n');
    text
}
