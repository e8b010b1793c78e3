//! A connection to the line server that a test holds in its hand.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, SocketAddrV4, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};

use crate::lab::NetNs;

/// Open until it is dropped.
pub struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    /// From `local` (port 0: any). A failure is an [`io::Error`] whose kind says how the other side refused.
    pub fn open(
        netns: &NetNs,
        local: impl Into<SocketAddr>,
        server: impl Into<SocketAddr>,
        patience: Duration,
    ) -> Result<Self> {
        let (local, server) = (local.into(), server.into());
        let stream = netns
            .run(|| Ok(dial(local, server, patience)?))
            .with_context(|| format!("{local} to {server}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a line; the name of the server that sends it back.
    pub fn ask(&mut self, text: &str, patience: Duration) -> Result<String> {
        self.stream.get_ref().set_read_timeout(Some(patience))?;
        self.stream.get_mut().write_all(format!("{text}\n").as_bytes())?;
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line).context("no answer")? > 0, "closed by the server");
        let (name, echoed) = line.trim_end().split_once(' ').with_context(|| format!("answer {line:?}"))?;
        ensure!(echoed == text, "{name} answered {echoed:?} to {text:?}");
        Ok(name.to_owned())
    }

    /// Our end.
    pub fn local(&self) -> Result<SocketAddrV4> {
        match self.stream.get_ref().local_addr()? {
            SocketAddr::V4(local) => Ok(local),
            SocketAddr::V6(local) => anyhow::bail!("{local} is not IPv4"),
        }
    }
}

/// Binds before it connects, and gives up after `patience`, which Linux takes from the send timeout.
fn dial(local: SocketAddr, server: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &(local.port() == 0))?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(local))?;
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(patience))?;
    match connect(std::os::fd::AsRawFd::as_raw_fd(&stream), &SockaddrStorage::from(server)) {
        Ok(()) => Ok(stream),
        Err(nix::errno::Errno::EINPROGRESS | nix::errno::Errno::EAGAIN) => {
            Err(io::ErrorKind::TimedOut.into())
        }
        Err(error) => Err(error.into()),
    }
}
