//! One hostile repository: its files, what it is given, and what must come of it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use job::{CommandSetting, Settings};

const PRELUDE: &str = include_str!("repository/prelude.sh");
const HIDE: &str = include_str!("repository/hide.mjs");

/// What a stage may take: seconds are enough for each of them.
const ENOUGH: Duration = Duration::from_secs(40);
const README: &str = "A repository.\n";

/// What must come of a repository. Its scope is its own target in every case.
#[derive(Debug, Clone, Copy)]
pub(super) enum Must {
    /// Promoted by the first attempt with nothing that its build script had to do missing.
    Build,
    /// Promoted by the first attempt, without its build's output.
    BePartial,
    /// Whatever an exit code of its own could have brought about, within the attempts there are.
    GainNothing,
    /// A dead letter of one of these kinds, after so many attempts and not more.
    Fail(&'static [&'static str], u32),
}

/// A hostile repository.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    tries: &'static str,
    pub(super) must: Must,
    /// What the failure's message must name.
    pub(super) named: &'static [&'static str],
    /// The secrets it asks for, which it is given where they are its own.
    pub(super) secrets: &'static [&'static str],
    files: Vec<(&'static str, String)>,
    commands: String,
    pub(super) place: Place,
}

/// Where a job says that its repository is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On the fleet's git host.
    Here,
    /// Where every request is answered with a redirect.
    Moved,
    /// Where the worker's own look-up is answered, and git is redirected.
    MovedForGit,
    /// On a host that no rule names, with another team's token.
    Elsewhere,
}

impl Row {
    pub(super) fn new(name: &'static str, tries: &'static str, must: Must) -> Self {
        let hide = vec![("hide.mjs", HIDE.to_owned())];
        Self {
            name,
            tries,
            must,
            named: &[],
            secrets: &[],
            files: hide,
            commands: String::new(),
            place: Place::Here,
        }
    }

    /// Whether it shows that the suite sees what there is to see; always among the rows.
    pub(super) fn is_control(&self) -> bool {
        self.name.starts_with("control-")
    }

    /// Whether it writes to the operator's terminal.
    pub(super) fn is_of_terminals(&self) -> bool {
        self.name == "verdict-osc"
    }

    /// What its install does.
    pub(super) fn install(self, script: &str) -> Self {
        self.command("install", script)
    }

    /// What its build does.
    pub(super) fn build(self, script: &str) -> Self {
        self.command("build", script)
    }

    /// What it asks to be verified by.
    pub(super) fn verify(self, script: &str) -> Self {
        self.command("verify", script)
    }

    fn command(mut self, which: &'static str, script: &str) -> Self {
        let file = match which {
            "install" => "install.sh",
            "build" => "build.sh",
            _ => "verify.sh",
        };
        self.files.push((file, format!(". /workspace/{}/prelude.sh\n{script}\n", self.name)));
        writeln!(self.commands, "{which} = \"bash {file}\"").unwrap();
        self
    }

    /// Another file of it.
    pub(super) fn file(mut self, path: &'static str, text: impl Into<String>) -> Self {
        self.files.push((path, text.into()));
        self
    }

    /// It is given the secret that is its own.
    pub(super) fn given(self) -> Self {
        self.asking(&["NPM_TOKEN"])
    }

    pub(super) fn asking(self, secrets: &'static [&'static str]) -> Self {
        Self { secrets, ..self }
    }

    pub(super) fn naming(self, named: &'static [&'static str]) -> Self {
        Self { named, ..self }
    }

    pub(super) fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// The target's name on the git host.
    pub(super) fn repository(&self) -> String {
        format!("acme/{}", self.name)
    }

    /// Writes its files, with what they are to know in the place of `@NAME@`, `@PORT@`, ...
    pub(super) fn write(&self, folder: &Path, known: &[(&str, String)]) {
        let commands = ("@COMMANDS@", self.commands.clone());
        let settings = "@CHECKOUT@[commands]\n@COMMANDS@".to_owned();
        let own = self.files.iter().any(|(path, _)| *path == ".harvest.toml");
        let settings = (!own).then_some((".harvest.toml", settings));
        let files = self
            .files
            .iter()
            .cloned()
            .chain([("prelude.sh", PRELUDE.to_owned()), ("README.md", README.to_owned())])
            .chain(settings);
        let name = ("@NAME@", self.name.to_owned());
        for (path, mut text) in files {
            for (word, meaning) in [&commands, &("@CHECKOUT@", String::new()), &name].into_iter().chain(known)
            {
                text = text.replace(word, meaning);
            }
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    /// What its job says beside where it is.
    pub(super) fn adjust(&self, settings: &mut Settings) {
        settings.secrets = self.secrets.iter().map(|name| (*name).to_owned()).collect();
        if self.commands.is_empty() {
            settings.commands.install = Some(CommandSetting::Run("true".to_owned()));
        }
        let timeouts = &mut settings.timeouts;
        (timeouts.install, timeouts.build, timeouts.verify) = (ENOUGH, ENOUGH, ENOUGH);
    }

    /// Whether `x` in it is the other team's repository.
    pub(super) fn has_submodule(&self) -> bool {
        self.files.iter().any(|(path, _)| *path == ".gitmodules")
    }

    /// How many attempts it may be given for nothing: one where it could have been the platform.
    pub(super) fn free_attempts(&self) -> usize {
        usize::from(self.name == "blame-sandbox")
    }

    pub(super) fn describe(&self) -> String {
        format!("{}: {}", self.name, self.tries)
    }
}
