//! fleet.toml as people write it, rightly and wrongly.

use job::CommandSetting;

use super::*;

fn understand(text: &str) -> Result<FleetLoad, Problems> {
    FleetFile::new("fleet.toml").understand(text)
}

fn told(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_names_the_three_repositories() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/fleet.toml");
    let load = FleetFile::load(shipped).unwrap();
    assert_eq!(told(&load.problems), "");
    let targets: Vec<String> = load.targets.iter().map(|(target, _)| target.to_string()).collect();
    assert_eq!(
        targets,
        ["chat-app", "api-node", "app"].map(|name| format!("RelevanceAI/relevance-{name}@main"))
    );
    assert_eq!(load.every, Duration::from_mins(30));
    let settings = &load.targets[0].1;
    assert_eq!(settings.clone.url, "https://github.com/RelevanceAI/relevance-chat-app.git");
    assert_eq!(
        (settings.clone.token_secret.as_str(), settings.base_snapshot.as_str()),
        ("GITHUB_TOKEN", "harvest-snapshot")
    );
}

#[test]
fn an_entry_wins_over_the_defaults_and_keeps_the_rest_of_them() {
    let load = understand(
        r#"
[defaults]
every = "10s"
owner = "platform"
secrets = ["NPM_TOKEN"]
env = { CI = "1", NODE_ENV = "test" }
commands = { install = "npm ci" }

[[repository]]
name = "o/plain"

[[repository]]
name = "o/special"
branch = "release/1.x"
keep = 3
secrets = []
class = "large"
[repository.env]
NODE_ENV = "production"
[repository.commands]
build = false
verify = "npm run smoke"
[repository.toolchain]
node = ">=20 <23"
package_manager = "pnpm@9.15.4"
[repository.checkout]
filter = "blob:none"
sparse = ["packages/app"]
lfs = true
[repository.timeouts]
install = "40m"

[[repository]]
name = "git.example.com:8443/group/sub/repo"
clone_url = "https://{host}/{owner}/{name}.git"
token_secret = "EXAMPLE_TOKEN"
"#,
    )
    .unwrap();
    assert_eq!(told(&load.problems), "");
    assert_eq!(load.every.as_secs(), 10);
    let [(_, plain), (target, special), (_, elsewhere)] = &load.targets[..] else { panic!("{load:?}") };
    assert_eq!(plain.env["NODE_ENV"], "test");
    assert!(plain.secrets.contains("NPM_TOKEN"));
    assert_eq!(target.to_string(), "o/special@release/1.x");
    assert_eq!((special.env["CI"].as_str(), special.env["NODE_ENV"].as_str()), ("1", "production"));
    assert!(special.secrets.is_empty(), "a list replaces a list");
    assert_eq!(special.commands.install, Some(CommandSetting::Run("npm ci".into())));
    assert_eq!(special.commands.build, Some(CommandSetting::Skip(())));
    assert_eq!((special.keep, special.checkout.lfs, special.timeouts.install.as_secs()), (3, true, 2400));
    assert_eq!(special.timeouts.build, job::Timeouts::default().build);
    assert_eq!(elsewhere.clone.url, "https://git.example.com:8443/group/sub/repo.git");
}

#[test]
fn wrong_entries_are_all_told_and_stop_no_other() {
    let load = understand(include_str!("mistakes.toml")).unwrap();
    let good: Vec<String> = load.targets.iter().map(|(target, _)| target.to_string()).collect();
    assert_eq!(good, ["o/first@main", "o/last@main"]);
    let told = told(&load.problems);
    assert!(!told.contains("0123456789"), "a secret is shown: {told}");
    insta::assert_snapshot!(told);
}

#[test]
fn a_file_that_cannot_be_understood_as_a_whole_gives_nothing() {
    insta::assert_snapshot!(understand("[defaults]\nbranch = \"main\nkeep = 2\n").unwrap_err().to_string());
    let problems = understand(
        r#"
[defaults]
clone_url = "https://github.com/{owner}.git"
brunch = "dev"
every = "0s"
name = "o/n"
[[repository]]
name = "o/n"
keep = 0
[repositories]
"#,
    )
    .unwrap_err();
    insta::assert_snapshot!(problems.to_string());
    let here = tempfile::tempdir().unwrap();
    assert!(FleetFile::load(here.path().join("missing.toml")).is_err());
}

#[test]
fn an_empty_file_is_an_empty_fleet() {
    let load = understand("").unwrap();
    assert!(load.targets.is_empty() && load.problems.is_empty());
}
