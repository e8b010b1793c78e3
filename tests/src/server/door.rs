//! Accepting connections, with a switch for the listener and one for how connections end.

use std::{
    future::pending,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// What the door shall listen with from now on.
pub(super) struct Order {
    /// `None` closes it.
    pub(super) listener: Option<std::net::TcpListener>,
    /// Told when the listener of before has been closed: only then its port is free.
    pub(super) done: std::sync::mpsc::Sender<()>,
}

/// Where connections come in.
pub(super) struct Door {
    orders: mpsc::UnboundedReceiver<Order>,
    listener: Option<TcpListener>,
    reset: Arc<AtomicBool>,
}

impl Door {
    /// Must be called in a tokio runtime, as the first listener is registered there.
    pub(super) fn new(
        listener: std::net::TcpListener,
        orders: mpsc::UnboundedReceiver<Order>,
        reset: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        Ok(Self { orders, listener: Some(TcpListener::from_std(listener)?), reset })
    }

    /// The next visitor; errors of single connections and a lack of descriptors do not end a server.
    pub(super) async fn next(&mut self) -> (Visitor, SocketAddr) {
        loop {
            tokio::select! {
                Some(order) = self.orders.recv() => {
                    self.listener = order.listener.and_then(|listener| {
                        TcpListener::from_std(listener).inspect_err(|error| eprintln!("server: {error}")).ok()
                    });
                    // Whoever gave the order may have gone.
                    let _ = order.done.send(());
                }
                accepted = accept(self.listener.as_ref()) => match accepted {
                    Ok((stream, peer)) => return (Visitor { stream, reset: self.reset.clone() }, peer),
                    Err(error) => {
                        eprintln!("server: accept: {error}");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                },
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => {
            let (stream, peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((stream, peer))
        }
        None => pending().await,
    }
}

impl axum::serve::Listener for Door {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        self.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.as_ref().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }
}

/// A connection that is reset instead of closed when its server has been stopped.
pub(super) struct Visitor {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed)
            && let Err(error) = self.stream.set_zero_linger()
        {
            eprintln!("server: reset a connection: {error}");
        }
    }
}

impl AsyncRead for Visitor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
