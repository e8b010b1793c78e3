//! The fake data plane.
