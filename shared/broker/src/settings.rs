//! How to reach the broker, and the times that bound every wait on it.
//!
//! The defaults are config/*.toml's; there are no others here.
//! Invariant: the URL is a secret from here on; what is shown is [`BrokerSettings::address`], which has no credentials.

use std::time::Duration;

use job::FleetName;
use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use crate::ConnectError;

/// The section `[broker]` of a program's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSection {
    /// How long one publish may wait for its confirm, reconnecting included.
    #[serde(with = "humantime_serde")]
    pub publish_timeout: Duration,
    /// Both sides give up on a silent connection after twice this.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How long [`crate::Broker::connect`] tries before it gives up.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
}

/// Everything a [`crate::Broker`] is told at its start.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// The broker's URL with its credentials: `amqp://user:password@host:5672/vhost`, or `amqps://`.
    pub url: SecretString,
    /// The fleet whose exchanges and queues are used.
    pub fleet: FleetName,
    /// The delay queues, as in [`job::RetryPolicy::delays`].
    pub retry_delays: Vec<Duration>,
    /// The times of the program's settings.
    pub section: BrokerSection,
    /// The name shown in the broker's list of connections.
    pub connection_name: String,
}

impl BrokerSettings {
    /// For a fleet, under its name until [`BrokerSettings::named`] says who connects.
    pub fn new(
        url: SecretString,
        fleet: FleetName,
        retry_delays: Vec<Duration>,
        section: BrokerSection,
    ) -> Self {
        let connection_name = format!("harvest.{fleet}");
        Self { url, fleet, retry_delays, section, connection_name }
    }

    /// The same under the name of the process that connects.
    #[must_use]
    pub fn named(self, connection_name: &str) -> Self {
        Self { connection_name: connection_name.to_owned(), ..self }
    }

    /// Host and port, without credentials, for logs and errors.
    pub fn address(&self) -> Result<String, ConnectError> {
        let uri = self.uri()?;
        Ok(format!("{}:{}", uri.authority.host, uri.authority.port))
    }

    pub(crate) fn uri(&self) -> Result<AMQPUri, ConnectError> {
        let url = Url::parse(self.url.expose_secret()).map_err(ConnectError::InvalidUrl)?;
        if !matches!(url.scheme(), "amqp" | "amqps") {
            return Err(ConnectError::UnknownScheme);
        }
        let mut uri: AMQPUri = self.url.expose_secret().parse().map_err(|_| ConnectError::UnusableUrl)?;
        if uri.vhost.is_empty() {
            // `amqp://host/` means the vhost "" by the letter, which nobody has; people mean the default one.
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat =
            Some(u16::try_from(self.section.heartbeat.as_secs().max(1)).unwrap_or(u16::MAX));
        Ok(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> BrokerSettings {
        let section = BrokerSection {
            publish_timeout: Duration::from_secs(1),
            heartbeat: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
        };
        BrokerSettings::new(url.into(), "demo".parse().unwrap(), vec![Duration::from_secs(30)], section)
    }

    #[test]
    fn no_part_of_the_password_is_ever_shown() {
        let good = settings("amqp://me:hunter2@broker.example:5673/%2f");
        assert_eq!(good.address().unwrap(), "broker.example:5673");
        assert!(!format!("{good:?}").contains("hunter2"));
        for bad in ["amqp://me:hunter2@broker:99999/", "http://me:hunter2@broker/", "hunter2"] {
            let error = settings(bad).address().unwrap_err();
            let chain = format!("{error:?} {error}");
            assert!(!chain.contains("hunter2") && error.to_string().contains("AMQP_URL"), "{chain}");
        }
    }

    #[test]
    fn the_default_vhost_may_be_written_in_any_way() {
        for url in ["amqp://h", "amqp://h/", "amqp://h/%2f"] {
            assert_eq!(settings(url).uri().unwrap().vhost, "/", "{url}");
        }
    }
}
