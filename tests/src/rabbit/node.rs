//! One RabbitMQ node and its port mapper, each a direct child of this process. The port mapper is started here, before
//! the node can start one of its own, which would detach itself and outlive everybody.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal};

use super::access::{NodeAccess, PATH};
use super::installation::Installation;
use super::ports::Ports;
use crate::eventually::within;
use crate::guard::{self, GuardedChild, Home};
use crate::started;

/// A cold disk has been seen to take 13 s; a loaded machine takes several times that.
const START_DEADLINE: Duration = Duration::from_mins(5);
const STOP_DEADLINE: Duration = Duration::from_mins(3);
const PORT_MAPPER_DEADLINE: Duration = Duration::from_secs(2);
/// Starts with fresh ports, should somebody have taken one in between.
const START_TRIES: usize = 3;

/// Which of the broker's alarms to raise or clear: each blocks every connection that publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// The memory high watermark, put at nothing.
    Memory,
    /// The free disk limit, put above what any disk has.
    Disk,
}

/// A private RabbitMQ node. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct RabbitNode {
    access: NodeAccess,
    settings: Vec<String>,
    node: Option<GuardedChild>,
    port_mapper: GuardedChild,
    // Last, so that it is removed after the processes that write to it are dead.
    _home: Home,
}

impl RabbitNode {
    /// Starts a node with RabbitMQ's defaults and waits until it speaks AMQP.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a node with further lines for `rabbitmq.conf`, e.g. `consumer_timeout = 60000`.
    pub async fn start_with(settings: &[&str]) -> anyhow::Result<Self> {
        let installation = Installation::find()?;
        let mut tries_left = START_TRIES;
        loop {
            tries_left -= 1;
            match Self::start_once(installation.clone(), settings).await {
                Err(error) if tries_left > 0 && is_port_taken(&error) => {}
                started_or_failed => return started_or_failed,
            }
        }
    }

    /// Starts a node that keeps its data in `directory`, and finds there what an earlier one kept.
    pub async fn start_in(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        Self::start_at(Installation::find()?, &[], Home::Kept(directory.to_owned())).await
    }

    async fn start_once(installation: Installation, settings: &[&str]) -> anyhow::Result<Self> {
        let directory = guard::temporary_directory_in(&installation.temporary_parent(), "rabbitmq")?;
        Self::start_at(installation, settings, Home::Temporary(directory)).await
    }

    async fn start_at(installation: Installation, settings: &[&str], home: Home) -> anyhow::Result<Self> {
        let ports = Ports::free()?;
        let port_mapper = start_port_mapper(&installation, ports).await?;
        let settings = settings.iter().map(|&line| line.to_owned()).collect();
        let access = NodeAccess { installation, ports, directory: home.path().to_owned() };
        let mut node = Self { access, settings, node: None, port_mapper, _home: home };
        node.write_configuration()?;
        node.boot().await?;
        Ok(node)
    }

    /// How the node is reached, by any process.
    pub fn access(&self) -> &NodeAccess {
        &self.access
    }

    /// The AMQP address of `vhost` on this node (`/` is the one that exists from the start).
    pub fn amqp_url(&self, vhost: &str) -> String {
        self.access.amqp_url(vhost)
    }

    /// The pid of the running node.
    pub fn pid(&self) -> Option<Pid> {
        self.node.as_ref().map(GuardedChild::pid)
    }

    /// The pid of the node's port mapper.
    pub fn port_mapper_pid(&self) -> Pid {
        self.port_mapper.pid()
    }

    /// Where the node keeps its data and logs.
    pub fn directory(&self) -> &Path {
        self.access.directory()
    }

