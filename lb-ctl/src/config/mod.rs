//! `lb.yaml`: what people write, and what we believe once it has been checked.

pub mod model;
