//! Rows of other people that tests put beside the fleet's own, in whatever shape.

use serde_json::Value;

/// Rows that are answered exactly as they were given.
#[derive(Default)]
pub(crate) struct Planted {
    pub(crate) sandboxes: Vec<Value>,
    pub(crate) snapshots: Vec<Value>,
}

/// Whether a planted row has this id or name.
fn is(row: &Value, id_or_name: &str) -> bool {
    [&row["id"], &row["name"]].contains(&&Value::from(id_or_name))
}

/// The planted row with this id or name.
pub(crate) fn find<'a>(rows: &'a [Value], id_or_name: &str) -> Option<&'a Value> {
    rows.iter().find(|row| is(row, id_or_name))
}

/// The same, taken out.
pub(crate) fn remove(rows: &mut Vec<Value>, id_or_name: &str) -> Option<Value> {
    let position = rows.iter().position(|row| is(row, id_or_name))?;
    Some(rows.remove(position))
}