    /// Stops the node as a service manager would, and waits for its end. Stopping a stopped node does nothing.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(node) = &mut self.node {
            node.signal(Signal::TERM)?;
            let status = node.ended(STOP_DEADLINE).await.with_context(|| self.access.log_tail())?;
            tracing::debug!(%status, "node stopped");
        }
        self.node = None;
        Ok(())
    }

    /// Kills the node at once, as a power cut would.
    pub fn kill9(&mut self) -> anyhow::Result<()> {
        if let Some(mut node) = self.node.take() {
            node.kill()?;
        }
        Ok(())
    }

    /// Stops the node if it runs, and starts it again with the same data and ports.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        self.boot().await
    }

    /// Freezes the node: connections stay open and nothing answers.
    pub fn freeze(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen node go on.
    pub fn thaw(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Raises an alarm: the broker blocks every connection that publishes until it is cleared.
    pub async fn raise_alarm(&self, alarm: Alarm) -> anyhow::Result<()> {
        match alarm {
            Alarm::Memory => self.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await,
            Alarm::Disk => self.control(&["set_disk_free_limit", "1000000000000000"]).await,
        }
        .map(drop)
    }

    /// Clears what [`Self::raise_alarm`] raised.
    pub async fn clear_alarm(&self, alarm: Alarm) -> anyhow::Result<()> {
        match alarm {
            Alarm::Memory => self.control(&["set_vm_memory_high_watermark", "0.9"]).await,
            Alarm::Disk => self.control(&["set_disk_free_limit", "1000000"]).await,
        }
        .map(drop)
    }

    /// Runs `rabbitmqctl` against this node and answers its standard output. Takes about two seconds.
    pub async fn control(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.access.control(arguments).await
    }

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        let node = self.node.as_mut().context("the node is not running")?;
        Ok(node.signal(signal)?)
    }

    fn write_configuration(&self) -> anyhow::Result<()> {
        let Ports { amqp, management, .. } = self.access.ports;
        let mut configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\n\
             disk_free_limit.absolute = 1MB\n\
             max_message_size = 134217728\n\
             vm_memory_high_watermark.relative = 0.9\n"
        );
        for line in &self.settings {
            configuration.push_str(line);
            configuration.push('\n');
        }
        let wants_management = self.settings.iter().any(|line| line.starts_with("management"));
        let plugins = if wants_management { "[rabbitmq_management].\n" } else { "[].\n" };
        std::fs::write(self.directory().join("rabbitmq.conf"), configuration)?;
        std::fs::write(self.directory().join("enabled_plugins"), plugins)?;
        std::fs::create_dir_all(self.directory().join("log"))?;
        Ok(())
    }

    async fn boot(&mut self) -> anyhow::Result<()> {
        let mut command = self.access.installation.script("rabbitmq-server");
        self.access.set_environment(&mut command);
        let output = std::fs::File::create(self.directory().join("log/output"))?;
        command.stdout(output.try_clone()?).stderr(output);
        started::count("RabbitMQ nodes");
        let access = self.access.clone();
        let node = self.node.insert(GuardedChild::spawn(command)?);
        let ready =
            within(START_DEADLINE, "the RabbitMQ node speaks AMQP", async || match node.exit_status() {
                // Not ready and never will be, which is an answer, too.
                Ok(Some(status)) => Ok(Err(status)),
                Ok(None) => access.greet().map(Ok),
                Err(error) => Err(error),
            });
        let ready: Result<(), ExitStatus> = ready.await.with_context(|| self.access.log_tail())?;
        if let Err(status) = ready {
            self.node = None;
            bail!("the RabbitMQ node ended while starting: {status}\n{}", self.access.log_tail());
        }
        Ok(())
    }
}

async fn start_port_mapper(installation: &Installation, ports: Ports) -> anyhow::Result<GuardedChild> {
    let mut command = installation.port_mapper();
    command.env("PATH", PATH).args(["-address", "127.0.0.1", "-port", &ports.epmd.to_string()]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    let mut port_mapper = GuardedChild::spawn(command).context("epmd, the Erlang port mapper")?;
    within(PORT_MAPPER_DEADLINE, "epmd listens", async || match port_mapper.exit_status()? {
        Some(status) => Err(std::io::Error::other(format!("it ended: {status}"))),
        None => TcpStream::connect((Ipv4Addr::LOCALHOST, ports.epmd)).map(drop),
    })
    .await?;
    Ok(port_mapper)
}

fn is_port_taken(error: &anyhow::Error) -> bool {
    let message = format!("{error:#}");
    message.contains("eaddrinuse") || message.contains("epmd listens")
}
