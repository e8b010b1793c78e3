//! The real data plane: maps, program and links in the kernel, pinned so that they outlive the daemon.
//!
//! This is the only module that names `aya`.

mod clock;
mod error;
mod family;
mod layout;
mod links;
mod pins;
mod plain;
mod quiesce;
mod ranges;
mod sys;
mod tables;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use aya::maps::ProgramArray;
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::{FlowWord, Root, RuleStats, map};
use lb_common::pipeline::Stage;
use lb_common::tables::Tier;
use lb_common::units::MemberId;

use self::pins::{Found, Pins};
use self::tables::Tables;
use super::{Attachment, Change, Counters, Dataplane, Error, FlowTable, Limits, fresh};
use crate::config::model::XdpMode;
use crate::state::{AnnouncedKey, FlowKey, MapState, Translation};

/// Sees each frame.
const INGRESS: &str = "lb_ingress";
/// The program of a stage.
const fn program_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Ipv6 => "lb_ipv6",
        Stage::Icmp => "lb_icmp",
        Stage::Icmp6 => "lb_icmp6",
        Stage::TooBig => "lb_too_big",
        Stage::TooBig6 => "lb_too_big6",
        Stage::Tracked => "lb_tracked",
        Stage::Tracked6 => "lb_tracked6",
        Stage::Again => "lb_again",
        Stage::Again6 => "lb_again6",
        Stage::Enter => "lb_enter",
        Stage::Enter6 => "lb_enter6",
        Stage::Arp => "lb_arp",
        Stage::Neighbour => "lb_neighbour",
        Stage::Wide => "lb_wide",
        Stage::Wide6 => "lb_wide6",
    }
}
/// Tells the time.
const CLOCK: &str = "lb_clock";

/// Where the data plane is pinned, and how large it should be.
#[derive(Debug, Clone)]
pub struct Options {
    /// A folder of this instance alone, in bpffs.
    pub pin_dir: PathBuf,
    /// Room in the maps, if they have to be made.
    pub sizes: Limits,
}

/// What was found at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Takeover {
    /// Whether maps of an earlier daemon go on.
    pub taken_over: bool,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// Maps, program and links in the kernel. Dropping it changes nothing there.
pub struct Bpf {
    ebpf: Ebpf,
    tables: Tables,
    pins: Pins,
    limits: Limits,
    hz: u32,
}

impl Bpf {
    /// Takes over what is pinned, or makes it.
    ///
    /// Pinned links run this binary's program afterwards, and no packet passes without one of the two.
    pub fn open(options: &Options) -> Result<(Self, Takeover), Error> {
        let pins = Pins::new(&options.pin_dir);
        match pins.found()? {
            Found::All => Self::take_over(&pins, &options.sizes),
            Found::Half => {
                remove(&pins)?;
                let (bpf, mut takeover) = Self::create(&pins, &options.sizes)?;
                takeover.notes.push("removed what a start that was interrupted had left".to_owned());
                Ok((bpf, takeover))
            }
            Found::Nothing => Self::create(&pins, &options.sizes),
        }
    }

    /// IPv6 frontends that what is pinned answers for.
    #[must_use]
    pub fn announced6(pin_dir: &Path) -> Vec<AnnouncedKey> {
        Tables::announced6(&Pins::new(pin_dir).maps())
    }

    /// Removes links, program and maps: the interfaces are as if there had been no load balancer.
    pub fn remove(pin_dir: &Path) -> Result<(), Error> {
        remove(&Pins::new(pin_dir))
    }

    fn create(pins: &Pins, sizes: &Limits) -> Result<(Self, Takeover), Error> {
        pins.create()?;
        let made = Self::load(pins, sizes).and_then(|mut bpf| {
            bpf.tables.write(&Change::Root(fresh_root(bpf.hz)?))?;
            bpf.publish()?;
            Ok(bpf)
        });
        match made {
            Ok(bpf) => Ok((bpf, Takeover::default())),
            Err(error) => {
                if let Err(also) = remove(pins) {
                    tracing::warn!(%also, "the pins of a failed start stay; the next one removes them");
                }
                Err(error)
            }
        }
    }

    fn take_over(pins: &Pins, sizes: &Limits) -> Result<(Self, Takeover), Error> {
        layout::check_version(&pins.maps())?;
        let (limits, mut notes) = layout::check_shapes(&pins.maps(), sizes)?;
        let mut bpf = Self::load(pins, &limits)?;
        let program = program(&mut bpf.ebpf, INGRESS)?;
        notes.extend(links::replace(program, pins)?);
        bpf.publish()?;
        Ok((bpf, Takeover { taken_over: true, notes }))
    }

    /// Loads all programs; maps that are not pinned yet are made and pinned.
    fn load(pins: &Pins, limits: &Limits) -> Result<Self, Error> {
        let mut loader = EbpfLoader::new();
        for shape in layout::shapes(limits) {
            loader.map_max_entries(shape.name, shape.entries).map_pin_path(shape.name, pins.map(shape.name));
        }
        let mut ebpf = loader.load(object()?).map_err(|cause| error::load(&cause))?;
        for name in [INGRESS, CLOCK] {
            program(&mut ebpf, name)?.load().map_err(|cause| error::verifier(name, &cause))?;
        }
        load_stages(&mut ebpf)?;
        let tables = Tables::open(&pins.maps())?;
        Ok(Self { ebpf, tables, pins: pins.clone(), limits: *limits, hz: clock::hz()? })
    }

