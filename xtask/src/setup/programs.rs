//! The programs that the lab calls.

use crate::shell;

/// A program and the Debian package that has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) reason: &'static str,
}

const ALL: [Program; 4] = [
    Program { name: "ip", package: "iproute2", reason: "makes the networks of the tests of next hops" },
    Program { name: "curl", package: "curl", reason: "is for you, in the client's place of the lab" },
    Program { name: "dnsmasq", package: "dnsmasq-base", reason: "answers the DNS queries of the UDP test" },
    Program { name: "dig", package: "bind9-dnsutils", reason: "asks the DNS queries of the UDP test" },
];

pub(crate) fn missing() -> Vec<&'static Program> {
    ALL.iter().filter(|program| !shell::has(program.name)).collect()
}
