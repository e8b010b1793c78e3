//! Datagrams to the UDP echo server.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::lab::NetNs;

/// A UDP flow: one local port, one server address.
pub struct Flow {
    socket: UdpSocket,
}

impl Flow {
    /// From `local` (port 0: any).
    pub fn new(netns: &NetNs, local: impl Into<SocketAddr>, server: impl Into<SocketAddr>) -> Result<Self> {
        let (local, server) = (local.into(), server.into());
        let socket =
            netns.run(|| Ok(UdpSocket::bind(local)?)).with_context(|| format!("bind UDP {local}"))?;
        socket.connect(server)?;
        Ok(Self { socket })
    }

    /// The name of the server that answers; `None` when nobody does in time, or the answer is "port unreachable".
    pub fn ask(&self, payload: &str, patience: Duration) -> Result<Option<String>> {
        self.socket.set_read_timeout(Some(patience))?;
        // A "port unreachable" for an earlier datagram is told by the next call, whichever that is.
        let quiet = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::ConnectionRefused
            )
        };
        let mut buffer = vec![0; 65_536];
        let len = match self.socket.send(payload.as_bytes()).and_then(|_| self.socket.recv(&mut buffer)) {
            Ok(len) => len,
            Err(error) if quiet(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let answer = String::from_utf8_lossy(&buffer[..len]);
        let (name, echoed) =
            answer.split_once(' ').with_context(|| format!("answer {answer:?} without a name"))?;
        ensure!(echoed == payload, "{name} answered {echoed:?} to {payload:?}");
        Ok(Some(name.to_owned()))
    }
}

/// One datagram on each of `flows` new flows: the servers' names in order, `None` for those without an answer.
pub fn ask_many(
    netns: &NetNs,
    from: Ipv4Addr,
    server: SocketAddrV4,
    flows: usize,
    patience: Duration,
) -> Result<Vec<Option<String>>> {
    (0..flows)
        .map(|number| {
            Flow::new(netns, SocketAddrV4::new(from, 0), server)?.ask(&number.to_string(), patience)
        })
        .collect()
}
