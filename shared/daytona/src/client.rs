//! The client and what it is made from. Cheap to clone; one per process is enough.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backoff::Backoff;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::broadcast;
use url::Url;

use crate::errors::Exceeded;
use crate::key_gate::{KeyCheck, KeyGate};
use crate::pace;

/// What this client calls itself.
const SOURCE: &str = "harvest-fleet";
/// The version of the official clients whose wire format this one speaks.
const SDK_VERSION: &str = "0.205.1";

/// Limits met that are kept for who is slow to hear of them; of the same limit one is enough.
const LIMITS_REMEMBERED: usize = 16;

/// Whether the trace context goes to Daytona with each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TracePropagation {
    /// No; right for a service run by others.
    #[default]
    Off,
    /// `traceparent` goes with every call; right for a Daytona of one's own.
    Inject,
}

/// The section `[daytona]` of a program's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaytonaSection {
    /// The base of the API, `/api` included.
    pub api_url: Url,
    /// The region sandboxes are made in; empty for the organization's default.
    pub target: String,
    /// How long a call may take.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How soon a key that the API refused is asked about again.
    #[serde(with = "humantime_serde")]
    pub refused_key_pause: Duration,
}

/// Where Daytona is and how patient to be.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The base of the API, `/api` included.
    pub api_url: Url,
    /// The organization's API key, as Daytona makes it: `dtn_…`.
    pub api_key: SecretString,
    /// The region sandboxes are made in; the organization's default if none.
    pub target: Option<String>,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long a call may take.
    pub request_timeout: Duration,
    /// How soon a key that the API refused is asked about again, by one program of a fleet; the pauses grow.
    pub refused_key_pause: Duration,
    /// How long a create may take; Daytona holds it for up to 30 s.
    pub create_timeout: Duration,
    /// How often a call that may be repeated is sent in all when Daytona is unavailable.
    pub sends: u32,
    /// The pauses between them.
    pub repeat_pace: Backoff,
    /// The pauses of waits for a sandbox or snapshot to change state.
    pub state_pace: Backoff,
    /// The pauses of waits for a capture.
    pub capture_pace: Backoff,
    /// Whether to inject the trace context.
    pub propagate_trace: TracePropagation,
}

impl ClientSettings {
    /// What the settings say, opened by this key.
    pub fn new(section: DaytonaSection, api_key: SecretString) -> Self {
        let DaytonaSection { api_url, target, request_timeout, refused_key_pause } = section;
        Self {
            api_url,
            api_key,
            target: (!target.is_empty()).then_some(target),
            connect_timeout: Duration::from_secs(10),
            request_timeout,
            refused_key_pause,
            create_timeout: Duration::from_secs(90),
            sends: 3,
            repeat_pace: pace::REPEAT,
            state_pace: pace::STATE,
            capture_pace: pace::CAPTURE,
            propagate_trace: TracePropagation::Off,
        }
    }
}

/// Settings no client can be made from.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not an `http` or `https` URL, or one with a password, query or fragment in it.
    #[error("the Daytona API URL must be http(s) without user, password, query or fragment")]
    ApiUrl,
    /// Empty, or with characters no header can carry.
    #[error("the Daytona API key is empty or has characters that no HTTP header can carry")]
    ApiKey,
    /// TLS or the resolver could not be set up.
    #[error("the HTTP client could not be set up")]
    Http(#[source] reqwest::Error),
}

/// A client for one organization of one Daytona.
#[derive(Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) settings: Arc<ClientSettings>,
    pub(crate) key: Arc<KeyGate>,
    pub(crate) limits_met: broadcast::Sender<Exceeded>,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client. Sends nothing.
    pub fn new(settings: ClientSettings) -> Result<Self, SettingsError> {
        let url = &settings.api_url;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !bare {
            return Err(SettingsError::ApiUrl);
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("harvest-fleet/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(&settings.api_key)?)
            .connect_timeout(settings.connect_timeout)
            // A redirect would turn a POST into a GET; an API that moved is a setting to correct.
            .redirect(reqwest::redirect::Policy::none())
            // Nothing is repeated behind our back: what may be repeated is decided per operation.
            .retry(reqwest::retry::never())
            .build()
            .map_err(SettingsError::Http)?;
        let key = Arc::new(KeyGate::new(KeyCheck::of(&settings.api_key, &settings.api_url)));
        let (limits_met, _) = broadcast::channel(LIMITS_REMEMBERED);
        Ok(Self { http, settings: Arc::new(settings), key, limits_met })
    }

    /// The limits of the organization that calls meet from now on.
    pub fn limits_met(&self) -> broadcast::Receiver<Exceeded> {
        self.limits_met.subscribe()
    }

    /// What the client was made from.
    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }
}

fn headers(api_key: &SecretString) -> Result<HeaderMap, SettingsError> {
    let key = api_key.expose_secret();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(SettingsError::ApiKey);
    }
    let mut bearer = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| SettingsError::ApiKey)?;
    bearer.set_sensitive(true);
    Ok(HeaderMap::from_iter([
        (AUTHORIZATION, bearer),
        (reqwest::header::HeaderName::from_static("x-daytona-source"), HeaderValue::from_static(SOURCE)),
        (
            reqwest::header::HeaderName::from_static("x-daytona-sdk-version"),
            HeaderValue::from_static(SDK_VERSION),
        ),
    ]))
}
