//! Reads whole lists, page by page, with an end.
//!
//! Pages shift while they are read, so an entry can come twice (dropped here) or, with offsets, be missed:
//! whoever acts on absence must look the one entry up.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::errors::{Error, ErrorKind};
use crate::lenient::{self, Rows};
use crate::operation::{LIST_SANDBOXES, LIST_SNAPSHOTS};
use crate::sandbox::Sandbox;
use crate::snapshot::Snapshot;

/// The most entries Daytona gives at once.
const PAGE: usize = 200;
/// 200,000 entries: far more than any organization holds, far less than for ever.
const PAGES: usize = 1000;

/// In which order snapshots are read.
#[derive(Debug, Clone, Copy, strum::IntoStaticStr)]
enum Order {
    #[strum(serialize = "asc")]
    OldestFirst,
    #[strum(serialize = "desc")]
    NewestFirst,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SandboxPage {
    items: Rows,
    #[serde(default, deserialize_with = "lenient::text")]
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotPage {
    items: Rows,
    #[serde(default, deserialize_with = "lenient::number")]
    total_pages: Option<f64>,
}

/// What is read of a row that can't be read whole.
#[derive(Default, Deserialize)]
struct Remains {
    #[serde(default, deserialize_with = "lenient::word")]
    name: String,
    #[serde(default, deserialize_with = "lenient::labels")]
    labels: BTreeMap<String, String>,
}

impl Remains {
    fn of(row: &RawValue) -> Self {
        lenient::row(row.get().as_bytes()).unwrap_or_default()
    }
}

impl Client {
    /// The sandboxes that carry all of these labels exactly, oldest first.
    ///
    /// Eventually consistent: confirm by [`Client::get_sandbox`] before acting on one.
    pub async fn list_sandboxes(&self, labels: &BTreeMap<String, String>) -> Result<Vec<Sandbox>, Error> {
        let mut found = vec![];
        let mut seen = BTreeSet::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES {
            let page = self.sandbox_page(labels, PAGE, cursor.as_deref()).await?;
            for row in &page.items {
                let sandbox = match lenient::row::<Sandbox>(row.get().as_bytes()) {
                    Ok(sandbox) if carries(&sandbox.labels, labels) => sandbox,
                    Ok(_) => continue,
                    Err(_) => match self.look_again(row, labels).await? {
                        Some(sandbox) => sandbox,
                        None => continue,
                    },
                };
                if seen.insert(sandbox.id.clone()) {
                    found.push(sandbox);
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(found);
            }
        }
        Err(Error::Endless { operation: LIST_SANDBOXES, pages: PAGES })
    }

    /// A row without an id is nobody's that could be asked for. One with the labels that are wanted is looked up by its name: what is
    /// there must not be missing. Where its name tells nothing either, it is there under its name, since that much is known: it takes
    /// room, and whoever wants to do anything with it is told that it can't be read.
    async fn look_again(
        &self,
        row: &RawValue,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<Sandbox>, Error> {
        let remains = Remains::of(row);
        let name = &remains.name;
        if labels.is_empty() || !carries(&remains.labels, labels) {
            tracing::debug!(name, "a row of Daytona's sandboxes can't be read, and is passed over");
            return Ok(None);
        }
        tracing::warn!(name, "a sandbox with the fleet's labels can't be read in Daytona's list");
        if name.is_empty() {
            return Ok(None);
        }
        match self.get_sandbox(name).await {
            Err(error) if !passes(&error) => {
                tracing::warn!(
                    name,
                    error = &error as &dyn std::error::Error,
                    "nor can it be read by its name: it is counted, and left alone"
                );
                Ok(under_its_name(row, &remains))
            }
            found => found,
        }
    }

    /// The snapshots whose name contains this text without case, oldest first. Compare exactly afterwards.
    pub async fn list_snapshots(&self, name_contains: &str) -> Result<Vec<Snapshot>, Error> {
        self.snapshots(name_contains, Order::OldestFirst, |_| false).await
    }

    /// The same, newest first, and no further than the page with one that is `enough`.
    pub(crate) async fn newest_snapshots(
        &self,
        name_contains: &str,
        enough: impl Fn(&Snapshot) -> bool,
    ) -> Result<Vec<Snapshot>, Error> {
        self.snapshots(name_contains, Order::NewestFirst, enough).await
    }

    async fn snapshots(
        &self,
        name_contains: &str,
        order: Order,
        enough: impl Fn(&Snapshot) -> bool,
    ) -> Result<Vec<Snapshot>, Error> {
        let mut found = vec![];
        let mut seen = BTreeSet::new();
        for number in 1..=PAGES {
            let page = self.snapshot_page(name_contains, PAGE, number, order).await?;
            let rows: Vec<Snapshot> =
                page.items.iter().filter_map(|row| read_snapshot(row, name_contains)).collect();
            // The total is a JSON number of either kind, so it is compared as one. Without it the list ends with an empty page.
            let is_last = |total| f64::from(u32::try_from(number).unwrap_or(u32::MAX)) >= total;
            let ended =
                page.items.is_empty() || page.total_pages.is_some_and(is_last) || rows.iter().any(&enough);
            found.extend(rows.into_iter().filter(|snapshot| seen.insert(snapshot.id.clone())));
            if ended {
                return Ok(found);
            }
        }
        Err(Error::Endless { operation: LIST_SNAPSHOTS, pages: PAGES })
    }

    async fn sandbox_page(
        &self,
        labels: &BTreeMap<String, String>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<SandboxPage, Error> {
        // The default sort is by last activity, which shifts the pages with every use.
        let mut call = self.call(LIST_SANDBOXES, &[]).query("limit", limit.to_string());
        call = call.query("sort", "createdAt").query("order", "asc");
        if !labels.is_empty() {
            call = call.query("labels", serde_json::json!(labels).to_string());
        }
        if let Some(cursor) = cursor {
            call = call.query("cursor", cursor);
        }
        self.send(&call).await?.read()
    }

    async fn snapshot_page(
        &self,
        name: &str,
        limit: usize,
        number: usize,
        order: Order,
    ) -> Result<SnapshotPage, Error> {
        let mut call = self.call(LIST_SNAPSHOTS, &[]).query("limit", limit.to_string());
        call = call
            .query("page", number.to_string())
            .query("sort", "createdAt")
            .query("order", <&str>::from(order));
        if !name.is_empty() {
            call = call.query("name", name);
        }
        self.send(&call).await?.read()
    }
}

fn carries(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether the same look-up may succeed later, or with another key: then nothing is known of the one row, nor of others.
fn passes(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Undecodable | ErrorKind::TooLarge | ErrorKind::InvalidRequest => false,
        ErrorKind::NotFound
        | ErrorKind::NameTaken
        | ErrorKind::StateChanging
        | ErrorKind::Conflict
        | ErrorKind::WrongState
        | ErrorKind::StartFailed
        | ErrorKind::RateLimited
        | ErrorKind::Capacity
        | ErrorKind::SandboxQuota
        | ErrorKind::SandboxTooLarge
        | ErrorKind::SnapshotQuota
        | ErrorKind::Suspended
        | ErrorKind::Unauthorized
        | ErrorKind::Forbidden
        | ErrorKind::SnapshotNotFound
        | ErrorKind::SnapshotNotActive
        | ErrorKind::SnapshotNotInRegion
        | ErrorKind::RegionMissing
        | ErrorKind::Unsupported
        | ErrorKind::CommandTimedOut
        | ErrorKind::Unavailable
        | ErrorKind::Timeout => true,
    }
}

/// What can be read of the row, with the name as its id: Daytona's calls take either.
fn under_its_name(row: &RawValue, remains: &Remains) -> Option<Sandbox> {
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(row.get()).ok()?;
    fields.insert("id".to_owned(), remains.name.clone().into());
    serde_json::from_value(fields.into()).ok()
}

/// None where it can't be read; said aloud where its name is of those that were asked for.
fn read_snapshot(row: &RawValue, name_contains: &str) -> Option<Snapshot> {
    let snapshot = lenient::row(row.get().as_bytes()).ok();
    if snapshot.is_none() {
        let name = Remains::of(row).name;
        if !name_contains.is_empty() && name.to_lowercase().contains(&name_contains.to_lowercase()) {
            tracing::warn!(name, "a snapshot of the name that is asked for can't be read in Daytona's list");
        } else {
            tracing::debug!(name, "a row of Daytona's snapshots can't be read, and is passed over");
        }
    }
    snapshot
}
