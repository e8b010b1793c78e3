//! A server as a process of its own: the program `lab-server`, or [`Args`] in a subcommand of another.

use std::{
    net::SocketAddrV4,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::Result;
use clap::ValueEnum;
use tokio::sync::mpsc;

use super::{Protocol, door::Door, listen, serve, udp};

/// Run one server of the lab until it is ended.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What it speaks
    #[arg(long, value_enum, default_value_t = Kind::Http)]
    pub kind: Kind,
    /// What it answers
    #[arg(long)]
    pub name: String,
    /// Address and port to listen on
    #[arg(long)]
    pub listen: SocketAddrV4,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    Http,
    Echo,
    Udp,
}

impl Args {
    /// As arguments for such a program.
    #[must_use]
    pub fn to_args(&self) -> [String; 3] {
        let kind = match self.kind {
            Kind::Http => "http",
            Kind::Echo => "echo",
            Kind::Udp => "udp",
        };
        [format!("--kind={kind}"), format!("--name={}", self.name), format!("--listen={}", self.listen)]
    }

    /// Serves until the process is killed.
    pub fn run(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.kind {
                Kind::Http => self.tcp(Protocol::Http).await,
                Kind::Echo => self.tcp(Protocol::Echo).await,
                Kind::Udp => {
                    udp::serve(udp::bind((*self.listen.ip()).into(), self.listen.port())?, &self.name).await
                }
            }
        })
    }

    async fn tcp(&self, protocol: Protocol) -> Result<()> {
        let listener = listen((*self.listen.ip()).into(), self.listen.port())?;
        let (_orders, inbox) = mpsc::unbounded_channel();
        serve(
            protocol,
            Door::new(listener, inbox, Arc::default())?,
            self.name.clone(),
            Arc::new(AtomicBool::new(true)),
        )
        .await
    }
}
