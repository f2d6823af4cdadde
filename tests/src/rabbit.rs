//! Private RabbitMQ nodes on loopback: own data, cookie, ports and port mapper, started as any user, ended with the value
//! or the test process. Nothing of an installed system service is read or touched.
//!
//! Tests that do not hurt a node share one, each in a virtual host of its own.

mod access;
mod installation;
mod management;
mod node;
mod ports;
mod shared;
mod virtual_host;

pub use access::NodeAccess;
pub use installation::Installation;
pub use node::{Alarm, RabbitNode};
pub use shared::{SHARED_NODE_VARIABLE, SharedNode, shared_node, virtual_host};
pub use virtual_host::VirtualHost;
