//! `lbctl`: the daemon and its client.

fn main() {}
