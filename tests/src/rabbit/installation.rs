//! Where RabbitMQ is installed. `HARVEST_RABBITMQ_HOME` chooses one (`…/rabbitmq_server-4.0.5`), also inside another
//! root (`/some/chroot/usr/lib/rabbitmq/lib/rabbitmq_server-4.0.5`, which needs root); else the newest installed one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::guard;

const LIBRARIES: &str = "/usr/lib/rabbitmq/lib";
const VARIABLE: &str = "HARVEST_RABBITMQ_HOME";

/// One installed RabbitMQ server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Installation {
    /// The file system it lives in: `/` or a chroot.
    root: PathBuf,
    /// The server's directory as seen from inside `root`.
    home: PathBuf,
}

impl Installation {
    /// The one chosen by the environment, else the newest of this machine.
    pub fn find() -> anyhow::Result<Self> {
        match std::env::var_os(VARIABLE) {
            Some(home) => Self::at(Path::new(&home)),
            None => Self::newest_in(Path::new(LIBRARIES)),
        }
    }

    fn at(home: &Path) -> anyhow::Result<Self> {
        if !home.join("sbin/rabbitmq-server").is_file() {
            bail!("{VARIABLE}: {} holds no sbin/rabbitmq-server", home.display());
        }
        let home = home.to_str().with_context(|| format!("{VARIABLE} is not UTF-8"))?;
        let (root, home) = match home.find(LIBRARIES) {
            Some(start) if start > 0 => home.split_at(start),
            Some(_) | None => ("/", home),
        };
        Ok(Self { root: root.into(), home: home.into() })
    }

    fn newest_in(libraries: &Path) -> anyhow::Result<Self> {
        let missing =
            || format!("no RabbitMQ in {LIBRARIES}: run scripts/install-prerequisites or set {VARIABLE}");
        let mut homes: Vec<(Vec<u32>, PathBuf)> = std::fs::read_dir(libraries)
            .with_context(missing)?
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let name = entry.file_name();
                let version = name.to_str()?.strip_prefix("rabbitmq_server-")?;
                Some((version.split('.').filter_map(|part| part.parse().ok()).collect(), entry.path()))
            })
            .collect();
        homes.sort();
        let (_version, home) = homes.pop().with_context(missing)?;
        Self::at(&home)
    }

    /// The version in the directory's name, e.g. `3.10.8`.
    pub fn version(&self) -> &str {
        let name = self.home.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("rabbitmq_server-").unwrap_or(name)
    }

    /// A directory for temporary files that the server can see, as seen from outside.
    pub(super) fn temporary_parent(&self) -> PathBuf {
        if self.root == Path::new("/") { std::env::temp_dir() } else { self.root.join("tmp") }
    }

    /// `path`, which lies in this root, as the server sees it.
    pub(super) fn inside(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).map_or_else(|_| path.to_owned(), |inside| Path::new("/").join(inside))
    }

    /// A guarded command for one of the scripts in `sbin`.
    pub(super) fn script(&self, name: &str) -> Command {
        self.program(&self.home.join("sbin").join(name))
    }

    /// A guarded command for the Erlang port mapper.
    pub(super) fn port_mapper(&self) -> Command {
        self.program(Path::new("epmd"))
    }

    fn program(&self, program: &Path) -> Command {
        if self.root == Path::new("/") {
            return guard::command(program);
        }
        let mut command = guard::command("chroot");
        command.arg(&self.root).arg(program);
        command
    }
}
