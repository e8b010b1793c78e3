//! The demonstration behind `cargo xtask run`: each step makes a claim and checks it.

mod interrupt;

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::client::http::{self, Download};
use crate::instance::{Instance, lbctl_status};
use crate::lab::{Backend, FRONTEND, Lab, Process, Topology};
use crate::server::{Args, Kind};

pub use interrupt::stop_on_signals;

const WEB: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 80);
const REQUESTS: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(20);
/// Slow enough to be open for as long as the demonstration needs it.
const DOWNLOAD: u64 = 6 << 20;
const DOWNLOAD_RATE: u64 = 512 << 10;

/// A lab with servers and a running `lbctl serve`.
pub struct Demo {
    /// They end when dropped.
    servers: BTreeMap<String, Process>,
    daemon: Instance,
    lab: Lab,
}

impl Demo {
    /// Builds the lab and starts everything in it.
    pub fn start(lbctl: &Path, config: &Path) -> Result<Self> {
        println!("lab: a client, a balancer and three backends, each in a network namespace");
        let lab = Lab::new("run", Topology::default())?;
        let mut servers = BTreeMap::new();
        for backend in lab.backends() {
            servers.insert(backend.name().to_owned(), serve(&lab, backend)?);
        }
        println!("starting lbctl serve with {}", shown(config).display());
        let daemon = Instance::start(&lab, lbctl, Some(config))?;
        Ok(Self { servers, daemon, lab })
    }

    /// Makes all claims, one after the other.
    pub fn show(&mut self) -> Result<()> {
        self.wait_for("b1 b2 b3", "three members up", |states| states.values().all(|state| state == "up"))?;
        self.spread()?;
        let revived = self.survive_a_backend()?;
        self.servers.insert("revived".to_owned(), revived);
        self.survive_the_daemon()?;
        println!("\nevery claim held");
        Ok(())
    }

    fn spread(&self) -> Result<()> {
        println!("\n{REQUESTS} requests to http://{WEB}/, each on a new connection:");
        let answers = http::distribution(self.lab.client(), WEB, REQUESTS as usize)?;
        draw(&answers);
        let fair = f64::from(REQUESTS) / 3.0;
        let deviation = (fair * 2.0 / 3.0).sqrt();
        let near =
            |count: usize| (f64::from(u32::try_from(count).unwrap_or(0)) - fair).abs() < 5.0 * deviation;
        let even = answers.len() == 3 && answers.values().all(|&count| near(count));
        claim(even, "spread over all three, within five standard deviations of a third each")
    }

    fn survive_a_backend(&self) -> Result<Process> {
        let download = Download::start(self.lab.client(), WEB, DOWNLOAD, Some(DOWNLOAD_RATE))?;
        let victim = self.lab.backends().iter().map(Backend::name).find(|name| *name != download.served_by());
        let victim = victim.context("no backend without the download")?.to_owned();
        println!("\na download is open on {}; now {victim} is killed", download.served_by());
        self.servers[&victim].kill()?;
        let begun = Instant::now();
        self.wait_for(&victim, "its probe fails", |states| states[&victim] == "down")?;
        println!("  down after {:.1} s: {}", begun.elapsed().as_secs_f64(), self.reason(&victim)?);
        let answers = http::distribution(self.lab.client(), WEB, 300)?;
        draw(&answers);
        claim(
            answers.len() == 2 && !answers.contains_key(&victim),
            "300 new requests, all answered, none by it",
        )?;
        claim(download.is_running(), "the download goes on meanwhile")?;

        println!("\n{victim} is started again");
        let backend = self.lab.backends().iter().find(|backend| backend.name() == victim);
        let revived = serve(&self.lab, backend.context("the backend is gone")?)?;
        self.wait_for(&victim, "its probe succeeds", |states| states[&victim] == "up")?;
        let answers = http::distribution(self.lab.client(), WEB, 300)?;
        draw(&answers);
        claim(answers.contains_key(&victim), "new requests reach it again")?;
        let received = download.received();
        download.finish()?;
        println!("  {received} of {DOWNLOAD} bytes were here by then");
        claim(true, "the download ended with every byte right")?;
        Ok(revived)
    }

    fn survive_the_daemon(&self) -> Result<()> {
        println!("\nlbctl serve is killed (SIGKILL)");
        self.daemon.kill()?;
        let answers = http::distribution(self.lab.client(), WEB, 300)?;
        claim(answers.values().sum::<usize>() == 300, "300 requests without a daemon, all answered")?;
        self.daemon.restart(&self.lab)?;
        self.wait_for("b1 b2 b3", "three members up", |states| states.values().all(|state| state == "up"))?;
        claim(true, "a new daemon took over what is pinned")
    }

    /// Tells how to look around, and waits for a signal.
    pub fn stay(&self) -> Result<()> {
        println!("\nit goes on until Ctrl-C; from another terminal:");
        println!(
            "  {} --socket {} status --watch",
            self.daemon.lbctl().display(),
            self.daemon.socket().display()
        );
        println!("  nsenter --net={} curl http://{WEB}/", self.lab.client().path().display());
        while !interrupt::wanted() {
            std::thread::sleep(Duration::from_millis(100));
        }
        println!();
        Ok(())
    }

    /// Takes everything down.
    pub fn end(self) -> Result<()> {
        self.daemon.stop()?;
        self.lab.teardown()?;
        println!("the lab is gone");
        Ok(())
    }

    fn wait_for(
        &self,
        who: &str,
        what: &str,
        holds: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            interrupt::check()?;
            let states = self.daemon.states();
            if states.as_ref().is_ok_and(&holds) {
                println!("  {who}: {what}");
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{who}: not {what} within {PATIENCE:?}: {states:?}\nthe daemon says:\n{}",
                self.daemon.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn reason(&self, member: &str) -> Result<String> {
        let status = lbctl_status(self.daemon.lbctl(), self.daemon.socket())?;
        let members = status["members"].as_array().context("status without members")?;
        let found = members.iter().find(|candidate| candidate["name"] == member);
        Ok(found.and_then(|found| found["reason"].as_str()).unwrap_or("no reason").to_owned())
    }
}

fn serve(lab: &Lab, backend: &Backend) -> Result<Process> {
    let args = Args { kind: Kind::Http, name: backend.name().to_owned(), listen: backend.socket(8080) };
    let mut command = backend.netns().command(sibling("lab-server")?);
    command.args(args.to_args());
    lab.spawn(backend.name(), command)
}

/// A path as seen from where the command was called.
fn shown(path: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}

/// A program that was built beside this one.
fn sibling(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot tell where this program lies")?;
    Ok(here.with_file_name(name))
}

fn draw(answers: &BTreeMap<String, usize>) {
    let total: usize = answers.values().sum();
    for (name, count) in answers {
        println!("  {name} {count:>5}  {}", "#".repeat(count * 60 / total.max(1)));
    }
}

fn claim(holds: bool, what: &str) -> Result<()> {
    ensure!(holds, "claim does not hold: {what}");
    interrupt::check()?;
    println!("  ok: {what}");
    Ok(())
}
