//! `lbctl nat`: which frontend port of a NAT rule leads to which member.

use std::time::Duration;

use clap::Args;

use super::fault::Fault;
use super::instance::{Instance, wait_for};
use super::output::{Format, lines, print};
use super::table::{Align, Table, duration};
use crate::api::types::{Nat, NatMapping};

/// Show which port of each NAT rule leads to which member
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Form of the answer
    #[arg(short, long, default_value = "table")]
    output: Format,
}

pub(super) fn run(instance: &Instance, arguments: &Arguments) -> Result<(), Fault> {
    let client = instance.client();
    wait_for(async { print(&arguments.output.text(&client.nat().await?, table)?) })
}

fn table(nat: &Nat) -> String {
    if nat.mappings.is_empty() {
        return "no NAT rule has a port\n".to_owned();
    }
    let mut table = Table::new(&[
        ("RULE", Align::Left),
        ("FRONTEND", Align::Left),
        ("MEMBER", Align::Left),
        ("GOES TO", Align::Left),
        ("STATE", Align::Left),
    ]);
    for mapping in &nat.mappings {
        let NatMapping { rule, protocol, frontend_port, pool, member, backend_port, .. } = mapping;
        table.row([
            rule.clone(),
            format!("{protocol} {}", std::net::SocketAddr::new(mapping.address, *frontend_port)),
            member.as_ref().map_or_else(|| "has left".to_owned(), |member| format!("{pool}/{member}")),
            std::net::SocketAddr::new(mapping.member_address, *backend_port).to_string(),
            state(mapping),
        ]);
    }
    lines(&table.lines())
}

fn state(mapping: &NatMapping) -> String {
    let left = mapping.transition.as_ref().map(|it| duration(Duration::from_secs(it.seconds_left)));
    match (mapping.state.as_str(), left) {
        ("held", Some(left)) => format!("held for its connections, at least {left}"),
        ("held", None) => "held for its connections".to_owned(),
        (_, Some(left)) => format!("settles in {left}"),
        (_, None) => "ok".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Transition;

    fn mapping(port: u16, member: Option<&str>, seconds_left: Option<u64>) -> NatMapping {
        NatMapping {
            rule: "ssh".to_owned(),
            protocol: "tcp".to_owned(),
            address: [203, 0, 113, 10].into(),
            frontend_port: port,
            pool: "web".to_owned(),
            member: member.map(ToOwned::to_owned),
            member_address: [10, 0, 1, 11].into(),
            backend_port: 22,
            state: if member.is_some() { "serving" } else { "held" }.to_owned(),
            transition: seconds_left.map(|seconds_left| Transition { seconds_left, prolonged: 0 }),
        }
    }

    #[test]
    fn a_line_for_each_port() {
        let six = NatMapping {
            address: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10].into(),
            ..mapping(50001, Some("web-3"), None)
        };
        let nat = Nat {
            mappings: vec![
                mapping(50_100, Some("web-1"), None),
                mapping(50_101, Some("web-2"), Some(61)),
                mapping(50_102, None, Some(8_090)),
                six,
            ],
        };
        let expected = "\
RULE  FRONTEND                  MEMBER     GOES TO       STATE
ssh   tcp 203.0.113.10:50100    web/web-1  10.0.1.11:22  ok
ssh   tcp 203.0.113.10:50101    web/web-2  10.0.1.11:22  settles in 1m1s
ssh   tcp 203.0.113.10:50102    has left   10.0.1.11:22  held for its connections, at least 2h14m
ssh   tcp [2001:db8::10]:50001  web/web-3  10.0.1.11:22  ok
";
        assert_eq!(table(&nat), expected);
        assert_eq!(table(&Nat { mappings: Vec::new() }), "no NAT rule has a port\n");
    }
}
