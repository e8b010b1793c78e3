//! Every decision about a packet: shared map types, wire formats and the pipeline.
#![cfg_attr(not(any(test, feature = "testkit")), no_std)]
#![warn(missing_docs)]
