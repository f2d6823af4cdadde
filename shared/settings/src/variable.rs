//! Variables without a knob: what opens the services that the fleet stands on. Only the environment gives them.

use url::Url;

/// A variable that a program cannot do without.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// The variable as it is set, for example `AMQP_URL`.
    pub name: &'static str,
    /// What is said when it is not set.
    pub missing: &'static str,
    /// What is said when it holds something that cannot work.
    pub must: &'static str,
    /// Whether a value can work.
    pub holds: fn(&str) -> bool,
}

/// What is said when the fleet has no name: the one knob without a default, for a guessed name would mix two installations up.
pub const FLEET_MISSING: &str =
    "the fleet has no name: set HARVEST_FLEET, or fleet = \"...\" in the file given by --config";

/// Where RabbitMQ is. Judged here, so that a typo is a mistake in the settings and not an endless reconnect.
pub const AMQP_URL: Variable = Variable {
    name: "AMQP_URL",
    missing: "AMQP_URL is not set: where RabbitMQ is, for example amqp://user:password@localhost:5672/%2f",
    must: "must look like amqp://user:password@host:port/vhost, with special characters percent-encoded",
    holds: |text| {
        Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "amqp" | "amqps") && url.has_host())
    },
};

/// The key that opens Daytona's API.
pub const DAYTONA_API_KEY: Variable = Variable {
    name: "DAYTONA_API_KEY",
    missing: "DAYTONA_API_KEY is not set: the key of the Daytona API (dtn_...)",
    must: "must not be empty",
    holds: |_| true,
};

/// Variables of which the settings in force say whether they are set.
pub(crate) const SHOWN: [&str; 5] = [
    AMQP_URL.name,
    DAYTONA_API_KEY.name,
    "GITHUB_TOKEN",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
];
