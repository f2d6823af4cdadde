//! A virtual host of the shared node: a broker of a test's own, for the price of a few milliseconds.

use super::access::{NodeAccess, USER};
use super::management;

/// A virtual host that one test has for itself. Dropping it deletes it, with every queue and connection in it.
#[derive(Debug)]
pub struct VirtualHost {
    node: NodeAccess,
    name: String,
}

impl VirtualHost {
    /// Makes one on this node, whose management plugin is enabled.
    pub(super) fn create_on(node: &NodeAccess) -> anyhow::Result<Self> {
        let name = format!("test-{}", uuid::Uuid::new_v4().simple());
        // Made first, so that it is deleted when the second step fails.
        let host = Self { node: node.clone(), name };
        host.request("PUT", "/api/vhosts/{}", "{}")?;
        let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
        host.request("PUT", &format!("/api/permissions/{{}}/{USER}"), everything)?;
        Ok(host)
    }

    /// Its AMQP address.
    pub fn amqp_url(&self) -> String {
        self.node.amqp_url(&self.name)
    }

    /// Closes every connection to it, as an operator does, or a load balancer that restarts.
    pub async fn close_connections(&self) -> anyhow::Result<()> {
        self.node.control(&["close_all_connections", "--vhost", &self.name, "test"]).await.map(drop)
    }

    /// The names of its queues and exchanges.
    pub async fn objects(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for list in ["list_queues", "list_exchanges"] {
            let answer = self.node.control(&[list, "--vhost", &self.name, "name"]).await?;
            names.extend(answer.lines().map(str::to_owned));
        }
        Ok(names)
    }

    /// Sends a request whose path has the name in the place of `{}`.
    fn request(&self, method: &str, path: &str, json: &str) -> anyhow::Result<()> {
        let path = path.replace("{}", &self.name);
        management::request(self.node.management_address(), method, &path, json)
    }
}

impl Drop for VirtualHost {
    fn drop(&mut self) {
        // Best effort: the node may have ended before, and what stays goes with it.
        drop(self.request("DELETE", "/api/vhosts/{}", ""));
    }
}
