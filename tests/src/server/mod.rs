//! Servers that say their name: real sockets, real protocols, and a switch for every way to fail.

mod door;
mod echo;
mod http;
pub mod pattern;
mod process;
mod udp;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, oneshot};

pub use process::{Args, Kind};
pub use udp::UdpServer;

use crate::lab::NetNs;
use door::{Door, Order};

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http,
    Echo,
}

/// A TCP server inside a namespace, on a thread of its own.
pub struct Server {
    netns: NetNs,
    name: String,
    port: u16,
    protocol: Protocol,
    healthy: Arc<AtomicBool>,
    running: Option<Running>,
}

struct Running {
    orders: mpsc::UnboundedSender<Order>,
    /// Set before the end: connections are reset then, not closed.
    reset: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    /// Changes the listener and waits until that is done.
    fn order(&self, listener: Option<TcpListener>) -> Result<()> {
        let (done, wait) = std::sync::mpsc::channel();
        self.orders.send(Order { listener, done }).context("the server's thread has ended")?;
        wait.recv().context("the server's thread has ended")
    }
}

impl Server {
    /// HTTP/1.1: `GET /` answers the name, `GET /healthz` 200 or 503, `GET /download?bytes=N[&rate=BYTES_PER_SECOND]`
    /// the [`pattern`], `PUT /sink` the SHA-256 of what was sent.
    pub fn http(netns: &NetNs, name: &str, port: u16) -> Result<Self> {
        Self::new(netns, name, port, Protocol::Http)
    }

    /// Lines: `TEXT` is answered by `NAME TEXT`; `download LINES MILLISECONDS` by as many lines `NAME 0`, `NAME 1`, ...
    /// at that interval, and then the end, also when the client has shut down its side; `quit` closes.
    pub fn echo(netns: &NetNs, name: &str, port: u16) -> Result<Self> {
        Self::new(netns, name, port, Protocol::Echo)
    }

    fn new(netns: &NetNs, name: &str, port: u16, protocol: Protocol) -> Result<Self> {
        let healthy = Arc::new(AtomicBool::new(true));
        let mut server =
            Self { netns: netns.clone(), name: name.into(), port, protocol, healthy, running: None };
        server.start()?;
        Ok(server)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `/healthz` answers.
    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// Starts after [`Server::stop`], listens again after [`Server::pause`].
    pub fn start(&mut self) -> Result<()> {
        let listener = self
            .netns
            .run(|| listen(everywhere()?, self.port))
            .with_context(|| format!("start {}", self.name))?;
        if let Some(running) = &self.running {
            return running.order(Some(listener));
        }
        self.running = Some(self.launch(listener)?);
        Ok(())
    }

    /// Closes the listening socket; connections go on.
    pub fn pause(&self) -> Result<()> {
        self.running.as_ref().map_or(Ok(()), |running| running.order(None))
    }

    /// Closes the listening socket and resets every connection, as the kernel does for a killed process with unread data.
    pub fn stop(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        running.reset.store(true, Ordering::Relaxed);
        // The thread may have ended with an error, which join() has.
        let _ = running.stop.send(());
        match running.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn launch(&self, listener: TcpListener) -> Result<Running> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let reset = Arc::new(AtomicBool::new(false));
        let (name, healthy, protocol, resets) =
            (self.name.clone(), self.healthy.clone(), self.protocol, reset.clone());
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let door = Door::new(listener, inbox, resets)?;
                tokio::select! {
                    result = serve(protocol, door, name, healthy) => result,
                    _ = stopped => Ok(()),
                }
            })
            // The runtime ends here and drops every connection.
        })?;
        Ok(Running { orders, reset, stop, thread })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("server {}: {error:#}", self.name);
        }
    }
}

async fn serve(protocol: Protocol, door: Door, name: String, healthy: Arc<AtomicBool>) -> Result<()> {
    match protocol {
        Protocol::Http => http::serve(door, &name, healthy).await,
        Protocol::Echo => echo::serve(door, &name).await,
    }
}

/// The address that stands for all of this namespace, of both families in a dual-stack lab.
fn everywhere() -> io::Result<IpAddr> {
    match std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6") {
        Ok(disabled) if disabled.trim() == "0" => Ok(Ipv6Addr::UNSPECIFIED.into()),
        Ok(_) => Ok(Ipv4Addr::UNSPECIFIED.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ipv4Addr::UNSPECIFIED.into()),
        Err(error) => Err(error),
    }
}

/// The standard library sets `SO_REUSEADDR`, so that a restart meets no `TIME_WAIT`, but a backlog of 128 only.
fn listen(address: IpAddr, port: u16) -> Result<TcpListener> {
    const BACKLOG: i32 = 4096;
    let bound = || -> io::Result<TcpListener> {
        let listener = TcpListener::bind((address, port))?;
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(BACKLOG)?)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bound().with_context(|| format!("listen on {address} port {port}"))
}
