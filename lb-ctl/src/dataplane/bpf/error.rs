//! Errors of aya and the kernel in the words of [`Error`].

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;

use aya::EbpfError;
use aya::programs::ProgramError;

use crate::dataplane::Error;

/// Lines of the verifier's log that an error shows: the last ones say what it did not like.
const LOG_LINES: usize = 12;

/// A failed read or write of a map.
pub(super) fn map(map: &'static str, what: impl Display, cause: &(dyn StdError + 'static)) -> Error {
    let cause = match errno(cause) {
        Some(libc::E2BIG) => "it has no room for that".to_owned(),
        Some(libc::EPERM) => format!("{}; it needs the rights of `lbctl serve`", chain(cause)),
        _ => chain(cause),
    };
    Error::Map { map, what: what.to_string(), cause }
}

/// A failed step of set-up, with what to do about it.
pub(super) fn setup(
    what: impl Into<String>,
    cause: &(dyn StdError + 'static),
    cure: impl Into<String>,
) -> Error {
    let (cause, cure) = match errno(cause) {
        Some(libc::EPERM) => ("not permitted".to_owned(), RIGHTS.to_owned()),
        _ => (chain(cause), cure.into()),
    };
    Error::Setup { what: what.into(), cause, cure }
}

const RIGHTS: &str = "run it as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and CAP_PERFMON; inside a container these must be granted too";

/// The object could not be loaded: maps first, programs after.
pub(super) fn load(cause: &EbpfError) -> Error {
    let cure = match errno(cause) {
        Some(libc::ENOMEM | libc::E2BIG) => "ask for smaller tables, or add memory",
        _ => "this needs Linux 5.17 or later with CONFIG_BPF_SYSCALL",
    };
    setup("cannot make the maps of the data plane", cause, cure)
}

/// The verifier did not accept a program.
pub(super) fn verifier(program: &str, cause: &ProgramError) -> Error {
    let what = format!("the kernel does not accept the program {program}");
    let ProgramError::LoadError { io_error, verifier_log } = cause else {
        return setup(what, cause, "this needs Linux 5.17 or later");
    };
    if io_error.raw_os_error() == Some(libc::EPERM) {
        return setup(what, io_error, "");
    }
    let log = verifier_log.to_string();
    let lines: Vec<_> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n    ");
    Error::Setup { what, cause: format!("{io_error}\n    {tail}"), cure: missing_feature(&log) }
}

/// Helpers that the program calls, and the kernels that brought them.
fn missing_feature(log: &str) -> String {
    let helpers = [("bpf_loop", "5.17"), ("bpf_jiffies64", "5.6"), ("bpf_fib_lookup", "4.18")];
    let names = |helper: &&(&str, &str)| {
        log.lines().any(|line| line.contains("unknown func") && line.contains(helper.0))
    };
    match helpers.iter().find(names) {
        Some((helper, version)) => format!("this kernel has no {helper}; it came with Linux {version}"),
        None => {
            "it is tested with Linux 6.1 and later; on such a kernel please report this message".to_owned()
        }
    }
}

/// An error with its causes.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = causes(error).map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

/// The kernel's number, wherever in the chain it stands.
pub(super) fn errno(error: &(dyn StdError + 'static)) -> Option<i32> {
    causes(error).filter_map(|error| error.downcast_ref::<io::Error>()).find_map(io::Error::raw_os_error)
}

/// The error, its cause, the cause of that, ...
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_helper_is_named_with_its_kernel() {
        let log = "1: (85) call unknown#181\ninvalid func unknown#181\nunknown func bpf_loop#181";
        assert_eq!(missing_feature(log), "this kernel has no bpf_loop; it came with Linux 5.17");
        assert!(missing_feature("R1 invalid mem access").contains("please report"));
    }

    #[test]
    fn missing_rights_have_their_own_cure() {
        let cause = io::Error::from_raw_os_error(libc::EPERM);
        let message = setup("cannot load", &cause, "buy a new kernel").to_string();
        assert!(message.contains("run it as root") && !message.contains("buy"), "{message}");
    }

    #[test]
    fn a_full_map_says_so() {
        let cause = io::Error::from_raw_os_error(libc::E2BIG);
        assert_eq!(
            map("lb_rules", "rule 1", &cause).to_string(),
            "map lb_rules: rule 1: it has no room for that"
        );
    }
}
