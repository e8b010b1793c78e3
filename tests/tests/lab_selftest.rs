//! The lab without a load balancer: what the other tests stand on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::{fs, path::Path, process::Command, time::{Duration, Instant}};

use lb_tests::{
    client::http,
    counters,
    lab::{self, Lab, Topology},
    server::Server,
};

#[test]
fn the_kernel_forwards_with_full_checksums() {
    let started = Instant::now();
    let lab = Lab::new("self-forward", Topology::default()).unwrap();
    println!("built in {:?}", started.elapsed());
    let servers: Vec<_> = lab.backends().iter().map(|b| Server::http(b.netns(), b.name(), 8080).unwrap()).collect();
    for backend in lab.backends() {
        let started = Instant::now();
        assert_eq!(http::get(lab.client(), backend.socket(8080), "/").unwrap().text(), backend.name());
        println!("answer in {:?}", started.elapsed());
    }
    drop(servers);
    for netns in lab.backends().iter().map(lab::Backend::netns).chain([lab.client(), lab.balancer()]) {
        assert_eq!(counters::checksum_errors(netns).unwrap(), 0, "{}", netns.name());
    }
    let started = Instant::now();
    lab.teardown().unwrap();
    println!("torn down in {:?}", started.elapsed());
    assert!(!Path::new("/run/lb-lab/self-forward").exists());
}