    /// Pins the program, in place of an earlier one: from now on the pins are complete.
    fn publish(&mut self) -> Result<(), Error> {
        let (next, place) = (self.pins.next_program(), self.pins.program());
        let trouble = |cause: &(dyn std::error::Error + 'static)| {
            error::setup(format!("cannot pin the program at {}", place.display()), cause, "see what is there")
        };
        match fs::remove_file(&next) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(trouble(&cause)),
            _ => {}
        }
        program(&mut self.ebpf, INGRESS)?.pin(&next).map_err(|cause| trouble(&cause))?;
        fs::rename(&next, &place).map_err(|cause| trouble(&cause))
    }
}

/// Links first: without them no packet needs the rest, and a kill in between leaves what can be taken over.
fn remove(pins: &Pins) -> Result<(), Error> {
    links::detach_all(pins)?;
    pins.remove()
}

/// The object that this binary was built around.
pub fn object() -> Result<&'static [u8], Error> {
    static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb-ebpf"));
    if OBJECT.is_empty() {
        return Err(Error::Setup {
            what: "there is nothing to load".to_owned(),
            cause: "this lbctl was built without its eBPF program".to_owned(),
            cure: "build it with `cargo xtask build`".to_owned(),
        });
    }
    Ok(OBJECT)
}

/// Loads the programs that the first one goes on in, and tells it where they are.
pub fn load_stages(ebpf: &mut Ebpf) -> Result<(), Error> {
    for &stage in Stage::ALL {
        let name = program_of(stage);
        let program = program(ebpf, name)?;
        program.load().map_err(|cause| error::verifier(name, &cause))?;
        let descriptor = program.fd().and_then(|fd| Ok(fd.try_clone()?));
        let descriptor = descriptor.map_err(|cause| error::verifier(name, &cause))?;
        let stages = ebpf.map_mut(map::STAGES).ok_or_else(|| absent(map::STAGES))?;
        ProgramArray::try_from(stages)
            .and_then(|mut stages| stages.set(stage as u32, &descriptor, 0))
            .map_err(|cause| error::map(map::STAGES, format_args!("cannot enter {name}"), &cause))?;
    }
    Ok(())
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp, Error> {
    ebpf.program_mut(name)
        .ok_or_else(|| absent(name))
        .and_then(|program| program.try_into().map_err(|cause: ProgramError| error::verifier(name, &cause)))
}

fn absent(what: &str) -> Error {
    Error::Setup {
        what: format!("the eBPF object has no {what}"),
        cause: "it is not of this version".to_owned(),
        cure: "build both with `cargo xtask build`".to_owned(),
    }
}

fn fresh_root(hz: u32) -> Result<Root, Error> {
    let mut key = [[0; 8]; 2];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(key.as_flattened_mut()))
        .map_err(|cause| error::setup("cannot read /dev/urandom", &cause, "the hash key comes from there"))?;
    Ok(fresh::root(key.map(u64::from_ne_bytes), hz))
}

impl Dataplane for Bpf {
    fn read(&self) -> Result<MapState, Error> {
        self.tables.read()
    }

    fn write(&mut self, change: &Change) -> Result<(), Error> {
        self.tables.write(change)
    }

    fn quiesce(&self) {
        quiesce::quiesce();
    }

    fn flows(&self, table: FlowTable, visit: &mut dyn FnMut(&FlowKey, FlowWord)) -> Result<(), Error> {
        self.tables.flows(table, visit)
    }

    fn forget(&mut self, table: FlowTable, key: &FlowKey, seen: FlowWord) -> Result<(), Error> {
        self.tables.forget(table, key, seen)
    }

    fn tracked(
        &self,
        tier: Tier,
        visit: &mut dyn FnMut(&FlowKey, FlowWord, &Translation),
    ) -> Result<(), Error> {
        self.tables.tracked(tier, visit)
    }

    fn untrack(&mut self, tier: Tier, key: &FlowKey, seen: FlowWord) -> Result<(), Error> {
        self.tables.untrack(tier, key, seen)
    }

    fn counters(&self) -> Result<Counters, Error> {
        self.tables.counters()
    }

    fn rule_stats(&self, stats: u32) -> Result<RuleStats, Error> {
        self.tables.rule_stats(stats)
    }

    fn member_opened(&self, member: MemberId) -> Result<u64, Error> {
        self.tables.member_opened(member)
    }

    fn clock(&self) -> Result<(u64, u32), Error> {
        let program = self.ebpf.program(CLOCK).ok_or_else(|| absent(CLOCK))?;
        let program = program.try_into().map_err(|cause: ProgramError| Error::Clock(error::chain(&cause)))?;
        Ok((clock::jiffies(program)?, self.hz))
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn attach(&mut self, ifindex: u32, mode: XdpMode) -> Result<Attachment, Error> {
        links::attach(program(&mut self.ebpf, INGRESS)?, &self.pins, ifindex, mode)
    }

    fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        links::detach(&self.pins, ifindex)
    }

    fn attached(&self) -> Result<Vec<(u32, Attachment)>, Error> {
        links::attached(&self.pins)
    }
}
