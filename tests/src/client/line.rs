//! A connection to the line server, and the ways in which it can fail.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Why a connection is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It could not be opened.
    NotOpened(String),
    /// Nothing came in this time.
    NoAnswer(Duration),
    /// It ended with an error of the socket, `ECONNRESET` for one.
    Broken(String),
    /// The server's side ended too early.
    Ended,
    /// Another server answered.
    OtherServer { before: String, now: String },
    /// The answer is not that of the request.
    WrongAnswer(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpened(why) => write!(f, "not opened: {why}"),
            Self::NoAnswer(time) => write!(f, "no answer in {time:?}"),
            Self::Broken(why) => write!(f, "broken: {why}"),
            Self::Ended => write!(f, "ended by the server"),
            Self::OtherServer { before, now } => write!(f, "answered by {now}, before by {before}"),
            Self::WrongAnswer(answer) => write!(f, "wrong answer {answer:?}"),
        }
    }
}

/// A connection whose every answer must name the same server.
pub(super) struct Line {
    stream: BufReader<TcpStream>,
    local: SocketAddrV4,
    patience: Duration,
    server: Option<String>,
    buffer: String,
}

impl Line {
    /// From `local` (port 0: any), even when that port has just been used.
    pub(super) async fn open(
        local: SocketAddrV4,
        server: SocketAddrV4,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let not_opened = |error: io::Error| Fault::NotOpened(error.to_string());
        let stream = match timeout(patience, connect(local, server)).await {
            Ok(stream) => stream.map_err(not_opened)?,
            Err(_) => return Err(Fault::NotOpened(format!("no connection in {patience:?}"))),
        };
        stream.set_nodelay(true).map_err(not_opened)?;
        let local = match stream.local_addr().map_err(not_opened)? {
            SocketAddr::V4(local) => local,
            SocketAddr::V6(_) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        };
        Ok(Self { stream: BufReader::new(stream), local, patience, server: None, buffer: String::new() })
    }

    pub(super) fn local(&self) -> SocketAddrV4 {
        self.local
    }

    /// The server that has answered so far.
    pub(super) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Sends `request` and expects it back from the server of before.
    pub(super) async fn exchange(&mut self, request: &str) -> Result<(), Fault> {
        self.send(request).await?;
        self.expect(request).await
    }

    pub(super) async fn send(&mut self, request: &str) -> Result<(), Fault> {
        self.stream.get_mut().write_all(format!("{request}\n").as_bytes()).await.map_err(broken)
    }

    /// Takes the next line, which must be this.
    pub(super) async fn expect(&mut self, answer: &str) -> Result<(), Fault> {
        if !self.receive().await? {
            return Err(Fault::Ended);
        }
        if self.answer() == Some(answer) { Ok(()) } else { Err(Fault::WrongAnswer(self.buffer.clone())) }
    }

    /// Takes the end of the server's side, and nothing before it.
    pub(super) async fn expect_end(&mut self) -> Result<(), Fault> {
        if self.receive().await? { Err(Fault::WrongAnswer(self.buffer.clone())) } else { Ok(()) }
    }

    /// Takes the next line; `false` when the server has ended its side.
    async fn receive(&mut self) -> Result<bool, Fault> {
        self.buffer.clear();
        let read = timeout(self.patience, self.stream.read_line(&mut self.buffer));
        if read.await.map_err(|_| Fault::NoAnswer(self.patience))?.map_err(broken)? == 0 {
            return Ok(false);
        }
        let now = self.buffer.split(' ').next().unwrap_or_default();
        match &self.server {
            None => self.server = Some(now.to_owned()),
            Some(before) if before == now => {}
            Some(before) => {
                return Err(Fault::OtherServer { before: before.clone(), now: now.to_owned() });
            }
        }
        Ok(true)
    }

    /// The line of before, without the server's name.
    fn answer(&self) -> Option<&str> {
        Some(self.buffer.strip_suffix('\n')?.split_once(' ')?.1)
    }

    /// Ends our side; the server's goes on.
    pub(super) async fn half_close(&mut self) -> Result<(), Fault> {
        self.stream.get_mut().shutdown().await.map_err(broken)
    }

    /// The server closes first: its kernel keeps `TIME_WAIT`, ours forgets, and the port is free at once.
    pub(super) async fn quit(mut self) -> Result<(), Fault> {
        self.send("quit").await?;
        self.expect_end().await
    }

    /// Closes with a reset: no `TIME_WAIT` on either side.
    pub(super) fn reset(self) -> Result<(), Fault> {
        self.stream.get_ref().set_zero_linger().map_err(broken)
    }
}

/// Connects once our own kernel lets it: it holds a port back until the server has acknowledged
/// the FIN of the connection before (`LAST_ACK`), which takes a round trip.
async fn connect(local: SocketAddrV4, server: SocketAddrV4) -> io::Result<TcpStream> {
    loop {
        match try_connect(local, server).await {
            Err(error) if local.port() != 0 && error.kind() == io::ErrorKind::AddrNotAvailable => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            result => return result,
        }
    }
}

async fn try_connect(local: SocketAddrV4, server: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if local.port() == 0 {
        // Only then the whole range of ports is there for each destination.
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(local.into())?;
    socket.connect(server.into()).await
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn broken(error: io::Error) -> Fault {
    Fault::Broken(error.to_string())
}
