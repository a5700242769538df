//! A toy ledger on a file, and networks of validators on loopback to drive it.

pub(crate) mod cluster;
pub(crate) mod ledger;
