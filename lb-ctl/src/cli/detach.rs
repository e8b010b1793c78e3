//! `lbctl detach`: removes the data plane of an instance.

use super::fault::Fault;
use super::instance::Instance;
use super::output::print;
use crate::daemon;

pub(super) fn run(instance: &Instance) -> Result<(), Fault> {
    let pin_dir = instance.pin_dir();
    let was_there = daemon::remove(&instance.state_dir(), &pin_dir)?;
    let (name, pin_dir) = (&instance.name, pin_dir.display());
    print(&if was_there {
        format!(
            "removed program, links and maps of instance {name} ({pin_dir}); its traffic is no longer balanced\n"
        )
    } else {
        format!("nothing to remove: instance {name} has no data plane at {pin_dir}\n")
    })
}
