//! Servers that answer in every way that servers do.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// What a server does with each connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    /// Reads the request, says this, and closes.
    Says(&'static str),
    /// Reads the request, says this, and keeps the connection open.
    SaysAndStays(&'static str),
    /// Says this without waiting for a request, and closes.
    SaysFirst(&'static str),
    /// Says this one byte at a time, 20 ms apart.
    SaysSlowly(&'static str),
    /// Reads the request, waits for 300 ms, says this, and closes.
    SaysLate(&'static str),
    /// Repeats this for ever.
    Repeats(&'static str),
    /// Reads, and never says or closes anything.
    Silent,
    ClosesAtOnce,
    /// Closes with a reset.
    Resets,
    /// Closes with a reset 50 ms after the connection.
    ResetsLate,
    /// Reads the request, says this, and closes with a reset.
    SaysAndResets(&'static str),
}

/// Starts a server and returns its address. It ends with the test's runtime.
pub(crate) async fn start(manner: Manner) -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = address_of(&listener);
    tokio::spawn(serve(listener, manner));
    address
}

pub(crate) async fn serve(listener: TcpListener, manner: Manner) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, manner));
    }
}

pub(crate) fn address_of(listener: &TcpListener) -> SocketAddrV4 {
    match listener.local_addr().unwrap() {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address} is not IPv4"),
    }
}

/// A port that nobody listens on.
pub(crate) async fn closed_port() -> SocketAddrV4 {
    address_of(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
}

/// A listener whose queue is full, so that the kernel leaves a SYN unanswered. Full as long as the
/// connections live.
pub(crate) async fn deaf() -> (SocketAddrV4, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = address_of(&listener);
    let mut connections = Vec::new();
    let patience = Duration::from_millis(300);
    while let Ok(connected) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        connections.push(connected.unwrap());
        assert!(connections.len() < 100, "the listener's queue does not fill");
    }
    (address, listener, connections)
}

/// Errors are the client's doing (it may leave when it has heard enough) and end the connection.
async fn answer(stream: TcpStream, manner: Manner) {
    let _ = try_answer(stream, manner).await;
}

async fn try_answer(mut stream: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut request = [0; 1024];
    match manner {
        Manner::Says(text) => {
            read_request(&mut stream).await?;
            stream.write_all(text.as_bytes()).await?;
        }
        Manner::SaysAndStays(text) => {
            read_request(&mut stream).await?;
            stream.write_all(text.as_bytes()).await?;
            std::future::pending::<()>().await;
        }
        Manner::SaysFirst(text) => stream.write_all(text.as_bytes()).await?,
        Manner::SaysSlowly(text) => {
            for byte in text.bytes() {
                stream.write_u8(byte).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Manner::SaysLate(text) => {
            read_request(&mut stream).await?;
            tokio::time::sleep(Duration::from_millis(300)).await;
            stream.write_all(text.as_bytes()).await?;
        }
        Manner::Repeats(text) => loop {
            stream.write_all(text.as_bytes()).await?;
        },
        Manner::Silent => {
            while stream.read(&mut request).await? > 0 {}
            std::future::pending::<()>().await;
        }
        Manner::ClosesAtOnce => {}
        Manner::Resets => stream.set_zero_linger()?,
        Manner::ResetsLate => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.set_zero_linger()?;
        }
        Manner::SaysAndResets(text) => {
            read_request(&mut stream).await?;
            stream.write_all(text.as_bytes()).await?;
            stream.set_zero_linger()?;
        }
    }
    Ok(())
}

/// Reads up to the end of a request's head, or of the stream.
pub(crate) async fn read_request(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await? > 0 {}
    Ok(String::from_utf8_lossy(&request).into_owned())
}
