//! The faulty data plane.
