//! UDP echo: `NAME PAYLOAD` for every datagram.

use std::{
    net::{IpAddr, UdpSocket},
    thread::JoinHandle,
};

use anyhow::{Context as _, Result};
use tokio::sync::oneshot;

use crate::lab::NetNs;

const LARGEST_DATAGRAM: usize = 65_535;

pub struct UdpServer {
    netns: NetNs,
    name: String,
    port: u16,
    running: Option<(oneshot::Sender<()>, JoinHandle<Result<()>>)>,
}

impl UdpServer {
    pub fn new(netns: &NetNs, name: &str, port: u16) -> Result<Self> {
        let mut server = Self { netns: netns.clone(), name: name.into(), port, running: None };
        server.start()?;
        Ok(server)
    }

    pub fn start(&mut self) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let socket = self.netns.run(|| bind(super::everywhere()?, self.port))?;
        let (stop, stopped) = oneshot::channel();
        let name = self.name.clone();
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    result = serve(socket, &name) => result,
                    _ = stopped => Ok(()),
                }
            })
        })?;
        self.running = Some((stop, thread));
        Ok(())
    }

    /// Closes the socket: the kernel answers "port unreachable".
    pub fn stop(&mut self) -> Result<()> {
        let Some((stop, thread)) = self.running.take() else {
            return Ok(());
        };
        // The thread may have ended with an error, which join() has.
        let _ = stop.send(());
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("server {}: {error:#}", self.name);
        }
    }
}

pub(super) fn bind(address: IpAddr, port: u16) -> Result<UdpSocket> {
    let socket =
        UdpSocket::bind((address, port)).with_context(|| format!("bind UDP {address} port {port}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub(super) async fn serve(socket: UdpSocket, name: &str) -> Result<()> {
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        // An error here is an ICMP message about an earlier answer; the next datagram is none the worse.
        let Ok((len, peer)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let answer = [name.as_bytes(), b" ", &buffer[..len]].concat();
        if let Err(error) = socket.send_to(&answer, peer).await {
            eprintln!("server {name}: answer {peer}: {error}");
        }
    }
}
