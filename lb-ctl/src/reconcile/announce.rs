//! Which frontends lie on which of the host's links, and whether they may be answered for there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::abi::Announced;
use tokio::sync::watch;

use crate::announce::{Announcer, Claim, Claims, Standing, Standings};
use crate::compile;
use crate::config::model::Config;
use crate::neighbours::{Mac, Snapshot};
use crate::state::AnnouncedKey;

/// Answers that the maps have.
type Held = BTreeMap<AnnouncedKey, Announced>;

/// Speaks to the task that asks and tells others.
pub(super) struct Herald {
    announcer: Announcer,
    news: watch::Receiver<Arc<Standings>>,
    claims: Claims,
    /// As of the last look at them.
    standings: Arc<Standings>,
}

impl Herald {
    pub(super) fn new(announcer: Announcer) -> Self {
        let news = announcer.subscribe();
        let standings = Arc::clone(&news.borrow());
        Self { announcer, news, claims: Claims::default(), standings }
    }

    /// Returns when the standings have changed.
    pub(super) async fn news(&mut self) {
        if self.news.changed().await.is_err() {
            // The task has panicked; nothing is heard of it any more.
            std::future::pending::<()>().await;
        }
    }

    /// Claims exactly these addresses. Returned are those that may be answered for, and whose standing has
    /// changed since the last look.
    pub(super) fn claim(
        &mut self,
        addresses: &BTreeMap<AnnouncedKey, Mac>,
        ours: BTreeSet<Mac>,
        held: &Held,
    ) -> Held {
        let claim = |(&key, &hardware): (&AnnouncedKey, &Mac)| {
            let held = held.contains_key(&key);
            (key, Claim { hardware, held })
        };
        let wanted = addresses.iter().map(claim).collect();
        self.tell(Claims { number: self.claims.number, wanted, ours });
        self.standings = Arc::clone(&self.news.borrow_and_update());
        let free = addresses.iter().filter(|(key, _)| self.is_free(key, held));
        free.map(|(&key, &hardware)| (key, Announced::at(hardware))).collect()
    }

    /// Tells which of the claims the maps answer.
    pub(super) fn note_held(&mut self, held: &Held) {
        let mut claims = self.claims.clone();
        for (key, claim) in &mut claims.wanted {
            claim.held = held.contains_key(key);
        }
        self.tell(claims);
    }

    fn tell(&mut self, claims: Claims) {
        if claims != self.claims {
            self.claims = Claims { number: self.claims.number + 1, ..claims };
            self.announcer.claim(self.claims.clone());
        }
    }

    /// What the maps answer for already goes on until it is known that it must not.
    fn is_free(&self, key: &AnnouncedKey, held: &Held) -> bool {
        match self.standing(key) {
            Some(standing) => standing.is_ours(),
            None => held.contains_key(key),
        }
    }

    /// `None` while it is not known how a claim stands: an answer to an earlier question says nothing about
    /// a link that has been down meanwhile.
    pub(super) fn standing(&self, key: &AnnouncedKey) -> Option<Standing> {
        let current = self.standings.number == self.claims.number;
        self.standings.of.get(key).copied().filter(|_| current)
    }

    /// Whether nobody is being asked.
    pub(super) fn is_settled(&self) -> bool {
        let settled = |key| self.standing(key).is_some_and(|standing| standing != Standing::Asking);
        self.claims.wanted.keys().all(settled)
    }

    /// Claims that somebody else has made, too.
    pub(super) fn conflicts(&self) -> BTreeMap<AnnouncedKey, Standing> {
        let all = self.standings.of.iter().map(|(&key, &standing)| (key, standing));
        all.filter(|(_, standing)| standing.other().is_some()).collect()
    }
}

/// The frontends that are to be answered for, on each link that works and whose frames we see, and the
/// hardware address of our interface.
pub(super) fn claims(
    config: &Config,
    snapshot: &Snapshot,
    attached: &BTreeSet<u32>,
) -> BTreeMap<AnnouncedKey, Mac> {
    let wanted = compile::to_be_announced(config).into_iter();
    let of_others = wanted.filter(|address| !snapshot.is_own(*address));
    let links = of_others.flat_map(|address| {
        links_of(address, snapshot).into_iter().map(move |ifindex| AnnouncedKey { ifindex, address })
    });
    let watched = links.filter(|key| attached.contains(&key.ifindex));
    watched.filter_map(|key| Some((key, snapshot.works(key.ifindex)?))).collect()
}

/// The Ethernet links whose network has an address. A route to one address alone says where that is: not
/// here.
pub(super) fn links_of(address: IpAddr, snapshot: &Snapshot) -> BTreeSet<u32> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    let link = |ifindex| snapshot.links.get(&ifindex).filter(|link| link.ethernet);
    let connected = snapshot.on_link().map(|network| (network.ifindex, network.prefix));
    // A link that is set down has no routes.
    let down = snapshot.addresses.iter().filter(|own| link(own.ifindex).is_some_and(|link| !link.up));
    let networks = connected.chain(down.map(|own| (own.ifindex, own.prefix)));
    let around = networks.filter(|(_, prefix)| prefix.length < most && prefix.contains(address));
    around.map(|(ifindex, _)| ifindex).filter(|ifindex| link(*ifindex).is_some()).collect()
}

#[cfg(test)]
mod tests;
