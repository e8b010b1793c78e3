//! Every decision about a packet, for the kernel program and for plain tests alike.
//!
//! Read [`pipeline`] first: it is a packet's way on one page. The two seams to the outside are
//! [`window`] (the bytes of a frame) and [`tables`] (the maps).
#![cfg_attr(not(any(test, feature = "testkit")), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(target_arch = "bpf", allow(internal_features, reason = "see abi::cell"))]
#![warn(missing_docs)]

pub mod abi;
pub mod arp;
pub mod choose;
pub mod classify;
pub mod csum;
pub mod egress;
pub mod family;
pub mod fragment;
pub mod hash;
pub mod icmp;
pub mod nat;
pub mod outcome;
pub mod parse;
pub mod pipeline;
pub mod reason;
pub mod reply;
pub mod routes;
pub mod tables;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod track;
pub mod tracked;
pub mod units;
pub mod window;
pub mod words;
