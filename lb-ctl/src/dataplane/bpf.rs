//! The bpf data plane.
