//! Which targets a person means: `owner/name` is every listed branch of it, `owner/name@branch` that one. A name that is
//! not there is answered with those that look like it.

use job::{Settings, Target};
use settings::FleetLoad;

use crate::error::CommandError;
use crate::fleet_file_source::FleetFileSource;

/// A target of fleet.toml, with the settings it has there.
pub(crate) type Listed = (Target, Settings);

/// Names nobody listed, with what may have been meant.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe_unknown(.unknown, .listed))]
pub(crate) struct UnknownTargets {
    unknown: Vec<String>,
    listed: Vec<Target>,
}

/// Chooses the listed targets that these names mean, in the file's order, each once.
pub(crate) fn choose<'a>(load: &'a FleetLoad, names: &[String]) -> Result<Vec<&'a Listed>, UnknownTargets> {
    let is_named = |listed: &Listed| names.iter().any(|name| is_meant(name, &listed.0));
    let unknown: Vec<String> = names
        .iter()
        .filter(|name| !load.targets.iter().any(|(target, _)| is_meant(name, target)))
        .cloned()
        .collect();
    if unknown.is_empty() {
        return Ok(load.targets.iter().filter(|listed| is_named(listed)).collect());
    }
    Err(UnknownTargets { unknown, listed: load.targets.iter().map(|(target, _)| target.clone()).collect() })
}

/// Why a name is not one target.
#[derive(Debug, thiserror::Error)]
enum NotOne {
    /// It could be several.
    #[error("`{name}` has several branches; name one: {}", join(.candidates))]
    Several {
        /// The name as it was written.
        name: String,
        /// Those it could be.
        candidates: Vec<Target>,
    },
    /// It is none that is known.
    #[error("{}", describe_unknown(std::slice::from_ref(.name), .known))]
    Unknown {
        /// The name as it was written.
        name: String,
        /// The targets that are known.
        known: Vec<Target>,
    },
}

/// The target meant, of those in fleet.toml and in the register. Where the register can't be read, a whole
/// `owner/name@branch` is taken at its word.
pub(crate) fn find_target(
    name: &str,
    fleet_file: &FleetFileSource,
    in_register: Option<Vec<Target>>,
) -> Result<Target, CommandError> {
    let is_complete = in_register.is_some();
    let mut known = in_register.unwrap_or_default();
    match fleet_file.load() {
        Ok(load) => known.extend(load.targets.into_iter().map(|(target, _)| target)),
        Err(error) => tracing::debug!(error = %error, "without the fleet file"),
    }
    match (find_one(name, &known), name.parse::<Target>()) {
        (Ok(target), _) => Ok(target),
        (Err(NotOne::Unknown { .. }), Ok(spelled)) if !is_complete => Ok(spelled),
        (Err(error @ NotOne::Several { .. }), _) => Err(CommandError::usage(error)),
        (Err(error @ NotOne::Unknown { .. }), _) => Err(CommandError::NotFound(error.to_string())),
    }
}

/// The one target of those known that `name` means.
fn find_one<'a>(name: &str, known: impl IntoIterator<Item = &'a Target>) -> Result<Target, NotOne> {
    let mut known: Vec<Target> = known.into_iter().cloned().collect();
    known.sort();
    known.dedup();
    let mut candidates: Vec<Target> = known.iter().filter(|target| is_meant(name, target)).cloned().collect();
    match candidates.len() {
        0 => Err(NotOne::Unknown { name: name.to_owned(), known }),
        1 => Ok(candidates.remove(0)),
        _ => Err(NotOne::Several { name: name.to_owned(), candidates }),
    }
}

fn is_meant(name: &str, target: &Target) -> bool {
    let spelled = if name.contains('@') { name.to_owned() } else { format!("{name}@{}", target.branch()) };
    spelled.parse::<Target>().is_ok_and(|named| named == *target)
}

fn describe_unknown(unknown: &[String], listed: &[Target]) -> String {
    let describe = |name: &String| {
        let similar = find_similar(name, listed);
        if similar.is_empty() {
            format!("`{name}` is no target of this fleet")
        } else {
            format!("`{name}` is no target of this fleet; did you mean {}?", similar.join(" or "))
        }
    };
    let sentences: Vec<String> = unknown.iter().map(describe).collect();
    format!("{} (`harvestctl status` lists them, fleet.toml adds them)", sentences.join("; "))
}

/// At most three that are spelled much alike or share the repository's own name.
fn find_similar(name: &str, listed: &[Target]) -> Vec<String> {
    let wanted = name.to_ascii_lowercase();
    let (repository, _) = wanted.split_once('@').unwrap_or((wanted.as_str(), ""));
    let short = repository.rsplit('/').next().unwrap_or_default();
    let mut scored: Vec<(usize, String)> = listed
        .iter()
        .filter_map(|target| {
            let candidate = target.repository().to_ascii_lowercase();
            let distance = strsim::levenshtein(repository, &candidate);
            let close = distance <= 2 + repository.len() / 8;
            let shares_name = !short.is_empty() && target.name().to_ascii_lowercase().contains(short);
            (close || shares_name).then(|| (distance, target.to_string()))
        })
        .collect();
    scored.sort();
    scored.into_iter().map(|(_, name)| name).take(3).collect()
}

fn join(targets: &[Target]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use settings::FleetFile;

    use super::*;

    fn load() -> FleetLoad {
        let text = "[[repository]]\nname = \"acme/service\"\n[[repository]]\nname = \"acme/service\"\nbranch = \"dev\"\n\
                    [[repository]]\nname = \"acme/web-app\"\n[[repository]]\nname = \"wrong\"\n";
        FleetFile::new("fleet.toml").understand(text).unwrap()
    }

    fn chosen(names: &[&str]) -> Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        match choose(&load(), &names) {
            Ok(targets) => Ok(targets.iter().map(|(target, _)| target.to_string()).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_repository_means_each_of_its_branches_and_nothing_twice() {
        assert_eq!(chosen(&["acme/service"]).unwrap(), ["acme/service@main", "acme/service@dev"]);
        assert_eq!(chosen(&["Acme/Service@dev", "acme/service@dev"]).unwrap(), ["acme/service@dev"]);
        assert_eq!(chosen(&["github.com/acme/web-app"]).unwrap(), ["acme/web-app@main"]);
    }

    #[test]
    fn an_unknown_name_is_answered_with_near_ones() {
        let error = chosen(&["acme/servise", "acme/web-app"]).unwrap_err();
        assert!(error.contains("`acme/servise`") && error.contains("acme/service@"), "{error}");
        let error = chosen(&["web-app"]).unwrap_err();
        assert!(error.contains("did you mean acme/web-app@main"), "{error}");
        let error = chosen(&["zzzzzzzzzz/qqqqqqqqqqqqq"]).unwrap_err();
        assert!(!error.contains("did you mean"), "{error}");
        assert!(chosen(&["acme/service@prod"]).is_err());
    }

    #[test]
    fn one_target_must_be_one() {
        let load = load();
        let known = || load.targets.iter().map(|(target, _)| target);
        assert_eq!(find_one("acme/web-app", known()).unwrap().to_string(), "acme/web-app@main");
        assert!(matches!(find_one("acme/service", known()), Err(NotOne::Several { .. })));
        assert!(matches!(find_one("acme/none", known()), Err(NotOne::Unknown { .. })));
    }
}
