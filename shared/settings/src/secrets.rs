//! Secrets by name: which a build may be given, which never, and all values that must not be found in a prebuild.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use crate::Environment;

/// Variables of the agent's session: its identity and its tools. They are added when a session starts.
const SESSION: [&str; 6] = [
    "CLAUDE_CODE_OAUTH_TOKEN",
    "GIT_USER_NAME",
    "GIT_USER_EMAIL",
    "GEMINI_API_KEY",
    "LINEAR_API_KEY",
    "SENTRY_AUTH_TOKEN",
];

/// Beginnings of names that only the agent's session has: a list of names would miss the next one.
const SESSION_PREFIXES: [&str; 2] = ["ANTHROPIC_", "CLAUDE_"];

/// Variables that open the fleet itself.
const FLEET: [&str; 4] =
    ["DAYTONA_API_KEY", "AMQP_URL", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"];

/// Beginnings of names that only what the fleet stands on has: its broker, its sandboxes, its collector.
const FLEET_PREFIXES: [&str; 5] = ["AMQP_", "DAYTONA_", "OTEL_EXPORTER_", "RABBITMQ_", "ERLANG_COOKIE"];

/// Ends of names that promise a secret.
const SECRET_SUFFIXES: [&str; 6] = ["TOKEN", "KEY", "SECRET", "PASSWORD", "CREDENTIALS", "_AUTH"];

/// Beginnings that only credentials have.
const SECRET_PREFIXES: [&str; 14] = [
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "dtn_",
    "sk-",
    "npm_",
    "xoxb-",
    "xoxp-",
    "lin_api_",
    "sntrys_",
];

/// Shorter values than this are found everywhere by chance, so they cannot be searched for.
const SHORTEST_SEARCHED: usize = 8;

/// Why a variable is never given to a build, if it is one of those.
pub fn reserved(name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    let is_one_of = |known: &[&str], beginnings: &[&str]| {
        known.contains(&upper.as_str()) || beginnings.iter().any(|beginning| upper.starts_with(beginning))
    };
    if is_one_of(&SESSION, &SESSION_PREFIXES) {
        Some("it belongs to the agent's session, which gets it when it starts")
    } else if is_one_of(&FLEET, &FLEET_PREFIXES) {
        Some("it opens the fleet itself")
    } else if upper.starts_with("HARVEST_") {
        Some("HARVEST_ variables are the fleet's own settings")
    } else {
        None
    }
}

/// Whether a name promises a secret.
pub(crate) fn name_looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Whether a value begins as only credentials do.
pub(crate) fn value_looks_secret(value: &str) -> bool {
    SECRET_PREFIXES.iter().any(|prefix| value.len() >= prefix.len() + 8 && value.starts_with(prefix))
        || value.contains("-----BEGIN ") && value.contains("PRIVATE KEY")
}

/// The worker's secrets, by name.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Environment);

/// Why a secret is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SecretRefusal {
    /// It is one that no build is ever given.
    #[error("it is never given to a build: {0}")]
    Reserved(&'static str),
    /// The worker has no such variable.
    #[error("it is not set in the worker's environment")]
    NotSet,
}

impl Secrets {
    /// The secrets of this environment.
    pub fn new(environment: Environment) -> Self {
        Self(environment)
    }

    /// The value of a variable that settings name, for a git token or a build's environment. What is reserved is
    /// refused here too, since a message need not come from a file that was checked.
    pub fn get(&self, name: &str) -> Result<SecretString, SecretRefusal> {
        if let Some(why) = reserved(name) {
            return Err(SecretRefusal::Reserved(why));
        }
        self.0.secret(name).ok_or(SecretRefusal::NotSet)
    }

    /// Every value that must not be in a prebuild or a log, with its variable's name: those that look secret by
    /// name, the fleet's and the session's own, the password in the broker's URL, and those `named` by a job.
    pub fn to_search_for<'a>(&self, named: impl IntoIterator<Item = &'a str>) -> Vec<(String, SecretString)> {
        let named: BTreeSet<&str> = named.into_iter().collect();
        let is_secret = |name: &&str| {
            named.contains(name) || name_looks_secret(name) || FLEET.contains(name) || SESSION.contains(name)
        };
        // An author's name is no secret, and is in every commit.
        let is_public = |name: &str| matches!(name, "GIT_USER_NAME" | "GIT_USER_EMAIL");
        let mut found: Vec<(String, SecretString)> = self
            .0
            .names()
            .filter(|name| is_secret(name) && !is_public(name))
            .filter_map(|name| Some((name.to_owned(), self.0.secret(name)?)))
            .collect();
        found.extend(self.broker_passwords().map(|password| ("AMQP_URL".to_owned(), password)));
        found.retain(|(_, value)| value.expose_secret().len() >= SHORTEST_SEARCHED);
        found
    }

    /// The password as the URL spells it, and as it is.
    fn broker_passwords(&self) -> impl Iterator<Item = SecretString> {
        let url = self.0.get("AMQP_URL").and_then(|url| url::Url::parse(url).ok());
        let spelled = url.as_ref().and_then(|url| url.password()).map(ToOwned::to_owned);
        let decoded =
            spelled.as_deref().map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
        let decoded = decoded.filter(|decoded| Some(decoded) != spelled.as_ref());
        spelled.into_iter().chain(decoded).map(SecretString::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets::new(Environment::from_pairs([
            ("GITHUB_TOKEN", "ghp_0123456789"),
            ("PRIVATE_REGISTRY", "registry-password"),
            ("AMQP_URL", "amqp://harvest:broker%2Dpassword@rabbit/"),
            ("DAYTONA_API_KEY", "dtn_0123456789"),
            ("GIT_USER_NAME", "Somebody Else"),
            ("SHORT_TOKEN", "abc"),
            ("PATH", "/usr/bin:/usr/local/bin"),
        ]))
    }

    #[test]
    fn a_build_never_gets_what_opens_the_fleet_or_is_the_sessions() {
        let secrets = secrets();
        assert_eq!(secrets.get("GITHUB_TOKEN").unwrap().expose_secret(), "ghp_0123456789");
        assert_eq!(secrets.get("NPM_TOKEN").unwrap_err(), SecretRefusal::NotSet);
        // Names that the chart, the image or an exporter of telemetry sets, and one that nobody knows yet.
        let more = [
            "HARVEST_FLEET",
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_AUTH_TOKEN",
            "anthropic_auth_token",
            "CLAUDE_CODE_SOMETHING_NEW",
            "RABBITMQ_PASSWORD",
            "RABBITMQ_ERLANG_COOKIE",
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
        ];
        for name in SESSION.iter().chain(&FLEET).chain(&more) {
            assert!(matches!(secrets.get(name), Err(SecretRefusal::Reserved(_))), "{name}");
        }
    }

    #[test]
    fn everything_secret_is_searched_for() {
        let found = secrets().to_search_for(["PRIVATE_REGISTRY"]);
        let values: Vec<&str> = found.iter().map(|(_, value)| value.expose_secret()).collect();
        for value in
            ["ghp_0123456789", "registry-password", "broker%2Dpassword", "broker-password", "dtn_0123456789"]
        {
            assert!(values.contains(&value), "{value}");
        }
        assert!(
            !values
                .iter()
                .any(|value| value.contains("/usr/bin") || *value == "abc" || value.contains("Else"))
        );
        assert!(!format!("{found:?}").contains("dtn_"));
    }
}
