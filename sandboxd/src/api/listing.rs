//! The two lists of sandboxes. A cursor names the last row's sort value and id, so paging survives changes between
//! pages; what is being destroyed is still shown (as `destroying`), what is gone never.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::rows::{SandboxRow, SandboxState};
use crate::server::Server;

/// Every state but `destroyed`, which is never listed.
const NO_STATE: &str = "each value must be one of the following values: creating, restoring, destroying, started, stopped, starting, stopping, error, build_failed, pending_build, building_snapshot, unknown, pulling_snapshot, archived, archiving, resizing, snapshotting, forking, pausing, paused, resuming";

#[derive(Default)]
struct Filters {
    cursor: Option<(String, String)>,
    page: usize,
    limit: usize,
    id: Option<String>,
    name_prefix: String,
    labels: BTreeMap<String, Value>,
    states: Vec<String>,
    snapshots: Vec<String>,
    created_after: Option<DateTime<Utc>>,
    created_before: Option<DateTime<Utc>>,
    sort: Option<String>,
    ascending: Option<bool>,
}

impl Filters {
    /// Parameters repeat (`states=a&states=b`) and unknown ones are ignored, as Daytona does.
    fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut filters = Self { page: 1, limit: 100, ..Self::default() };
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "cursor" => filters.cursor = Some(decode(&value).ok_or(ApiError::Invalid("Invalid cursor"))?),
                "page" => {
                    filters.page = value.parse().map_err(|_| ApiError::Invalid("page must be a number"))?;
                }
                "limit" => {
                    filters.limit = value.parse().map_err(|_| ApiError::Invalid("limit must be a number"))?;
                }
                "id" => filters.id = Some(value),
                "name" => filters.name_prefix = value.to_lowercase(),
                "labels" => {
                    let labels: Value = serde_json::from_str(&value)
                        .map_err(|_| ApiError::Invalid("Invalid labels JSON format"))?;
                    // The database can't compare the column with anything but an object.
                    filters.labels = serde_json::from_value(labels).map_err(|_| ApiError::Internal)?;
                }
                "states" | "states[]" if !is_state(&value) => {
                    return Err(ApiError::Invalid(NO_STATE));
                }
                "states" | "states[]" => filters.states.push(value),
                "snapshots" | "snapshots[]" => filters.snapshots.push(value),
                "createdAtAfter" => filters.created_after = Some(date(&value)?),
                "createdAtBefore" => filters.created_before = Some(date(&value)?),
                "sort" => filters.sort = Some(value),
                "order" => filters.ascending = Some(value == "asc"),
                _ => {}
            }
        }
        if filters.page < 1 || !(1..=200).contains(&filters.limit) {
            return Err(ApiError::Invalid(
                "limit must not be greater than 200, page and limit not less than 1",
            ));
        }
        Ok(filters)
    }

    fn admits(&self, row: &SandboxRow) -> bool {
        row.state != SandboxState::Destroyed
            && self.admits_labels(&row.labels)
            && self.id.as_ref().is_none_or(|id| *id == row.id)
            && row.name.to_lowercase().starts_with(&self.name_prefix)
            && (self.states.is_empty() || self.states.iter().any(|state| state == row.state.name()))
            && (self.snapshots.is_empty() || self.snapshots.contains(&row.snapshot))
            && self.created_after.is_none_or(|after| row.created_at >= after)
            && self.created_before.is_none_or(|before| row.created_at <= before)
    }

    /// As the database compares: the same values, whatever they are.
    fn admits_labels(&self, labels: &Value) -> bool {
        self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// The rows of tests that fit what was asked for, as far as they have the fields.
    fn planted(&self, server: &Server) -> Vec<Value> {
        let store = server.store();
        let fits = |row: &&Value| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_lowercase();
            self.admits_labels(&row["labels"])
                && text("name").starts_with(&self.name_prefix)
                && (self.states.is_empty() || self.states.contains(&text("state")))
        };
        store.planted.sandboxes.iter().filter(fits).cloned().collect()
    }

    /// The sort value as text that compares as the value does.
    fn key(&self, row: &SandboxRow, default: &str) -> (String, String) {
        let instant = |at: DateTime<Utc>| format!("{:020}", at.timestamp_millis());
        let value = match self.sort.as_deref().unwrap_or(default) {
            "name" => row.name.clone(),
            "cpu" => format!("{:010}", row.cpu),
            "memoryGib" => format!("{:010}", row.memory),
            "diskGib" => format!("{:010}", row.disk),
            "createdAt" => instant(row.created_at),
            _ => instant(row.last_activity_at),
        };
        (value, row.id.clone())
    }

    fn rows(
        &self,
        server: &Server,
        organization: &str,
        default: &str,
    ) -> Vec<((String, String), SandboxRow)> {
        let store = server.store();
        let own = store
            .sandboxes
            .values()
            .map(|sandbox| &sandbox.row)
            .filter(|row| row.organization_id == organization);
        let mut rows: Vec<_> =
            own.filter(|row| self.admits(row)).map(|row| (self.key(row, default), row.clone())).collect();
        drop(store);
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        if self.ascending != Some(true) {
            rows.reverse();
        }
        rows
    }
}

pub(crate) async fn by_cursor(
    State(server): State<Arc<Server>>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    let filters = Filters::parse(query.as_deref())?;
    let ascending = filters.ascending == Some(true);
    let rows = filters.rows(&server, caller.organization(), "lastActivityAt");
    let mut rest = rows.into_iter().filter(|(key, _)| {
        filters.cursor.as_ref().is_none_or(|cursor| if ascending { key > cursor } else { key < cursor })
    });
    let page: Vec<_> = rest.by_ref().take(filters.limit).collect();
    let next = rest.next().and(page.last()).map(|(key, _)| encode(key));
    // On the first page, before everything else.
    let planted = if filters.cursor.is_none() { filters.planted(&server) } else { Vec::new() };
    let own = page.iter().map(|(_, row)| json!(row.without_env()));
    let items: Vec<Value> = planted.into_iter().chain(own).collect();
    Ok(Json(json!({ "items": items, "nextCursor": next })))
}

pub(crate) async fn by_page(
    State(server): State<Arc<Server>>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    let filters = Filters::parse(query.as_deref())?;
    let rows = filters.rows(&server, caller.organization(), "createdAt");
    let total = rows.len();
    let skipped = (filters.page - 1).saturating_mul(filters.limit);
    let items: Vec<SandboxRow> =
        rows.into_iter().skip(skipped).take(filters.limit).map(|(_, row)| row).collect();
    Ok(Json(json!({
        "items": items, "total": total, "page": filters.page, "totalPages": total.div_ceil(filters.limit),
    })))
}

fn is_state(text: &str) -> bool {
    NO_STATE.rsplit(": ").next().is_some_and(|states| states.split(", ").any(|state| state == text))
}

fn date(text: &str) -> Result<DateTime<Utc>, ApiError> {
    DateTime::parse_from_rfc3339(text)
        .map(Into::into)
        .map_err(|_| ApiError::Invalid("dates must be ISO 8601"))
}

fn encode((value, id): &(String, String)) -> String {
    URL_SAFE_NO_PAD.encode(json!({ "sortValue": value, "id": id }).to_string())
}

fn decode(cursor: &str) -> Option<(String, String)> {
    let read: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    Some((read.get("sortValue")?.as_str()?.to_owned(), read.get("id")?.as_str()?.to_owned()))
}
