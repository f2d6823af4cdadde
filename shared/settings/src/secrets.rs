//! Secrets by name: which a build may be given, which never, and all values that must not be found in a prebuild.

use job::Target;
use secrecy::SecretString;
use thiserror::Error;

use crate::Environment;
use crate::secret_rules::{NoRule, SecretRules};

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

/// Whether a text can be the name of a variable.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The worker's secrets, by name, and what each is for.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    environment: Environment,
    rules: SecretRules,
}

/// Why a secret is not given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SecretRefusal {
    /// It is one that no build is ever given.
    #[error("it is never given to a build: {0}")]
    Reserved(&'static str),
    /// The worker has no such variable.
    #[error("it is not set in the worker's environment")]
    NotSet,
    /// No rule of the worker's settings says that it is for this.
    #[error(transparent)]
    NoRule(#[from] NoRule),
}

impl Secrets {
    /// The secrets of this environment, each for what its rule names.
    pub fn new(environment: Environment, rules: SecretRules) -> Self {
        Self { environment, rules }
    }

    /// The token for a repository, when one is named and set; it must be for the clone URL and for each that is fetched `also`.
    pub fn git_token(
        &self,
        name: &str,
        clone_url: &str,
        also: &[String],
    ) -> Result<Option<SecretString>, SecretRefusal> {
        let is_folder = clone_url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:"));
        if name.is_empty() || is_folder {
            return Ok(None);
        }
        let token = match self.value(name) {
            Ok(token) => token,
            Err(SecretRefusal::NotSet) => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        for url in [clone_url].into_iter().chain(also.iter().map(String::as_str)) {
            self.rules.check_url(name, url)?;
        }
        Ok(Some(token))
    }

    /// A secret for the builds of a target that is cloned from `clone_url`.
    pub fn for_build(
        &self,
        name: &str,
        target: &Target,
        clone_url: &str,
    ) -> Result<SecretString, SecretRefusal> {
        let secret = self.value(name)?;
        self.rules.check_build(name, target, clone_url)?;
        Ok(secret)
    }

    /// Variables that look like secrets, and are for nothing: no rule names them.
    pub fn without_rule(&self) -> Vec<&str> {
        let is_secret = |name: &str| {
            name_looks_secret(name) || self.environment.get(name).is_some_and(value_looks_secret)
        };
        let is_open = |name: &str| reserved(name).is_none() && self.rules.of(name).is_none();
        self.environment.names().filter(|name| is_open(name) && is_secret(name)).collect()
    }

    /// Rules for variables that are not set: most likely misspelt.
    pub fn rules_for_nothing(&self) -> Vec<&str> {
        self.rules.iter().map(|(name, _)| name).filter(|name| self.environment.get(name).is_none()).collect()
    }

    /// The value of a variable that settings name. What is reserved is refused here too, since a message need not come
    /// from a file that was checked.
    fn value(&self, name: &str) -> Result<SecretString, SecretRefusal> {
        if let Some(why) = reserved(name) {
            return Err(SecretRefusal::Reserved(why));
        }
        self.environment.secret(name).ok_or(SecretRefusal::NotSet)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn secrets() -> Secrets {
        let environment = Environment::from_pairs([
            ("GITHUB_TOKEN", "ghp_0123456789"),
            ("PRIVATE_REGISTRY", "registry-password"),
            ("AMQP_URL", "amqp://harvest:broker%2Dpassword@rabbit/"),
            ("DAYTONA_API_KEY", "dtn_0123456789"),
            ("GIT_USER_NAME", "Somebody Else"),
            ("SHORT_TOKEN", "abc"),
            ("PATH", "/usr/bin:/usr/local/bin"),
        ]);
        let rules = "[GITHUB_TOKEN]\ngit = ['https://github.com/acme/']\nrepositories = ['acme/app']\n\
                     [NPM_TOKEN]\nrepositories = ['acme/*']";
        Secrets::new(environment, toml::from_str(rules).unwrap())
    }

    const CLONE_URL: &str = "https://github.com/acme/app.git";

    fn for_build(secrets: &Secrets, name: &str) -> Result<SecretString, SecretRefusal> {
        secrets.for_build(name, &"acme/app@main".parse().unwrap(), CLONE_URL)
    }

    #[test]
    fn a_build_never_gets_what_opens_the_fleet_or_is_the_sessions() {
        let secrets = secrets();
        assert_eq!(for_build(&secrets, "GITHUB_TOKEN").unwrap().expose_secret(), "ghp_0123456789");
        assert_eq!(for_build(&secrets, "NPM_TOKEN").unwrap_err(), SecretRefusal::NotSet);
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
            assert!(matches!(for_build(&secrets, name), Err(SecretRefusal::Reserved(_))), "{name}");
            let token = secrets.git_token(name, CLONE_URL, &[]);
            assert!(matches!(token, Err(SecretRefusal::Reserved(_))), "{name}");
        }
    }

    #[test]
    fn a_secret_goes_where_its_rule_says_and_else_the_line_is_told() {
        let secrets = secrets();
        let token = |url: &str, also: &[&str]| {
            let also: Vec<String> = also.iter().map(|url| (*url).to_owned()).collect();
            secrets.git_token("GITHUB_TOKEN", url, &also).map(|token| token.is_some())
        };
        assert_eq!(token(CLONE_URL, &["https://github.com/acme/library.git"]), Ok(true));
        assert_eq!(token("file:///srv/git/acme/app.git", &[]), Ok(false));
        assert_eq!(
            secrets.git_token("", "https://evil.example/a/b", &[]).map(|none| none.is_none()),
            Ok(true)
        );
        assert_eq!(
            secrets.git_token("NOT_SET", "https://evil.example/a/b", &[]).map(|none| none.is_none()),
            Ok(true)
        );
        let told: Vec<String> = [
            token("https://evil.example/acme/app.git", &[]).unwrap_err(),
            token("http://github.com/acme/app.git", &[]).unwrap_err(),
            token("https://github.com/acme/../other/app.git", &[]).unwrap_err(),
            token("https://github.com@evil.example/acme/app.git", &[]).unwrap_err(),
            token(CLONE_URL, &["https://github.com/other/library.git"]).unwrap_err(),
            secrets.git_token("PRIVATE_REGISTRY", CLONE_URL, &[]).unwrap_err(),
            for_build(&secrets, "PRIVATE_REGISTRY").unwrap_err(),
            secrets
                .for_build(
                    "GITHUB_TOKEN",
                    &"acme/app@main".parse().unwrap(),
                    "https://evil.example/acme/app.git",
                )
                .unwrap_err(),
            secrets
                .for_build(
                    "GITHUB_TOKEN",
                    &"acme/other@main".parse().unwrap(),
                    "https://github.com/acme/other",
                )
                .unwrap_err(),
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn idle_secrets_and_idle_rules_are_known() {
        assert_eq!(secrets().without_rule(), ["SHORT_TOKEN"]);
        assert_eq!(secrets().rules_for_nothing(), ["NPM_TOKEN"]);
    }
}
