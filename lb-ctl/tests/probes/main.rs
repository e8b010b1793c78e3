//! Probes of real servers on the loopback interface.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod load;
mod prober;
mod rows;
mod servers;

use std::net::SocketAddrV4;
use std::time::Duration;

use lb_ctl::config::model::Check;
use lb_ctl::health::ProbeKey;

fn tcp_key(address: SocketAddrV4) -> ProbeKey {
    ProbeKey {
        address: (*address.ip()).into(),
        check: Check::Tcp,
        port: address.port(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        threshold: 2,
    }
}

fn http_key(address: SocketAddrV4) -> ProbeKey {
    ProbeKey { check: Check::Http { path: "/healthz".into() }, ..tcp_key(address) }
}
