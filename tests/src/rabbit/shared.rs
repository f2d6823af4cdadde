//! The node that tests share. In a run of `make test` it belongs to the program that started the run and is named in a
//! variable; a test process that was started alone starts one for itself.

use std::ffi::OsString;

use anyhow::Context as _;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::access::NodeAccess;
use super::node::RabbitNode;
use super::virtual_host::VirtualHost;
use crate::guard;

/// Names the run's node, for the processes of that run alone.
pub const SHARED_NODE_VARIABLE: &str = "FLEET_TESTS_NODE";

/// Virtual hosts are made through the management API; its statistics would only cost.
const SETTINGS: [&str; 1] = ["management_agent.disable_metrics_collector = true"];

/// A node that many tests use at once, each in a virtual host of its own.
#[derive(Debug)]
pub struct SharedNode {
    access: NodeAccess,
    own: Option<RabbitNode>,
}

/// What a run tells its test processes.
#[derive(Debug, Serialize, Deserialize)]
struct Announcement {
    /// The process that the node ends with.
    owner: i32,
    node: NodeAccess,
}

impl SharedNode {
    /// Starts a node to be shared.
    pub async fn start() -> anyhow::Result<Self> {
        let node = RabbitNode::start_with(&SETTINGS).await?;
        Ok(Self { access: node.access().clone(), own: Some(node) })
    }

    /// The variable that tells the processes of a run which node they share.
    pub fn announcement(&self) -> anyhow::Result<(&'static str, OsString)> {
        let owner = rustix::process::getpid().as_raw_nonzero().get();
        let announcement = Announcement { owner, node: self.access.clone() };
        Ok((SHARED_NODE_VARIABLE, serde_json::to_string(&announcement)?.into()))
    }

    /// The node of the run that this process belongs to; `None` in a process that was started alone.
    fn of_this_run() -> anyhow::Result<Option<Self>> {
        let Some(announced) = std::env::var_os(SHARED_NODE_VARIABLE) else { return Ok(None) };
        let read = announced.to_str().and_then(|text| serde_json::from_str(text).ok());
        let Announcement { owner, node } =
            read.with_context(|| format!("{SHARED_NODE_VARIABLE} is not what a run of tests sets"))?;
        let owner = Pid::from_raw(owner).context("a run has a process")?;
        guard::end_with(owner).context("the run that this test belongs to has ended")?;
        Ok(Some(Self { access: node, own: None }))
    }

    /// The node's pid, where this process started it.
    pub fn pid(&self) -> Option<Pid> {
        self.own.as_ref().and_then(RabbitNode::pid)
    }

    /// How the node is reached.
    pub fn access(&self) -> &NodeAccess {
        &self.access
    }
}

/// The node that the tests of a run share; in a process that was started alone, of this process, which it ends with.
///
/// It is handed out as `&'static`, so stopping or killing it does not compile: a test that needs that starts its own node.
///
/// # Panics
/// When the node does not start: no test can go on without it.
pub async fn shared_node() -> &'static SharedNode {
    static NODE: tokio::sync::OnceCell<SharedNode> = tokio::sync::OnceCell::const_new();
    let started = async || match SharedNode::of_this_run()? {
        Some(node) => Ok(node),
        None => SharedNode::start().await,
    };
    NODE.get_or_init(async || {
        started().await.unwrap_or_else(|error| panic!("the shared RabbitMQ node: {error:#}"))
    })
    .await
}

/// A virtual host on the shared node, for one test.
///
/// # Panics
/// When it cannot be made: no test can go on without it.
pub async fn virtual_host() -> VirtualHost {
    let node = shared_node().await.access();
    VirtualHost::create_on(node)
        .unwrap_or_else(|error| panic!("a virtual host: {error:#}\n{}", node.log_tail()))
}
