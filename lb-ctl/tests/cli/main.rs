//! The command line and the API, without root and without a data plane: what is said to whom, and
//! with which exit code. A daemon is an API server in the test that answers from a script.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says where it stopped")]

mod answers;
mod faults;
mod golden;
mod hostile;
mod starts;
mod support;
mod watch;
