//! Who the API key is, and what it may do.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use strum::{AsRefStr, EnumString};

use crate::client::Client;
use crate::errors::Error;
use crate::key_gate::KeyGate;
use crate::lenient::{self, Rows};
use crate::operation::{LIST_REGIONS, WHOAMI};

/// What an API key may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, AsRefStr, EnumString)]
#[serde(from = "String")]
pub enum Permission {
    /// Create, start, stop, label and capture sandboxes.
    #[strum(serialize = "write:sandboxes")]
    WriteSandboxes,
    /// Delete sandboxes, which releases a lease.
    #[strum(serialize = "delete:sandboxes")]
    DeleteSandboxes,
    /// Delete snapshots, which collects old prebuilds.
    #[strum(serialize = "delete:snapshots")]
    DeleteSnapshots,
    /// Something the fleet has no use for.
    #[strum(default, transparent)]
    Other(String),
}

impl Permission {
    /// What the fleet can't do without. `write:snapshots` is for snapshots made from images and for waking them: it does neither.
    pub const NEEDED: [Self; 3] = [Self::WriteSandboxes, Self::DeleteSandboxes, Self::DeleteSnapshots];

    /// As Daytona writes it.
    pub fn as_str(&self) -> &str {
        self.as_ref()
    }
}

impl From<String> for Permission {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// The API key in use.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// The name it was given.
    #[serde(default, deserialize_with = "lenient::word")]
    pub name: String,
    /// What it may do.
    #[serde(default, deserialize_with = "lenient::words")]
    pub permissions: Vec<Permission>,
    /// When it stops working.
    #[serde(default, deserialize_with = "lenient::time")]
    pub expires_at: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// What it lacks of [`Permission::NEEDED`].
    pub fn missing(&self) -> Vec<Permission> {
        Permission::NEEDED.into_iter().filter(|needed| !self.permissions.contains(needed)).collect()
    }
}

/// A region that sandboxes can be made in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Region {
    /// What a create names it by.
    #[serde(default, deserialize_with = "lenient::word")]
    pub id: String,
    /// What people call it; a create takes it as well.
    #[serde(default, deserialize_with = "lenient::word")]
    pub name: String,
}

impl Region {
    /// Whether a create that names this means it.
    pub fn is_called(&self, target: &str) -> bool {
        self.id == target || self.name == target
    }

    /// Its name, or its id where it has none.
    pub fn shown(&self) -> &str {
        if self.name.is_empty() { &self.id } else { &self.name }
    }
}

impl Client {
    /// The regions that the organization may make sandboxes in.
    pub async fn regions(&self) -> Result<Vec<Region>, Error> {
        let rows: Rows = self.send(&self.call(LIST_REGIONS, &[])).await?.read()?;
        let regions = rows.iter().filter_map(|row| lenient::row::<Region>(row.get().as_bytes()).ok());
        Ok(regions.filter(|region| !region.shown().is_empty()).collect())
    }

    /// The API key in use.
    pub async fn whoami(&self) -> Result<ApiKey, Error> {
        self.send(&self.call(WHOAMI, &[])).await?.read_row()
    }

    /// Asks about the key although it was refused, and notes what the API says: for the one program of a fleet that asks.
    pub async fn ask_about_key(&self) -> Result<ApiKey, Error> {
        let key = self.send_past_gate(&self.call(WHOAMI, &[])).await?.read_row()?;
        self.key.accept();
        Ok(key)
    }

    /// Whether the key is taken, as far as this client and whoever tells it know.
    pub fn key(&self) -> &KeyGate {
        &self.key
    }
}
