//! The table of routes: the other one of two, whenever the host's routes have changed.

use super::Input;
use crate::state::{MapState, routes_place};

/// Keeps the table in force if it says what the host says; else the other one is written, and the root names it.
pub(super) fn write(input: &Input<'_>, state: &mut MapState) {
    state.routes = input.observed.routes;
    if input.host.routes == *input.observed.routes_in_force() {
        return;
    }
    state.root.routes = input.observed.root.routes.wrapping_add(1);
    state.routes[routes_place(state.root.routes)] = input.host.routes;
}
