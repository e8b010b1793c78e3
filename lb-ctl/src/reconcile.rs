//! The only writer of maps.
