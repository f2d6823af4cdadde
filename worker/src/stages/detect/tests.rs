//! Shapes of repositories as they occur, and what is made of each: the whole table is one snapshot.

use std::collections::BTreeMap;

use job::{CheckoutSettings, CommandSetting, CommandStep, PackageManager, Settings, SourceUse};

use super::*;

fn settings() -> Settings {
    serde_json::from_value(serde_json::json!({
        "clone": {"url": "https://github.com/o/n.git"},
        "base_snapshot": "base:1",
    }))
    .unwrap()
}

fn files(texts: &[(&str, &str)]) -> Files {
    Files::new(
        texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<BTreeMap<_, _>>(),
    )
    .unwrap()
}

fn releases() -> Releases {
    let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Releases {
        node: list(&[
            "14.21.3", "16.20.2", "18.12.0", "18.20.8", "20.11.1", "20.20.2", "21.7.3", "22.11.0", "22.23.3",
            "23.11.1", "24.4.0", "24.21.0", "25.9.0", "26.10.0",
        ]),
        pnpm: list(&["8.15.9", "9.0.0", "9.15.9", "10.34.9", "11.0.0", "12.21.0"]),
        trouble: None,
    }
}

fn describe(result: &Result<Detected, Failure>) -> String {
    let recipe = match result {
        Ok(detected) => &detected.recipe,
        Err(failure) => return format!("  FAILS {}: {}", failure.id, failure.message),
    };
    let step = |step: &CommandStep| match step {
        CommandStep::Run { command, from, fallback } => {
            format!(
                "`{command}` from {from}{}",
                fallback.as_ref().map_or(String::new(), |other| format!(", else `{other}`"))
            )
        }
        CommandStep::Skip(why) => format!("skipped: {why:?}"),
    };
    let toolchain = match &recipe.toolchain {
        Toolchain::Node { node, package_manager } => {
            let PackageManager { kind, version, integrity } = package_manager;
            let version = version.as_deref().unwrap_or("of its own");
            format!(
                "Node {node}, {} {version}{}",
                kind.as_str(),
                if integrity.is_some() { ", pinned by hash" } else { "" }
            )
        }
        Toolchain::None => "no toolchain".to_owned(),
    };
    let mut lines = vec![
        format!("  {toolchain}"),
        format!("  install {}", step(&recipe.install)),
        format!("  build {}", step(&recipe.build)),
    ];
    lines.extend(recipe.sources.iter().map(|source| {
        let used = match source.used {
            SourceUse::Winner => "winner",
            SourceUse::Agrees => "agrees",
            SourceUse::Overruled => "overruled",
            SourceUse::Unreadable => "unreadable",
        };
        format!("  {used:10} {}: {} says {}", source.decides, source.place, source.says)
    }));
    lines.extend(recipe.conflicts.iter().map(|conflict| format!("  ! {conflict}")));
    lines.join("\n")
}

