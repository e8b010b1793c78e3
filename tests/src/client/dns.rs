//! DNS by a real server and a real client: dnsmasq and dig.

use std::{
    net::SocketAddrV4,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::lab::{Backend, Lab, NetNs, Process};

/// Debian packages of the two programs.
pub const PACKAGES: [&str; 2] = ["dnsmasq-base", "bind9-dnsutils"];
/// The TXT record that holds the name of the server that answers.
pub const NAME: &str = "name.lab.test";
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts dnsmasq on a backend; it answers [`NAME`] with the backend's name.
pub fn serve(lab: &Lab, backend: &Backend, port: u16) -> Result<Process> {
    let mut command = backend.netns().command("dnsmasq");
    command
        .args([
            "--keep-in-foreground",
            "--log-facility=-",
            "--conf-file=/dev/null",
            "--pid-file",
            "--no-hosts",
            "--no-resolv",
            "--user=root",
        ])
        .arg(format!("--port={port}"))
        .arg(format!("--txt-record={NAME},{}", backend.name()));
    let process = lab
        .spawn(&format!("dnsmasq-{}", backend.name()), command)
        .with_context(|| format!("dnsmasq and dig are needed: apt-get install {}", PACKAGES.join(" ")))?;
    let deadline = Instant::now() + PATIENCE;
    while query(backend.netns(), backend.socket(port), false).is_err() {
        if Instant::now() > deadline || process.exit_status()?.is_some() {
            bail!("dnsmasq does not answer; its output:\n{}", process.log()?);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(process)
}

/// Asks with dig, once, over UDP or TCP: the name of the server that answers.
pub fn query(netns: &NetNs, server: SocketAddrV4, tcp: bool) -> Result<String> {
    let output = netns
        .command("dig")
        .arg(format!("@{}", server.ip()))
        .args([
            "-p",
            &server.port().to_string(),
            "+short",
            "+time=1",
            "+tries=1",
            if tcp { "+tcp" } else { "+notcp" },
        ])
        .args([NAME, "TXT"])
        .output()
        .with_context(|| format!("dig is needed: apt-get install {}", PACKAGES[1]))?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(output.status.success(), "dig: {}: {answer}", output.status);
    Ok(answer.trim_matches('"').to_owned())
}
