//! Whether the workers' rules give each target the secrets that fleet.toml names for it. Nothing is asked of anybody.

use std::collections::BTreeSet;
use std::path::Path;

use job::{Settings, Target};
use settings::{Environment, FleetLoad, SecretRules, Secrets, reserved};

use super::view::Check;

const NAME: &str = "secret rules";

/// Holds fleet.toml against the rules in the workers' settings.
pub(super) fn check_secret_rules(
    worker_config: Option<&Path>,
    environment: &Environment,
    load: Option<&FleetLoad>,
) -> Check {
    let Some(file) = worker_config else {
        return Check::skipped(NAME, "not looked at: name the workers' settings with --worker-config");
    };
    let rules = match SecretRules::read(file) {
        Ok(rules) => rules,
        Err(problems) => {
            return Check::failed(
                NAME,
                problems.to_string(),
                "correct them: no worker starts with such settings",
            );
        }
    };
    let targets = load.map(|load| load.targets.as_slice()).unwrap_or_default();
    let refusals: BTreeSet<String> = targets
        .iter()
        .flat_map(|(target, settings)| refusals_of(&rules, environment, target, settings))
        .collect();
    if !refusals.is_empty() {
        let told: Vec<String> = refusals.into_iter().collect();
        let remedy = "add these lines to worker.toml (settings.worker.secrets of the chart): jobs are refused until then";
        return Check::failed(NAME, told.join("\n"), remedy);
    }
    let secrets = Secrets::new(environment.clone(), rules);
    let idle: Vec<String> =
        secrets.without_rule().into_iter().map(|name| format!("[secrets.{name}]")).collect();
    if idle.is_empty() {
        Check::ok(NAME, format!("{} targets are given what they ask for", targets.len()))
    } else {
        let detail = format!("set here, and for nothing: {}", idle.join(", "));
        Check::warning(NAME, detail, "write what it is for into worker.toml, or take it from the workers")
    }
}

/// What a worker with these rules would refuse this target. Whether the token is set at the workers is not known here: one
/// that has a rule, or is set here, is taken to be.
fn refusals_of(
    rules: &SecretRules,
    environment: &Environment,
    target: &Target,
    settings: &Settings,
) -> Vec<String> {
    let token = settings.clone.token_secret.as_str();
    let is_used = rules.of(token).is_some() || environment.get(token).is_some() && reserved(token).is_none();
    let is_folder = settings.clone.url.starts_with("file:");
    let urls = [&settings.clone.url].into_iter().chain(&settings.checkout.also);
    let of_token = urls
        .filter(|_| is_used && !is_folder)
        .filter_map(|url| rules.check_url(token, url).err())
        .map(|refusal| format!("{target}: the git token {token}: {refusal}"));
    let of_builds = settings.secrets.iter().filter_map(|name| {
        let refusal = rules.check_build(name, target, &settings.clone.url).err()?;
        Some(format!("{target}: {name}: {refusal}"))
    });
    of_token.chain(of_builds).collect()
}
