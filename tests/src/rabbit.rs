//! Private RabbitMQ nodes on loopback: own data, cookie, ports and port mapper, started as any user, ended with the value
//! or the test process. Nothing of an installed system service is read or touched.

mod installation;
mod node;
mod ports;

pub use installation::Installation;
pub use node::{Alarm, RabbitNode};

/// The node that all tests of one process share; started by the first that asks, ended with the process.
///
/// Tests keep apart by their fleet's name, which is in the name of every object a fleet declares. It is handed out as
/// `&'static`, so stopping or killing it does not compile: a test that needs that starts its own node.
///
/// # Panics
/// When the node does not start: no test can go on without it.
pub async fn shared_node() -> &'static RabbitNode {
    static NODE: tokio::sync::OnceCell<RabbitNode> = tokio::sync::OnceCell::const_new();
    NODE.get_or_init(async || match RabbitNode::start().await {
        Ok(node) => node,
        Err(error) => panic!("the shared RabbitMQ node: {error:#}"),
    })
    .await
}
