//! What one probe came to.

use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

/// The result of one probe. [`fmt::Display`] says it as `lbctl status` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The TCP handshake succeeded, and no reset followed (S-PRB-9).
    Connected,
    /// The status of a complete HTTP response head.
    Answered(u16),
    Refused,
    /// S-PRB-16.
    Reset,
    /// Nothing conclusive within this time.
    TimedOut(Duration),
    /// The network could not bring us to the member.
    Unreachable(Errno),
    /// The member closed before its response head was complete.
    Closed,
    /// The member's answer is not HTTP/1.
    Malformed,
    /// The response head is longer than a prober reads.
    TooLong,
    /// This host could not probe; the member is not to blame.
    LocalFailure(LocalFailure),
}

/// Why this host could not probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalFailure {
    System(Errno),
    /// All sockets that probes may have were in use.
    NoFreeSocket,
    /// The prober did not run when the probe's time was over, but this much later.
    HeldUp(Duration),
}

/// What an outcome says about the member (S-PRB-15, S-PRB-16, S-PRB-22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    Success,
    /// The member itself says that it is not well: an HTTP status other than 200.
    Rejection,
    /// No answer that counts.
    Silence,
    /// Nothing about the member.
    None,
}

impl Outcome {
    #[must_use]
    pub fn evidence(self) -> Evidence {
        match self {
            Self::Connected | Self::Answered(200) => Evidence::Success,
            Self::Answered(_) => Evidence::Rejection,
            Self::Refused
            | Self::Reset
            | Self::TimedOut(_)
            | Self::Unreachable(_)
            | Self::Closed
            | Self::Malformed
            | Self::TooLong => Evidence::Silence,
            Self::LocalFailure(_) => Evidence::None,
        }
    }
}

impl From<io::Error> for Outcome {
    fn from(error: io::Error) -> Self {
        use Errno as E;
        let errno = error.raw_os_error().map_or(E::UnknownErrno, E::from_raw);
        // `Errno` has no closed list: what is not named is the network's word about the member.
        #[expect(clippy::wildcard_enum_match_arm, reason = "foreign, open-ended enumeration")]
        match errno {
            E::ECONNREFUSED => Self::Refused,
            E::ECONNRESET | E::ECONNABORTED | E::EPIPE | E::ENOTCONN => Self::Reset,
            // EPERM and EACCES come from this host's firewall and routes, and EADDRNOTAVAIL says
            // that all its ports are in use.
            E::EMFILE
            | E::ENFILE
            | E::ENOMEM
            | E::ENOBUFS
            | E::EADDRNOTAVAIL
            | E::EPERM
            | E::EACCES
            | E::EINVAL
            | E::UnknownErrno => Self::LocalFailure(LocalFailure::System(errno)),
            other => Self::Unreachable(other),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Answered(status) => write!(f, "HTTP {status}"),
            Self::Refused => f.write_str("connection refused"),
            Self::Reset => f.write_str("connection reset"),
            Self::TimedOut(limit) => write!(f, "no answer within {limit:?}"),
            Self::Unreachable(errno) => write!(f, "unreachable: {}", errno.desc()),
            Self::Closed => f.write_str("connection closed without a complete answer"),
            Self::Malformed => f.write_str("the answer is not HTTP/1"),
            Self::TooLong => f.write_str("the answer's head does not end"),
            Self::LocalFailure(failure) => write!(f, "this host could not probe: {failure}"),
        }
    }
}

impl fmt::Display for LocalFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(errno) => f.write_str(errno.desc()),
            Self::NoFreeSocket => {
                f.write_str("all its sockets for probes are in use (raise the limit of open files)")
            }
            Self::HeldUp(late) => write!(f, "it was held up for {late:.1?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_is_shown_in_plain_words() {
        let rows = [
            (Outcome::Answered(503), "HTTP 503"),
            (Outcome::TimedOut(Duration::from_secs(2)), "no answer within 2s"),
            (Outcome::Unreachable(Errno::EHOSTUNREACH), "unreachable: No route to host"),
            (
                Outcome::LocalFailure(LocalFailure::System(Errno::EMFILE)),
                "this host could not probe: Too many open files",
            ),
        ];
        for (outcome, text) in rows {
            assert_eq!(outcome.to_string(), text);
        }
    }

    #[test]
    fn error_of_this_host_says_nothing_about_the_member() {
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::EADDRNOTAVAIL, Errno::EPERM] {
            let outcome = Outcome::from(io::Error::from_raw_os_error(errno as i32));
            assert_eq!(outcome, Outcome::LocalFailure(LocalFailure::System(errno)));
            assert_eq!(outcome.evidence(), Evidence::None);
        }
    }

    #[test]
    fn error_of_the_network_counts_against_the_member() {
        for errno in [Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::ENETDOWN, Errno::ETIMEDOUT] {
            let outcome = Outcome::from(io::Error::from_raw_os_error(errno as i32));
            assert_eq!(outcome, Outcome::Unreachable(errno));
            assert_eq!(outcome.evidence(), Evidence::Silence);
        }
    }
}
