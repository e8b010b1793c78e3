//! Puts the eBPF object where `include_bytes_aligned!` finds it.

fn main() {}
