//! Binding a listener, with errors that say what to do about them.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process (or another part of this one) holds the port.
    #[error(
        "{addr} is already in use: stop the process that listens there (`ss -ltnp 'sport = :{}'` names it) or \
         set another listen address; port 0 takes any free port", addr.port()
    )]
    InUse {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The port is a privileged one.
    #[error(
        "not allowed to listen on {addr}: ports below 1024 need a privilege; set a port of 1024 or above"
    )]
    NotAllowed {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The address is not one of this machine's.
    #[error("{addr} is not an address of this machine: use 0.0.0.0 or [::] to listen on all of them")]
    NotOurs {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Whatever else the operating system refuses with.
    #[error("cannot listen on {addr}")]
    Other {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// Listens on `addr`; port 0 takes a free one, which the listener's `local_addr` tells.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(addr).await.map_err(|source| explained(addr, source))
}

fn explained(addr: SocketAddr, source: io::Error) -> BindError {
    let kind = source.kind();
    if kind == ErrorKind::AddrInUse {
        BindError::InUse { addr, source }
    } else if kind == ErrorKind::PermissionDenied {
        BindError::NotAllowed { addr, source }
    } else if kind == ErrorKind::AddrNotAvailable {
        BindError::NotOurs { addr, source }
    } else {
        BindError::Other { addr, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_way_out() {
        let first = bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let addr = first.local_addr().expect("bound");
        let error = bind(addr).await.expect_err("taken");
        assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("{addr} is already in use")), "{text}");
        assert!(text.contains(&format!("sport = :{}", addr.port())), "{text}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told_apart() {
        // 192.0.2.0/24 is reserved for documentation: no machine has it.
        let error = bind(([192, 0, 2, 1], 0).into()).await.expect_err("not ours");
        assert!(matches!(error, BindError::NotOurs { .. }), "{error:?}");
    }
}