const LOCK: (&str, &str) = ("package-lock.json", "{\"lockfileVersion\": 3");
const PNPM9: (&str, &str) = ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n");
const APP: (&str, &str) = ("package.json", r#"{"scripts":{"build":"tsc"},"dependencies":{"ms":"2.1.3"}}"#);

const SHAPES: &[(&str, &[(&str, &str)])] = &[
    ("nothing at all", &[("node", "v20.20.2")]),
    ("a Rust project", &[("Cargo.toml", "")]),
    ("a page without dependencies", &[("package.json", "{}")]),
    ("only a prepare script", &[("package.json", r#"{"scripts":{"prepare":"x"}}"#)]),
    ("npm with a lockfile", &[APP, LOCK]),
    ("npm without a lockfile", &[APP]),
    ("npm with a shrinkwrap", &[APP, ("npm-shrinkwrap.json", "{")]),
    (
        "hono: a floor for users, a pin for developers",
        &[
            ("package.json", r#"{"engines":{"node":">=16.9.0"},"dependencies":{"ms":"1"}}"#),
            LOCK,
            (".tool-versions", "bun 1.2\nnodejs 24.4.0 # dev\n"),
        ],
    ),
    (
        "typescript-action: .node-version within engines",
        &[
            ("package.json", r#"{"engines":{"node":">=24.0.0"},"dependencies":{"ms":"1"}}"#),
            LOCK,
            (".node-version", "24.4.0\n"),
        ],
    ),
    (
        "preact/signals: only volta",
        &[("package.json", r#"{"volta":{"node":"18.12.0"},"dependencies":{"ms":"1"}}"#), PNPM9],
    ),
    ("formik: .nvmrc with a v", &[APP, (".nvmrc", "v18\n")]),
    (".nvmrc lts/*", &[APP, (".nvmrc", "lts/*")]),
    (".nvmrc lts/iron", &[APP, (".nvmrc", "lts/iron\n")]),
    (".nvmrc node", &[APP, (".nvmrc", "node")]),
    (".nvmrc with a comment and Windows ends", &[APP, (".nvmrc", "# ours\r\n20.11 # why\r\n")]),
    (".nvmrc that is none", &[APP, (".nvmrc", "whatever we use"), (".node-version", "")]),
    ("pins that disagree", &[APP, (".nvmrc", "20"), (".node-version", "22.11.0")]),
    (
        "engines as a range of majors",
        &[("package.json", r#"{"engines":{"node":"^20.19 || >=22.12"},"dependencies":{"ms":"1"}}"#)],
    ),
    (
        "engines beyond any long-term line",
        &[("package.json", r#"{"engines":{"node":">=25"},"dependencies":{"ms":"1"}}"#)],
    ),
    (
        "engines that nothing meets",
        &[("package.json", r#"{"engines":{"node":">=99"},"dependencies":{"ms":"1"}}"#)],
    ),
    (
        "engines that is no range",
        &[("package.json", r#"{"engines":{"node":"the latest one"},"dependencies":{"ms":"1"}}"#)],
    ),
    (
        "devEngines exact beats engines",
        &[(
            "package.json",
            r#"{"devEngines":{"runtime":[{"name":"node","version":"22.11.0"}]},"engines":{"node":">=18"},"dependencies":{"ms":"1"}}"#,
        )],
    ),
    ("mise", &[APP, ("mise.toml", "[tools]\nnode = ['22', '20']\n")]),
    ("mise with a table", &[APP, (".mise.toml", "[tools.node]\nversion = \"20\"\n")]),
    (
        "Dockerfile as a hint",
        &[
            APP,
            (
                "Dockerfile",
                "ARG X\nFROM --platform=linux/amd64 docker.io/library/node:20.11.1-bookworm-slim AS build\n",
            ),
        ],
    ),
    ("Dockerfile of something else", &[APP, ("Dockerfile", "FROM node:${V}\nFROM nginx:1\n")]),
    (
        "pnpm by packageManager with a hash",
        &[
            (
                "package.json",
                r#"{"packageManager":"pnpm@9.15.4+sha512.ab12","dependencies":{"ms":"1"},"scripts":{"build":"x"}}"#,
            ),
            PNPM9,
        ],
    ),
    ("pnpm by its lockfile 6.0", &[APP, ("pnpm-lock.yaml", "lockfileVersion: '6.0'\n")]),
    ("pnpm by its lockfile 5.4", &[APP, ("pnpm-lock.yaml", "lockfileVersion: 5.4\n")]),
    ("pnpm by engines", &[("package.json", r#"{"engines":{"pnpm":"^9"},"dependencies":{"ms":"1"}}"#), PNPM9]),
    (
        "pnpm by engines, open",
        &[("package.json", r#"{"engines":{"pnpm":">=9"},"dependencies":{"ms":"1"}}"#), PNPM9],
    ),
    (
        "pnpm that only the native line meets",
        &[("package.json", r#"{"engines":{"pnpm":">=12"},"dependencies":{"ms":"1"}}"#), PNPM9],
    ),
    (
        "pnpm workspace without own dependencies",
        &[("package.json", r#"{"private":true}"#), ("pnpm-workspace.yaml", "packages: [a]"), PNPM9],
    ),
    (
        "packageManager npm",
        &[("package.json", r#"{"packageManager":"npm@10.2.0","dependencies":{"ms":"1"}}"#), LOCK],
    ),
    ("two lockfiles", &[APP, LOCK, PNPM9]),
    ("npm and yarn lockfiles", &[APP, LOCK, ("yarn.lock", "")]),
    ("yarn", &[APP, ("yarn.lock", "# yarn lockfile v1")]),
    (
        "bun by packageManager",
        &[("package.json", r#"{"packageManager":"bun@1.2.5","dependencies":{"ms":"1"}}"#)],
    ),
    (
        "yarn with a command of its own",
        &[APP, ("yarn.lock", ""), (".harvest.toml", "[commands]\ninstall = 'npx yarn install'\n")],
    ),
    (
        "packageManager that is none",
        &[("package.json", r#"{"packageManager":"cargo","dependencies":{"ms":"1"}}"#)],
    ),
    (
        ".harvest.toml leaves the build out",
        &[APP, LOCK, (".harvest.toml", "[commands]\nbuild = false\n[toolchain]\nnode = '22'\n")],
    ),
    (".harvest.toml that asks for too much", &[APP, (".harvest.toml", "secrets = ['A']\n")]),
    ("build that is no text", &[("package.json", r#"{"scripts":{"build":1}}"#)]),
    ("dependencies that are no object", &[("package.json", r#"{"dependencies":[]}"#)]),
];

#[test]
fn the_whole_table_of_shapes() {
    let table: Vec<String> = SHAPES
        .iter()
        .map(|(name, texts)| {
            format!("{name}\n{}", describe(&detect(&files(texts), &settings(), &releases())))
        })
        .collect();
    insta::assert_snapshot!(table.join("\n\n"));
}

#[test]
fn settings_win_over_everything() {
    let mut settings = settings();
    settings.toolchain.node = Some("20".to_owned());
    settings.toolchain.package_manager = Some("pnpm@8.15.9".to_owned());
    settings.commands.install = Some(CommandSetting::Run("make deps".to_owned()));
    settings.commands.build = Some(CommandSetting::Skip(()));
    let files = files(&[
        APP,
        LOCK,
        (".nvmrc", "22"),
        (".harvest.toml", "[commands]\ninstall = 'x'\nbuild = 'y'\nverify = 'z'\n"),
    ]);
    insta::assert_snapshot!(describe(&detect(&files, &settings, &releases())), @r"
  Node 20.20.2, pnpm 8.15.9
  install `make deps` from settings
  build skipped: BySettings
  winner     node: settings says 20
  overruled  node: .nvmrc says 22
  winner     package_manager: settings says pnpm@8.15.9
  overruled  package_manager: package-lock.json says present
  winner     install: settings says make deps
  overruled  install: .harvest.toml says x
  winner     build: settings says false
  overruled  build: .harvest.toml says y
  winner     verify: .harvest.toml says z
  ! .nvmrc says Node 22, but settings decides: 20.20.2
  ! package-lock.json speaks for another package manager than settings, which decides
");
}

#[test]
fn a_list_is_asked_for_only_when_a_version_depends_on_it() {
    let wanted = |texts: &[(&str, &str)]| {
        let Lists { node, pnpm } = lists_needed(&files(texts), &settings()).unwrap();
        (node, pnpm)
    };
    assert_eq!(wanted(&[]), (false, false));
    assert_eq!(wanted(&[APP]), (true, false));
    assert_eq!(wanted(&[APP, (".nvmrc", "22.11.0")]), (false, false));
    assert_eq!(wanted(&[APP, (".nvmrc", "22.11.0"), PNPM9]), (false, false));
    assert_eq!(wanted(&[("package.json", r#"{"engines":{"pnpm":"^9","node":"22"}}"#), PNPM9]), (true, true));
}

#[test]
fn without_a_list_the_node_that_is_there_will_do_if_it_fits() {
    let texts = |nvmrc| files(&[APP, (".nvmrc", nvmrc), ("node", "v20.20.2\n")]);
    let nothing = Releases { trouble: Some("ENOTFOUND".to_owned()), ..Releases::default() };
    let fits = detect(&texts("20"), &settings(), &nothing).unwrap();
    assert!(matches!(fits.recipe.toolchain, Toolchain::Node { node, .. } if node == "20.20.2"));
    let failure = detect(&texts("22"), &settings(), &nothing).unwrap_err();
    assert_eq!(failure.id, FailureKind::ToolchainUnavailable);
    assert!(
        failure.message.contains("toolchain.npm_registry") && failure.message.contains("ENOTFOUND"),
        "{failure}"
    );
}

#[test]
fn harvest_toml_adds_to_the_checkout_but_settings_win() {
    let mut settings = settings();
    let asks = files(&[(".harvest.toml", "[checkout]\nlfs = true\nsparse = ['a']\n")]);
    let added = detect(&asks, &settings, &releases()).unwrap().checkout.unwrap();
    assert_eq!(
        added,
        CheckoutSettings { lfs: true, sparse: vec!["a".to_owned()], ..CheckoutSettings::default() }
    );
    settings.checkout =
        CheckoutSettings { lfs: true, sparse: vec!["b".to_owned()], ..CheckoutSettings::default() };
    assert_eq!(detect(&asks, &settings, &releases()).unwrap().checkout, None);
    let hostile = files(&[(".harvest.toml", "[checkout]\nsparse = [\"a\\nb\"]\n")]);
    assert_eq!(detect(&hostile, &settings, &releases()).unwrap_err().id, FailureKind::DetectInvalid);
}

#[test]
fn a_broken_package_json_is_the_repositorys() {
    for text in ["{", "[]", "null", "\"x\""] {
        let failure = Files::new([("package.json".to_owned(), text.to_owned())].into()).unwrap_err();
        assert_eq!(failure.id, FailureKind::DetectInvalid, "{text}");
    }
    assert!(Files::new([("package.json".to_owned(), "\u{feff}{}".to_owned())].into()).is_ok());
}
