//! Stories of NAT rules.

use super::*;

/// These members (`10.0.1.N`), a rule to them, and these NAT rules.
fn file(members: &[u8], nat_rules: &str) -> Config {
    let member = |n: &u8| format!("{{ name: m{n}, address: 10.0.1.{n} }}");
    let members: Vec<_> = members.iter().map(member).collect();
    load(&format!(
        "version: 1
frontends: [{{ name: web, address: 203.0.113.10 }}]
pools: [{{ name: web, transition: 1h, backends: [{}] }}]
natRules:
{nat_rules}",
        members.join(", ")
    ))
}

fn ssh(ports: &str) -> String {
    format!(
        "  - {{ name: ssh, frontend: web, protocol: tcp, port: {ports}, pool: web, backendPort: 22, access: [{{ allow: 0.0.0.0/0 }}] }}\n"
    )
}

fn port(port: u16) -> Service {
    tcp(&format!("203.0.113.10:{port}"))
}

/// S-NAT-1, and the example of S-NAT-11.
#[test]
fn to_one_member_s_nat_1_11() {
    let rules = |second: u8| {
        [(1, 1), (2, second)].map(|(n, member)| {
            format!("  - {{ name: rdp-{n}, frontend: web, protocol: tcp, port: 5000{n}, backend: web/m{member}, backendPort: 3389, access: [{{ allow: 0.0.0.0/0 }}] }}\n")
        }).concat()
    };
    let mut story = Story::new("nat_to_one");
    story.config = file(&[1, 2, 3], &rules(2));
    story.then("50001 to the first member, 50002 to the second");
    story.config = file(&[1, 2, 3], &rules(3));
    story.then("50002 to the third: open connections stay with the second");
    story.settled = [port(50002)].into();
    story.then("settled").end();
}

/// S-NAT-2, S-NAT-3, S-NAT-4, S-NAT-5.
#[test]
fn a_range_s_nat_2_3_4_5() {
    let mut story = Story::new("nat_range");
    story.config = file(&[1, 2], &ssh("50100-50102"));
    story.then("two members take the first ports").then("again, as after a restart: nothing to do");
    story.config = file(&[4, 2], &ssh("50100-50102"));
    story.then("the first goes, another comes: no port changes its member");
    story.config = file(&[4, 5, 2], &ssh("50100-50102"));
    story.refused("one more than there are ports, as one is held");
    story.config = file(&[4, 5, 2], &ssh("50100-50103"));
    story.then("the end of the range is raised");
    story.config = file(&[1, 4, 2], &ssh("50100-50103"));
    story.then("the first is back, and has its port again; the last one goes");
    story.carried = [(port(50103), target(4, 22))].into();
    story.settled = [port(50103)].into();
    story.then("its time is over, and a connection goes on: the port is held still");
    story.carried.clear();
    story.settled = [port(50103)].into();
    story.then("the connection has ended: the port is free");
    story.config = file(&[1, 2, 4, 6], &ssh("50100-50103"));
    story.then("the next one takes it").end();
}

/// Each member of a range has a group of its own, in which the rules of its pool are, too.
#[test]
fn more_ways_back_than_there_is_room_for_are_refused() {
    let mut story = Story::new("nat_ways_back");
    let all: Vec<u8> = (1..=250).collect();
    let rule = |n| format!("  - {{ name: r{n}, frontend: web, protocol: tcp, port: {n}, pool: web }}\n");
    let rules = (101..=400).map(rule).collect::<Vec<_>>().concat();
    story.config = file(&all, &format!("{}rules:\n{rules}", ssh("50100-50349")));
    let refusal = story.compiled().unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "ways back of members do not fit: 75250 are needed, old and new ones beside each other, 65536 fit\n  \
         each member of a NAT range needs one for every rule to it: have fewer such members, or rules to them"
    );
    story.config = file(&all[..200], &format!("{}rules:\n{rules}", ssh("50100-50349")));
    story.compiled().unwrap();
}

/// S-NAT-9: a member has one port for both protocols.
#[test]
fn both_protocols_s_nat_9() {
    let mut story = Story::new("nat_protocols");
    let udp =
        "  - { name: dns, frontend: web, protocol: udp, port: 50000-50003, pool: web, backendPort: 53 }\n";
    story.config = file(&[1, 2], udp);
    story.settle_down();
    story.config = file(&[2, 3], udp);
    story.settle_down();
    story.config = file(&[2, 3], &udp.replace("protocol: udp", "protocol: all"));
    story.then("one port is held, and TCP joins: each member has its port for both").end();
}

/// S-NAT-8, S-PRB-8, S-ADM-5: beside a rule with a probe, whose members are down.
#[test]
fn health_does_not_count_s_nat_8() {
    let mut story = Story::from_base("nat_health");
    story.down = ["10.0.1.11".parse().unwrap(), "10.0.1.12".parse().unwrap()].into();
    let nat = "natRules:\n  - { name: ssh, frontend: web, protocol: tcp, port: 50100-50199, pool: web, backendPort: 22, access: [{ allow: 0.0.0.0/0 }] }\nrules:";
    let down = ("address: 10.0.1.12 }", "address: 10.0.1.12, adminState: down, weight: 0 }");
    story.config(&[("rules:", nat), down]).then("a range over members that do not accept").end();
}

/// Rules of every kind share the members' ports.
#[test]
fn a_port_that_still_answers_for_a_held_port_is_refused() {
    let mut story = Story::new("nat_still_carried");
    let single = "  - { name: m1, frontend: web, protocol: tcp, port: 50500, backend: web/m1, backendPort: 22, access: [{ allow: 0.0.0.0/0 }] }\n";
    let text = |with: &str| {
        format!(
            "version: 1
frontends: [{{ name: web, address: 203.0.113.10 }}]
pools:
  - {{ name: web, transition: 1h, backends: [{{ name: m1, address: 10.0.1.1 }}] }}
  - {{ name: range, transition: 1h, backends: [{with}] }}
natRules:
{}",
            ssh("50100-50199").replace("pool: web", "pool: range")
        )
    };
    story.config = load(&text("{ name: m1, address: 10.0.1.1 }"));
    story.settle_down();
    story.config = load(&(text("") + single));
    story.refused("the member's port 22 goes to another frontend port while connections may need the first");
    story.config = load(&text(""));
    story.settle_down();
    story.settled = [port(50100)].into();
    story.settle_down();
    story.config = load(&(text("") + single));
    story.then("after that").end();
}
