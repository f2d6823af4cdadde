//! The part of a sandbox that is the same for all: which host directories it sees (read-only), its /etc, its base
//! environment. Made once at the start; nothing in it can be written from a sandbox or is ever captured.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::jail::HOME;
use crate::settings::{Exposed, Settings};

const PROFILE: &str = include_str!("plan/profile");
const PROFILE_HARVEST: &str = include_str!("plan/harvest.sh");
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nharvest:x:1001:1001::/home/harvest:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nharvest:x:1001:\nnogroup:x:65534:\n";
const NPMRC: &str = "/run/harvest/npmrc";
const COPIED: &[&str] = &[
    "ld.so.cache",
    "ld.so.conf",
    "hosts",
    "resolv.conf",
    "localtime",
    "protocols",
    "services",
    "mime.types",
];
const BOUND: &[&str] = &["alternatives", "ssl/certs", "ld.so.conf.d", "ca-certificates", "fonts"];
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
const SWITCHES: &[&str] = &["sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "mtrr", "driver"];
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"];

pub(crate) struct Plan {
    arguments: Vec<OsString>,
    /// Bound last: such a path may lie under /tmp. bwrap makes what is missing above it.
    exposed: Vec<Exposed>,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Plan {
    pub(crate) fn make(settings: &Settings) -> std::io::Result<Self> {
        let etc = settings.data_dir.join("etc");
        write_etc(&etc)?;
        let mut arguments = Arguments::default();
        arguments.words(&[
            "--unshare-user",
            "--unshare-pid",
            "--unshare-ipc",
            "--uid",
            "1001",
            "--gid",
            "1001",
        ]);
        arguments.words(&["--as-pid-1", "--new-session", "--clearenv"]);
        for directory in SYSTEM {
            arguments.system(Path::new(directory))?;
        }
        arguments.pair("--ro-bind", &etc, "/etc");
        for name in BOUND {
            let source = Path::new("/etc").join(name);
            if source.is_dir() {
                arguments.pair("--ro-bind", &source, &source);
            }
        }
        arguments.kernel();
        arguments.words(&["--tmpfs", "/run", "--dir", "/run/harvest", "--dir", "/var"]);

        let mut environment = base_environment(settings);
        let mut path = format!("{HOME}/.harvest/bin:/usr/local/bin:/usr/bin:/bin");
        for (bind, directory) in tools_elsewhere(&settings.search_path) {
            arguments.pair("--ro-bind", &bind, &bind);
            path = format!("{path}:{}", directory.display());
        }
        environment.insert("PATH".to_owned(), path);
        if let Some(config) = &settings.npm_user_config {
            arguments.pair("--ro-bind", config, NPMRC);
            environment.retain(|name, _| !name.eq_ignore_ascii_case("npm_config_userconfig"));
            environment.insert("NPM_CONFIG_USERCONFIG".to_owned(), NPMRC.to_owned());
        }
        let named = named_files(settings).into_iter().map(Exposed::from);
        let exposed = named.chain(settings.expose_read_only.clone()).collect();
        Ok(Self { arguments: arguments.0, exposed, environment })
    }

    /// bwrap's arguments for a sandbox whose own directories are under `root`.
    pub(crate) fn arguments(&self, root: &Path) -> Vec<OsString> {
        let mut arguments = Arguments(self.arguments.clone());
        for (name, target) in
            [("home", HOME), ("workspace", "/workspace"), ("tmp", "/tmp"), ("var-tmp", "/var/tmp")]
        {
            arguments.pair("--bind", root.join(name), target);
        }
        for Exposed { source, destination } in &self.exposed {
            arguments.pair("--ro-bind", source, destination);
        }
        arguments.words(&["--remount-ro", "/", "--chdir", "/"]);
        arguments.0
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    /// /proc and /dev. A server run by root shares root's user id with its sandboxes, and the kernel's switches ask
    /// for nothing more: they are read-only.
    fn kernel(&mut self) {
        self.words(&["--proc", "/proc"]);
        for name in SWITCHES {
            let path = Path::new("/proc").join(name);
            self.pair("--ro-bind-try", &path, &path);
        }
        self.words(&["--tmpfs", "/dev", "--dir", "/dev/shm", "--chmod", "1777", "/dev/shm"]);
        for device in DEVICES {
            let path = Path::new("/dev").join(device);
            self.pair("--dev-bind-try", &path, &path);
        }
        for (target, link) in [("fd", "fd"), ("fd/0", "stdin"), ("fd/1", "stdout"), ("fd/2", "stderr")] {
            self.pair("--symlink", Path::new("/proc/self").join(target), Path::new("/dev").join(link));
        }
    }

    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn pair(&mut self, option: &str, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        self.0.extend([option.into(), from.as_ref().into(), to.as_ref().into()]);
    }

    /// `/bin` and `/lib` are links into /usr on today's systems, directories on older ones.
    fn system(&mut self, directory: &Path) -> std::io::Result<()> {
        match fs::symlink_metadata(directory) {
            Ok(found) if found.is_symlink() => self.pair("--symlink", fs::read_link(directory)?, directory),
            Ok(_) => self.pair("--ro-bind", directory, directory),
            Err(_) => {}
        }
        Ok(())
    }
}

fn write_etc(etc: &Path) -> std::io::Result<()> {
    fs::create_dir_all(etc.join("profile.d"))?;
    for (name, text) in [
        ("passwd", PASSWD),
        ("group", GROUP),
        ("shells", "/bin/sh\n/bin/bash\n/usr/bin/bash\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ("gitconfig", "[safe]\n\tdirectory = *\n"),
        ("profile", PROFILE),
        ("profile.d/harvest.sh", PROFILE_HARVEST),
    ] {
        fs::write(etc.join(name), text)?;
    }
    for name in COPIED {
        let source = Path::new("/etc").join(name);
        if source.is_file() {
            fs::copy(source, etc.join(name))?;
        }
    }
    for name in BOUND {
        fs::create_dir_all(etc.join(name))?;
    }
    Ok(())
}

fn base_environment(settings: &Settings) -> BTreeMap<String, String> {
    let mut environment = settings.environment.clone();
    for (name, value) in [
        ("HOME", HOME),
        ("USER", "harvest"),
        ("LOGNAME", "harvest"),
        ("SHELL", "/bin/bash"),
        ("LANG", "C.UTF-8"),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    environment
}

fn visible(path: &Path) -> bool {
    SYSTEM.iter().any(|system| path.starts_with(system)) || path.starts_with("/etc/ssl/certs")
}

/// For each tool that /usr lacks: the installation to bind and the directory to put on PATH.
fn tools_elsewhere(search_path: &[PathBuf]) -> Vec<(PathBuf, PathBuf)> {
    let mut found: Vec<(PathBuf, PathBuf)> = Vec::new();
    for tool in ["node", "npm", "git"] {
        let usual = ["/usr/local/bin", "/usr/bin", "/bin"]
            .iter()
            .any(|directory| Path::new(directory).join(tool).is_file());
        if usual {
            continue;
        }
        let Some(directory) = search_path.iter().find(|directory| directory.join(tool).is_file()) else {
            continue;
        };
        // prefix/bin/node needs prefix/lib too; but a `bin` right in a home directory must not expose the home.
        let prefix = directory.parent().filter(|prefix| {
            directory.file_name().is_some_and(|name| name == "bin") && prefix.components().count() > 3
        });
        let entry = (prefix.unwrap_or(directory).to_owned(), directory.clone());
        if !found.contains(&entry) {
            found.push(entry);
        }
    }
    found
}

/// Files that the passed environment or npm's user configuration point to (certificates, headers).
fn named_files(settings: &Settings) -> Vec<PathBuf> {
    let npmrc =
        settings.npm_user_config.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let from_npm = npmrc
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| matches!(name.trim(), "cafile" | "nodedir"))
        .map(|(_, value)| value.trim().trim_matches('"').to_owned());
    let names_a_file =
        |name: &str| ["CERT", "CAINFO", "CA_BUNDLE", "cafile"].iter().any(|part| name.contains(part));
    let certificates =
        settings.environment.iter().filter(|(name, _)| names_a_file(name)).map(|(_, value)| value.clone());
    let mut paths: Vec<PathBuf> = from_npm
        .chain(certificates)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.exists() && !visible(path))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}
