//! The lab: network namespaces, servers and clients for end-to-end tests.
