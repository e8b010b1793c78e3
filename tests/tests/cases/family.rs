//! The families that a row is run in.

use std::cell::Cell;
use std::net::IpAddr;

use lb_common::testkit::frame::twin;

use super::world::address;

/// The address family that a row is run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

thread_local! {
    static OF_ROWS: Cell<Family> = const { Cell::new(Family::V4) };
}

impl Family {
    /// The family for which the table is being built: rows that need a slot or a cell look for one
    /// with its hash.
    pub(crate) fn of_rows() -> Self {
        OF_ROWS.get()
    }

    /// Builds rows for this family.
    pub(crate) fn build<T>(self, rows: impl FnOnce() -> T) -> T {
        OF_ROWS.set(self);
        let built = rows();
        OF_ROWS.set(Self::V4);
        built
    }

    /// The address of a row's socket in this family.
    pub(crate) fn address(self, socket: &str) -> IpAddr {
        match self {
            Self::V4 => address(socket),
            Self::V6 => twin(address(socket)),
        }
    }
}
