//! Processes that stay, tools that stand in for others, and runs that are tampered with.

use super::row::{Must, Row};

/// Programs that a worker, a session or git's own scripts could be tempted to find by name.
const TOOLS: &str = "bash sh env cat grep sed git sha256sum tar find stat df tail head date mv rm mkdir timeout setsid ls cut sort tr xargs chmod printenv";

pub(super) fn rows() -> Vec<Row> {
    let mut rows = controls();
    rows.extend(watchers());
    rows.extend(runs());
    rows
}

fn controls() -> Vec<Row> {
    vec![
        Row::new("control-honest", "nothing: what every other is compared with", Must::Build)
            .install("true")
            .build("mkdir dist"),
        Row::new("control-given", "tells the secret that it was given", Must::Build)
            .given()
            .install("env | tell given"),
    ]
}

fn watchers() -> Vec<Row> {
    vec![
        Row::new("watch-environments", "reads every environment and command line after its install", Must::Build).install(
            r#"
            linger 'cd /; while :; do look lingering; sleep 0.1; done'
            ( (setsid bash -c "cd /; while :; do look lingering-marked; cat /proc/[0-9]*/environ >>~/.cache/seen; sleep 0.2; done" >/dev/null 2>&1) & )
            sleep 0.5"#,
        ),
        Row::new("watch-tools", "puts tools before the image's, on every PATH there is", Must::Build).install(&format!(
            r#"
            for folder in ~/.harvest/bin ~/.local/bin ~/bin ~/.npm-global/bin; do plant $folder {TOOLS}; done
            line='export PATH="$HOME/.harvest/bin:$HOME/.local/bin:$HOME/bin:$PATH" # planted-here'
            for file in .bashrc .profile .bash_profile .bash_login .bash_logout .zshenv .zshrc .zprofile .inputrc; do echo "$line" >>~/$file; done"#
        )),
        Row::new("watch-shells", "has shells look when they start and end", Must::Build).install(
            r#"
            for file in .bashrc .profile .bash_profile .bash_login .bash_logout .zshenv .zshrc .zlogin; do
                echo ". $here/prelude.sh; look planted-here-$file" >>~/$file
            done
            echo 'script-shell=/workspace/watch-shells/prelude.sh planted-here' >>~/.npmrc"#,
        ),
        Row::new("watch-renamed-home", "renames folders of the home, and makes them anew with its own", Must::Build).install(
            &format!(
                r"
                mv ~/.harvest ~/moved; mkdir -p ~/.harvest; cp -r ~/moved/. ~/.harvest/; plant ~/.harvest/bin {TOOLS}
                /usr/bin/mv ~/.local ~/moved-local 2>/dev/null; plant ~/elsewhere/bin {TOOLS}; /usr/bin/ln -s ~/elsewhere ~/.local"
            ),
        ),
        Row::new("watch-forks", "leaves hundreds of processes", Must::Build)
            .install("for _ in {1..300}; do linger 'exec sleep 1000'; done"),
        Row::new("watch-memory", "reads the memory of what runs as it", Must::Build).install(
            r#"linger 'cd /; while :; do for one in /proc/[0-9]*; do
                /usr/bin/strings -n 12 "$one/environ" "$one/cmdline" 2>/dev/null; ls -l "$one/fd" 2>/dev/null
            done | tell memory; done'"#,
        ),
    ]
}

/// A run's folder is the suspect's: whatever it does to it costs attempts of its own and nobody else's time.
fn runs() -> Vec<Row> {
    let run =
        |name, tries, script: &str| Row::new(name, tries, Must::GainNothing).install(script).build("sleep 2");
    vec![
        run(
            "run-exit",
            "writes the exit codes of runs that go on",
            r#"linger 'while :; do for run in /tmp/harvest-run/*; do echo "0 1" >$run/exit; done; sleep 0.05; done'"#,
        )
        .verify("true"),
        run(
            "run-elapsed",
            "says that it took longer than time goes",
            r#"linger 'while :; do for run in /tmp/harvest-run/*; do echo "0 18446744073709551615" >$run/exit; echo 99999999999999999999 >$run/started; done; done'
            sleep 1"#,
        ),
        run(
            "run-negative",
            "says that it took less than no time",
            r#"linger 'while :; do for run in /tmp/harvest-run/*; do echo "0 -9223372036854775808" >$run/exit; echo NaN >$run/started; echo -1 >$run/turns; done; done'
            sleep 1"#,
        ),
        run(
            "run-garbage",
            "answers the worker's looks with what is none",
            r#"linger 'while :; do for run in /tmp/harvest-run/*; do echo "a[\$(tell arithmetic </proc/self/environ)] b" >$run/exit; cp $run/exit $run/started; cp $run/exit $run/turns; done; done'
            sleep 1"#,
        ),
        run(
            "run-pipe",
            "puts pipes where its output and its exit code are",
            r#"for file in output exit started supervisor; do rm -f /tmp/harvest-run/*/$file; mkfifo /tmp/harvest-run/"$(ls /tmp/harvest-run | tail -n 1)"/$file; done"#,
        ),
        run("run-supervisor", "ends its supervisor", r#"kill -9 "$(cat /tmp/harvest-run/*install*/supervisor)"; sleep 5"#),
        run("run-deleted", "removes the folder of its run", "rm -rf /tmp/harvest-run; sleep 1"),
        run("run-renamed", "renames the folder of its run", "mv /tmp/harvest-run /tmp/moved; sleep 1"),
        run(
            "run-link",
            "puts a link where its run is",
            "mv /tmp/harvest-run ~/moved; ln -s /workspace /tmp/harvest-run; sleep 1",
        ),
        run("run-everything", "ends everything that runs", "kill -9 -1; sleep 5"),
        run(
            "run-flood",
            "floods its output, the disk's names and its folders",
            r#"
            yes "a line of many" | head -c 30000000
            mkdir -p flood; cd flood; for i in {1..4000}; do : >"$i"; done
            for name in $'new\nline' $'osc\e]0;owned\a' $'bidi\u202etxt' '-rf' '$(id)' '*'; do : >"./$name"; mkdir -p "./d$name"; done
            for _ in {1..400}; do mkdir d; cd d || break; done"#,
        ),
    ]
}
