//! The task: hears, asks and tells.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{debug, warn};

use super::groups::Groups;
use super::machine::{Deed, Machine};
use super::socket::{ETH_P_ARP, ETH_P_IPV6, PacketSocket};
use super::wire::{self, Says};
use super::{Claims, Error, Mac, Standings};
use crate::state::AnnouncedKey;

/// A socket that fails is left alone for this long.
const PAUSE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_mins(1);

pub(super) struct Actor {
    claims: watch::Receiver<Claims>,
    standings: watch::Sender<Arc<Standings>>,
    arp: PacketSocket,
    ipv6: PacketSocket,
    groups: Groups,
    machine: Machine,
    deaf_until: Option<Instant>,
}

impl Actor {
    pub(super) fn open(
        claims: watch::Receiver<Claims>,
    ) -> Result<(Self, watch::Receiver<Arc<Standings>>), Error> {
        let (standings, reader) = watch::channel(Arc::default());
        let groups = Groups::open();
        let actor = Self {
            claims,
            standings,
            arp: PacketSocket::open(ETH_P_ARP)?,
            ipv6: PacketSocket::open(ETH_P_IPV6)?,
            groups: groups.map_err(|source| Error { doing: "open an rtnetlink socket", source })?,
            machine: Machine::default(),
            deaf_until: None,
        };
        Ok((actor, reader))
    }

    pub(super) async fn run(mut self) {
        let mut wake = Instant::now() + IDLE;
        loop {
            let concerns_us = tokio::select! {
                changed = self.claims.changed() => match changed {
                    Ok(()) => {
                        let claims = self.claims.borrow_and_update().clone();
                        self.machine.claim(claims, Instant::now());
                        true
                    }
                    Err(_) => return,
                },
                heard = self.arp.receive(), if self.deaf_until.is_none() => self.hear(heard),
                heard = self.ipv6.receive(), if self.deaf_until.is_none() => self.hear(heard),
                () = tokio::time::sleep_until(wake.into()) => true,
            };
            // A link may be full of talk about others.
            if concerns_us {
                wake = self.go_on().await;
            }
        }
    }

    /// Does what is due; when to come back.
    async fn go_on(&mut self) -> Instant {
        for deed in self.machine.take_due(Instant::now()) {
            self.carry_out(deed).await;
        }
        self.publish();
        let now = Instant::now();
        self.deaf_until = self.deaf_until.filter(|until| now < *until);
        let next = [self.machine.next(), self.deaf_until].into_iter().flatten().min();
        next.unwrap_or(now + IDLE)
    }

    fn hear(&mut self, received: io::Result<(u32, Vec<u8>)>) -> bool {
        match received {
            Ok((ifindex, frame)) => {
                wire::read(&frame).is_some_and(|heard| self.machine.hear(ifindex, heard, Instant::now()))
            }
            Err(error) => {
                warn!("what others say of frontends is not heard, trying again in a second: {error}");
                self.deaf_until = Some(Instant::now() + PAUSE);
                true
            }
        }
    }

    async fn carry_out(&self, deed: Deed) {
        match deed {
            Deed::Say(says, key, hardware) => self.say(says, key, hardware),
            Deed::Join(key) => {
                if let Err(error) = self.groups.join(key).await {
                    let address = key.address;
                    warn!(%address, "the kernel does not join the group in which this is asked for: {error}");
                }
            }
            Deed::Leave(key) => {
                if let Err(error) = self.groups.leave(key).await {
                    let address = key.address;
                    warn!(%address, "the kernel stays in the group in which this was asked for: {error}");
                }
            }
        }
    }

    /// A link may go down at any moment: its claims go as well, and come again with it.
    fn say(&self, says: Says, key: AnnouncedKey, hardware: Mac) {
        let socket = if key.address.is_ipv4() { &self.arp } else { &self.ipv6 };
        let (address, ifindex) = (key.address, key.ifindex);
        match socket.send(ifindex, &wire::frame(says, address, hardware)) {
            Ok(()) => debug!(%address, ifindex, ?says, "said"),
            Err(error) => debug!(%address, ifindex, ?says, "not said: {error}"),
        }
    }

    fn publish(&self) {
        let standings = self.machine.standings();
        self.standings.send_if_modified(|published| {
            let changed = **published != standings;
            if changed {
                *published = Arc::new(standings);
            }
            changed
        });
    }
}
