//! Repositories that write their own verdict: manifests, tools, exit codes. What is promoted is what the worker knows.

use super::row::{Must, Row};

/// Edits the manifest as soon as there is one, again and again.
const EDITOR: &str = r#"linger 'while :; do
    if [ -s /workspace/.harvest/manifest.json ]; then
        sed -i "s/\"flags\": \[\]/\"flags\": [\"forged\"]/; s/\"completeness\": \"partial\"/\"completeness\": \"complete\"/; s/\(\"attempt\": \"\)[0-9a-f]\{8\}/\100000000/; s/bash verify.sh/true/" /workspace/.harvest/manifest.json
    fi
done'
"#;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = manifests();
    rows.extend(tools());
    rows
}

fn manifests() -> Vec<Row> {
    let lays = |name, tries, script: &str| Row::new(name, tries, Must::Build).install(script);
    vec![
        Row::new("verdict-edited", "edits the manifest by a process that stays", Must::BePartial).install(EDITOR).build("exit 7"),
        Row::new("verdict-verify", "has its verification replaced by nothing", Must::Fail(&["verify.command_failed"], 1))
            .install(EDITOR)
            .verify("exit 9"),
        Row::new("verdict-partial", "nothing: its build fails", Must::BePartial).install("true").build("exit 7"),
        lays("verdict-link", "has the manifest written elsewhere", "mkdir ~/elsewhere; rm -rf /workspace/.harvest; ln -s ~/elsewhere /workspace/.harvest"),
        lays("verdict-pipe", "puts a pipe where the manifest goes", "mkdir -p /workspace/.harvest; mkfifo /workspace/.harvest/manifest.json"),
        lays(
            "verdict-mode",
            "puts a manifest that nobody may read",
            "mkdir -p /workspace/.harvest; echo {} >/workspace/.harvest/manifest.json; chmod 000 /workspace/.harvest/manifest.json /workspace/.harvest",
        ),
        lays(
            "verdict-folder",
            "puts folders that nobody may change where the manifest goes",
            "mkdir -p /workspace/.harvest/manifest.json/a/b; chmod 000 /workspace/.harvest/manifest.json/a; chmod 500 /workspace/.harvest",
        ),
        lays(
            "verdict-megabytes",
            "lays megabytes of flags",
            r#"mkdir -p /workspace/.harvest; { printf '{"flags":["'; head -c 8000000 /dev/zero | tr '\0' x; printf '"]}'; } >/workspace/.harvest/manifest.json
            cp /workspace/.harvest/manifest.json /workspace/.harvest/ready"#,
        ),
        lays("verdict-ready", "says that edits are safe, and what harvest-sync did", r#"mkdir -p /workspace/.harvest
            for file in ready sync.json sync.lock sync-install.log; do echo '{"commit":"planted-here"}' >/workspace/.harvest/$file; done"#),
        lays("verdict-late", "verifies itself by a command that changes what was verified", "true")
            .verify(r#"git config core.fsmonitor "$(spy late)"; echo forged >/workspace/.harvest/manifest.json; true"#),
    ]
}

fn tools() -> Vec<Row> {
    let node = |name, tries, script: &str| {
        Row::new(name, tries, Must::Fail(&["scrub.tampered"], 1))
            .file(
                "package.json",
                r#"{"name":"x","private":true,"engines":{"node":"@NODE@"},"packageManager":"npm@10.8.2"}"#,
            )
            .install(script)
    };
    vec![
        node(
            "verdict-node",
            "replaces the Node that it was given",
            "rm ~/.harvest/bin/node; plant ~/.harvest/bin node",
        )
        .naming(&["node"]),
        Row::new("verdict-osc", "writes to the operator's terminal", Must::Fail(&["detect.invalid"], 1))
            .file(".harvest.toml", "\"\\u001b]0;owned\\u0007\\u001b[2J\\u202e\" = 1\n"),
        Row::new(
            "verdict-branch",
            "asks for what only fleet.toml may ask for",
            Must::Fail(&["detect.invalid"], 1),
        )
        .file(".harvest.toml", "secrets = [\"GITHUB_TOKEN\"]\n"),
    ]
}
