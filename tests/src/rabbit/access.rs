//! How a node is reached: all that a process needs to use a node, whichever process started it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::installation::Installation;
use super::ports::Ports;
use crate::guard::GuardedChild;

pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
pub(super) const USER: &str = "guest";
const CONTROL_DEADLINE: Duration = Duration::from_mins(3);
const GREETING_DEADLINE: Duration = Duration::from_secs(2);

/// Where a node runs, listens and keeps its files. Handed from process to process as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeAccess {
    pub(super) installation: Installation,
    pub(super) ports: Ports,
    pub(super) directory: PathBuf,
}

impl NodeAccess {
    /// The AMQP address of `vhost` on this node (`/` is the one that exists from the start).
    pub fn amqp_url(&self, vhost: &str) -> String {
        let vhost: String = url::form_urlencoded::byte_serialize(vhost.as_bytes()).collect();
        format!("amqp://{USER}:{USER}@{}/{vhost}", self.address())
    }

    /// Where the node listens for AMQP.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.amqp).into()
    }

    /// Where the management API is; nothing listens there unless its plugin was enabled.
    pub(super) fn management_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.management).into()
    }

    /// The server's version, e.g. `3.10.8`.
    pub fn version(&self) -> &str {
        self.installation.version()
    }

    /// Where the node keeps its data and logs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs `rabbitmqctl` against this node and answers its standard output. Takes about two seconds.
    pub async fn control(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.installation.script("rabbitmqctl");
        self.set_environment(&mut command);
        command.args(["--quiet", "--node", &Self::name()]).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut control = GuardedChild::spawn(command)?;
        let status = control.ended(CONTROL_DEADLINE).await?;
        let (mut output, mut errors) = (String::new(), String::new());
        if let (Some(mut stdout), Some(mut stderr)) =
            (control.child_mut().stdout.take(), control.child_mut().stderr.take())
        {
            stdout.read_to_string(&mut output)?;
            stderr.read_to_string(&mut errors)?;
        }
        if !status.success() {
            bail!("rabbitmqctl {arguments:?}: {status}\n{output}{errors}");
        }
        Ok(output)
    }

    /// The end of the node's logs, for messages about failures.
    pub fn log_tail(&self) -> String {
        const BYTES: usize = 4096;
        let tail = |name: &str| {
            let text = std::fs::read(self.directory.join("log").join(name)).unwrap_or_default();
            let start = text.len().saturating_sub(BYTES);
            format!("--- {name}\n{}\n", String::from_utf8_lossy(&text[start..]))
        };
        ["output", "rabbit.log"].map(tail).concat()
    }

    /// Sends AMQP's protocol header and wants a method frame on channel 0 back, which only a started broker sends.
    pub(super) fn greet(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.address(), GREETING_DEADLINE)?;
        stream.set_read_timeout(Some(GREETING_DEADLINE))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        let mut frame_start = [0; 3];
        stream.read_exact(&mut frame_start)?;
        match frame_start {
            [1, 0, 0] => Ok(()),
            other => Err(std::io::Error::other(format!("not a method frame: {other:?}"))),
        }
    }

    pub(super) fn name() -> String {
        // The same each time, since data is kept by name; a port mapper of its own keeps nodes apart.
        "fleet@localhost".to_owned()
    }

    /// What every program of this node is started with: nothing of the caller's environment, all paths in its directory.
    pub(super) fn set_environment(&self, command: &mut Command) {
        let inside = self.installation.inside(&self.directory);
        let paths = [
            ("HOME", ""),
            ("RABBITMQ_MNESIA_BASE", "mnesia"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_LOGS", "log/rabbit.log"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_PID_FILE", "pid"),
            ("RABBITMQ_GENERATED_CONFIG_DIR", "gen"),
            ("RABBITMQ_FEATURE_FLAGS_FILE", "feature_flags"),
            ("ERL_CRASH_DUMP", "log/erl_crash.dump"),
        ];
        let Ports { amqp, distribution, epmd, management: _ } = self.ports;
        command
            .current_dir(&self.directory)
            .env_clear()
            .envs(paths.map(|(name, path)| (name, inside.join(path))))
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("RABBITMQ_NODENAME", Self::name())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", amqp.to_string())
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("ERL_EPMD_PORT", epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // Or /etc/rabbitmq of the machine is read.
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            // Makes the start script replace itself by the node, so that the guarded pid is the node's.
            .env("RUNNING_UNDER_SYSTEMD", "true");
    }
}
