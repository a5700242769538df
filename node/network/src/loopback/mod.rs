//! Several swarms in one process, over loopback.

mod adversary;
mod blobs;
mod blocks;
mod defences;
mod gossip;
mod harness;
mod membership;
