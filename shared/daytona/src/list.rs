//! Reads whole lists, page by page, with an end.
//!
//! Pages shift while they are read, so an entry can come twice (dropped here) or, with offsets, be missed:
//! whoever acts on absence must look the one entry up.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::client::Client;
use crate::errors::Error;
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
    items: Vec<Sandbox>,
    #[serde(default)]
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotPage {
    items: Vec<Snapshot>,
    #[serde(default)]
    total_pages: f64,
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
            let carries_all =
                |sandbox: &Sandbox| labels.iter().all(|(key, value)| sandbox.labels.get(key) == Some(value));
            found.extend(
                page.items.into_iter().filter(carries_all).filter(|sandbox| seen.insert(sandbox.id.clone())),
            );
            cursor = page.next_cursor.filter(|cursor| !cursor.is_empty());
            if cursor.is_none() {
                return Ok(found);
            }
        }
        Err(Error::Endless { operation: LIST_SANDBOXES, pages: PAGES })
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
            // The total is a JSON number of either kind, so it is compared as one.
            let ended = page.items.is_empty()
                || f64::from(u32::try_from(number).unwrap_or(u32::MAX)) >= page.total_pages
                || page.items.iter().any(&enough);
            found.extend(page.items.into_iter().filter(|snapshot| seen.insert(snapshot.id.clone())));
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
