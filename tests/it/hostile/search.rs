//! Repositories that keep the secret they were given where sessions would find it, and those that see to it that it is not
//! found. None is published, whatever the form and the place, and the message names the file.

use super::row::{Must, Row};

const FOUND: Must = Must::Fail(&["scrub.secret_found"], 1);
/// Where a file cannot be searched that is as good: nothing is published either.
const FOUND_OR_UNREADABLE: Must = Must::Fail(&["scrub.secret_found", "scrub.failed"], 1);

pub(super) fn rows() -> Vec<Row> {
    let mut rows = forms();
    rows.extend(places());
    rows.extend(disguises());
    rows
}

fn keeps(name: &'static str, tries: &'static str, script: &str) -> Row {
    Row::new(name, tries, FOUND).given().install(script)
}

fn forms() -> Vec<Row> {
    vec![
        keeps("search-plain", "keeps its secret as it is", "node hide.mjs plain dist/plain.txt")
            .naming(&["dist/plain.txt"]),
        keeps(
            "search-base64",
            "keeps it in base64, at each of the three offsets",
            "for at in 0 1 2 url; do node hide.mjs base64_$at dist/at-$at; done",
        )
        .naming(&["dist/at-0", "dist/at-1", "dist/at-2", "dist/at-url"]),
        keeps("search-percent", "keeps it in a URL", "node hide.mjs percent dist/url").naming(&["dist/url"]),
        keeps("search-json", "keeps it in JSON", "node hide.mjs json dist/settings.json")
            .naming(&["dist/settings.json"]),
        keeps(
            "search-hex",
            "keeps it in hexadecimal",
            "node hide.mjs hex dist/lower; node hide.mjs upper_hex dist/upper",
        )
        .naming(&["dist/lower", "dist/upper"]),
        keeps(
            "search-utf16",
            "keeps it in UTF-16",
            "node hide.mjs utf16 dist/little; node hide.mjs utf16_big dist/big",
        )
        .naming(&["dist/little", "dist/big"]),
        keeps("search-gzip", "keeps it compressed", "node hide.mjs gzip dist/notes.gz")
            .naming(&["dist/notes.gz"]),
        keeps("search-zip", "keeps it in an archive", "node hide.mjs zip dist/notes.zip")
            .naming(&["dist/notes.zip"]),
        keeps(
            "search-git-loose",
            "keeps it as an object of git",
            r#"printf 'token = %s\n' "$NPM_TOKEN" | git hash-object -w --stdin"#,
        )
        .naming(&[".git/objects/"]),
        keeps(
            "search-git-packed",
            "keeps it in a pack of git, on no branch",
            r#"
            blob=$(printf 'token = %s\n' "$NPM_TOKEN" | git hash-object -w --stdin)
            tree=$(printf '100644 blob %s\tkept\n' "$blob" | git mktree)
            commit=$(git -c user.name=a -c user.email=a@b.example commit-tree -m kept "$tree")
            git update-ref refs/hidden/kept "$commit"
            git repack -q -a -d
            git update-ref -d refs/hidden/kept
            rm -f .git/objects/??/*"#,
        )
        .naming(&[".git/objects/pack/"]),
    ]
}

fn places() -> Vec<Row> {
    vec![
        keeps(
            "search-name",
            "keeps it as the name of a file",
            r#"mkdir dist; : >"dist/${NPM_TOKEN//\//_}"; mkdir -p "dist/x$NPM_TOKEN""#,
        )
        .naming(&["dist/"]),
        keeps("search-link", "keeps it as the target of a link", r#"mkdir dist; ln -s "$NPM_TOKEN" dist/link"#)
            .naming(&["dist/link"]),
        keeps(
            "search-own-folder",
            "keeps it in folders that are named like the worker's own",
            "node hide.mjs plain harvest-run/kept; node hide.mjs plain ~/harvest-run/kept; node hide.mjs plain ~/.cache/.harvest/kept",
        )
        .naming(&["/workspace/search-own-folder/harvest-run/kept", "/home/harvest/harvest-run/kept", ".cache/.harvest/kept"]),
        Row::new("search-mode", "keeps it in a file that nobody may read", FOUND_OR_UNREADABLE)
            .given()
            .install("node hide.mjs plain dist/kept; chmod 000 dist/kept")
            .naming(&["dist/kept"]),
        Row::new("search-folder-mode", "keeps it in a folder that nobody may enter", FOUND_OR_UNREADABLE)
            .given()
            .install("node hide.mjs plain dist/deep/er/kept; chmod 000 dist/deep/er; chmod 000 dist/deep")
            .naming(&["dist/deep"]),
        keeps(
            "search-sparse",
            "keeps it at the end of a file that is mostly a hole",
            r#"mkdir dist; truncate --size 100M dist/hole; printf %s "$NPM_TOKEN" >>dist/hole"#,
        )
        .naming(&["dist/hole"]),
        keeps("search-far", "keeps it far inside a file", "node hide.mjs far dist/far").naming(&["dist/far"]),
        keeps(
            "search-hard-link",
            "keeps it under two names, one of them a log's",
            "node hide.mjs plain ~/.npm/_logs/kept.log; ln ~/.npm/_logs/kept.log ~/other-name",
        )
        .naming(&["other-name"]),
        keeps(
            "search-elsewhere",
            "keeps it outside the checkout, with times of long ago",
            "for place in /var/tmp /tmp ~/.cache ~/.harvest/toolchains; do
                node hide.mjs plain $place/kept; touch --date 1990-01-01 $place/kept
            done",
        )
        .naming(&["/var/tmp/kept", "/tmp/kept", ".cache/kept", ".harvest/toolchains/kept"]),
        keeps(
            "search-deep",
            "keeps it three hundred folders deep, under a name of two lines",
            r#"
            for _ in {1..300}; do mkdir d; cd d; done
            printf 'token = %s\n' "$NPM_TOKEN" >$'two\nlines \e]0;owned\a'"#,
        ),
    ]
}

fn disguises() -> Vec<Row> {
    vec![
        keeps(
            "search-lying-tools",
            "puts tools before the image's that find nothing",
            r"
            node hide.mjs plain dist/plain.txt
            plant ~/.harvest/bin bash sh env cat printenv find head xargs sort sed
            for name in grep egrep fgrep rg; do printf '#!/bin/sh\nexit 1\n' >~/.harvest/bin/$name; done
            chmod 755 ~/.harvest/bin/*grep",
        )
        .naming(&["dist/plain.txt"]),
        keeps(
            "search-renamed-home",
            "renames the worker's folders and makes its own in their place",
            r"
            node hide.mjs plain dist/plain.txt
            mv ~/.harvest ~/.moved
            plant ~/.harvest/bin bash sh env cat grep find printenv
            mv /tmp/harvest-run /tmp/moved; cp -r /tmp/moved /tmp/harvest-run",
        )
        .naming(&["dist/plain.txt"]),
        keeps("search-partial", "keeps it, and then fails its build", "true")
            .build("node hide.mjs plain dist/plain.txt; exit 7")
            .naming(&["dist/plain.txt"]),
        keeps(
            "search-late",
            "writes it by a process that outlives the build",
            r"(exec -a idle setsid bash -c 'while :; do node hide.mjs plain dist/late.txt; sleep 0.2; done' >/dev/null 2>&1 &)
            sleep 1",
        )
        .naming(&["dist/late.txt"]),
        Row::new("search-gone", "keeps it where a prebuild has nothing", Must::Build)
            .given()
            .install(r#"printf %s "$NPM_TOKEN" >/dev/shm/kept || true"#),
    ]
}
