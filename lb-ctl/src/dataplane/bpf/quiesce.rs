//! Waits until packets that were in the program have left it.

use std::io;
use std::thread;
use std::time::Duration;

/// `MEMBARRIER_CMD_GLOBAL` of include/uapi/linux/membarrier.h.
const GLOBAL: libc::c_int = 1;

/// Longer than a packet is in the program, by a guess that has a hundred reserves.
const GUESS: Duration = Duration::from_millis(20);

/// Waits for an RCU grace period. The program runs with softirqs disabled, which RCU takes for a reader
/// (`bpf_prog_run_xdp`, include/net/xdp.h).
///
/// Where the kernel does not wait for one when it is asked to, time has to do.
pub(super) fn quiesce() {
    match wait_for_grace_period() {
        Ok(true) => {}
        Ok(false) => thread::sleep(GUESS),
        Err(error) => {
            tracing::debug!(%error, "membarrier(2) is not there; waiting {GUESS:?} instead");
            thread::sleep(GUESS);
        }
    }
}

/// `sys_membarrier` in kernel/sched/membarrier.c: it is `synchronize_rcu` with more than one CPU, nothing
/// with one, and `EINVAL` with `nohz_full`. Nothing is enough unless softirqs can be preempted (`PREEMPT_RT`).
fn wait_for_grace_period() -> io::Result<bool> {
    // At most the CPUs that are online.
    let cpus = thread::available_parallelism()?.get();
    // SAFETY: takes numbers only.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if answer == 0 { Ok(cpus > 1) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_asked_in_words_that_it_understands() {
        const QUERY: libc::c_int = 0;
        // SAFETY: takes numbers only.
        let commands = unsafe { libc::syscall(libc::SYS_membarrier, QUERY, 0, 0) };
        let offered = commands > 0 && commands & libc::c_long::from(GLOBAL) != 0;
        assert_eq!(wait_for_grace_period().is_ok(), offered);
        quiesce();
    }
}
