//! Sections that more than one program has.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::Environment;
use crate::problem::{Mistake, Place, Problem};

/// How to reach RabbitMQ.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// `amqp://user:password@host:port/vhost`, from `AMQP_URL`.
    pub url: SecretString,
    /// How long one publish may wait for its confirm.
    pub publish_timeout: Duration,
    /// How often each side proves that it lives.
    pub heartbeat: Duration,
    /// How long one connection attempt may take.
    pub connect_timeout: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BrokerKnobs {
    #[serde(with = "humantime_serde")]
    pub(crate) publish_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) heartbeat: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) connect_timeout: Duration,
}

impl BrokerKnobs {
    /// With the URL, judged here so that a typo is a mistake in the settings and not an endless reconnect.
    pub(crate) fn with_url(self, environment: &Environment, problems: &mut Vec<Problem>) -> BrokerSettings {
        match environment.get("AMQP_URL").map(Url::parse) {
            None => problems.push(Problem::missing(
                "AMQP_URL is not set: where RabbitMQ is, for example amqp://user:password@localhost:5672/%2f",
            )),
            Some(Ok(url)) if matches!(url.scheme(), "amqp" | "amqps") && url.has_host() => {}
            Some(_) => problems.push(Problem {
                place: Place::Variable("AMQP_URL".to_owned()),
                mistake: Mistake::Rule {
                    key: "AMQP_URL".to_owned(),
                    rule: "must look like amqp://user:password@host:port/vhost, with special characters percent-encoded",
                },
            }),
        }
        BrokerSettings {
            url: environment.secret("AMQP_URL").unwrap_or_default(),
            publish_timeout: self.publish_timeout,
            heartbeat: self.heartbeat,
            connect_timeout: self.connect_timeout,
        }
    }
}

/// How to reach Daytona.
#[derive(Debug, Clone)]
pub struct DaytonaSettings {
    /// The API, from `DAYTONA_API_URL` or the file.
    pub api_url: Url,
    /// From `DAYTONA_API_KEY`.
    pub api_key: SecretString,
    /// The region, from `DAYTONA_TARGET` or the file; the organisation's default when none.
    pub target: Option<String>,
    /// How long one call may take.
    pub request_timeout: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DaytonaKnobs {
    pub(crate) api_url: Url,
    pub(crate) target: String,
    #[serde(with = "humantime_serde")]
    pub(crate) request_timeout: Duration,
}

impl DaytonaKnobs {
    /// With the key, where there is one.
    pub(crate) fn with_key(self, environment: &Environment) -> Option<DaytonaSettings> {
        let api_key = environment.secret("DAYTONA_API_KEY")?;
        let target = (!self.target.is_empty()).then_some(self.target);
        Some(DaytonaSettings {
            api_url: self.api_url,
            api_key,
            target,
            request_timeout: self.request_timeout,
        })
    }

    /// The same for a program that cannot do without.
    pub(crate) fn with_required_key(
        self,
        environment: &Environment,
        problems: &mut Vec<Problem>,
    ) -> DaytonaSettings {
        if environment.get("DAYTONA_API_KEY").is_none() {
            problems
                .push(Problem::missing("DAYTONA_API_KEY is not set: the key of the Daytona API (dtn_...)"));
        }
        let api_key = environment.secret("DAYTONA_API_KEY").unwrap_or_default();
        let target = (!self.target.is_empty()).then_some(self.target);
        DaytonaSettings { api_url: self.api_url, api_key, target, request_timeout: self.request_timeout }
    }
}

/// The knobs that other programs' settings name too.
pub(crate) const ALIASES: &[(&str, &str)] =
    &[("DAYTONA_API_URL", "daytona.api_url"), ("DAYTONA_TARGET", "daytona.target")];

/// Variables whose presence is worth a word at the start.
pub(crate) const SECRETS_TOLD: &[&str] = &[
    "AMQP_URL",
    "DAYTONA_API_KEY",
    "GITHUB_TOKEN",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
];

/// What the program tells of itself.
#[derive(Clone)]
pub struct TelemetrySettings {
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which events are logged, as `tracing` directives.
    pub log_filter: String,
    opentelemetry: BTreeMap<String, SecretString>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Pretty,
}

impl TelemetrySettings {
    /// A standard `OTEL_*` variable.
    pub fn opentelemetry(&self, name: &str) -> Option<String> {
        use secrecy::ExposeSecret as _;
        self.opentelemetry.get(name).map(|value| value.expose_secret().to_owned())
    }
}

impl fmt::Debug for TelemetrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetrySettings")
            .field("log_format", &self.log_format)
            .field("log_filter", &self.log_filter)
            .field("opentelemetry", &self.opentelemetry.keys())
            .finish()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetryKnobs {
    pub(crate) log_format: LogFormat,
    pub(crate) log_filter: String,
}

impl TelemetryKnobs {
    pub(crate) fn with_variables(self, environment: &Environment) -> TelemetrySettings {
        let names = environment.names().filter(|name| name.starts_with("OTEL_"));
        let opentelemetry =
            names.filter_map(|name| Some((name.to_owned(), environment.secret(name)?))).collect();
        TelemetrySettings { log_format: self.log_format, log_filter: self.log_filter, opentelemetry }
    }
}

/// Where the program answers health checks and Prometheus.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
}
