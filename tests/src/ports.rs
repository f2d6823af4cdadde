//! Free loopback ports for programs that cannot be asked to bind port 0 and say what they got.
//!
//! Taken below the kernel's ephemeral range, so that no outgoing connection and no port-0 listener of another test can
//! slip in between the look and the bind, nor while a program is down for a restart.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context as _;

const RANGE: std::ops::Range<u16> = 15_000..32_000;
const TRIES: usize = 200;

/// This many different ports that were free a moment ago.
pub fn free<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut held = Vec::new();
    for _ in 0..TRIES {
        let offset = uuid::Uuid::new_v4().as_u128() % u128::from(RANGE.end - RANGE.start);
        let port = RANGE.start + u16::try_from(offset)?;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
        if held.len() == N {
            break;
        }
    }
    let ports: Vec<u16> = held.iter().map(|(port, _)| *port).collect();
    let ports = <[u16; N]>::try_from(ports).ok();
    ports.with_context(|| format!("no {N} free ports in {RANGE:?} after {TRIES} tries"))
}
