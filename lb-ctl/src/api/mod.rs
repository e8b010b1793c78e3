//! The API between daemon and clients: HTTP/JSON on a unix socket.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `GET /v1/status` | | [`types::Status`] |
//! | `GET /v1/nat` | | [`types::Nat`] |
//! | `GET /v1/version` | | [`types::Version`] |
//! | `POST /v1/apply` | [`types::Apply`] | [`types::Applied`], once packets see it |
//!
//! Everything that fails is answered with a [`types::Failure`].

pub mod client;
pub mod server;
pub mod types;
