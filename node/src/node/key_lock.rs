//! One process of a machine validates with a key.
//!
//! Two processes with one key sign contradicting votes, which costs a validator its good name. The data folder has a lock of its own;
//! this one sees the same key in two folders. It is a name in the kernel that goes away with the process, however it
//! ends, and holds within one network namespace. Elsewhere than on Linux nothing is locked.

use agon_protocol::digest::NetworkId;
use agon_protocol::identity::AccountId;

use super::NodeError;

#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(super) struct KeyLock(#[expect(dead_code, reason = "held")] std::os::unix::net::UnixListener);

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) struct KeyLock;

impl KeyLock {
    #[cfg(target_os = "linux")]
    pub(super) fn take(network: &NetworkId, account: &AccountId) -> Result<Self, NodeError> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener};
        // the name of a socket has 107 bytes
        let name = format!("agon-validator-{}-{account}", network.short());
        let bound = SocketAddr::from_abstract_name(name)
            .and_then(|address| UnixListener::bind_addr(&address));
        match bound {
            Ok(listener) => Ok(Self(listener)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Err(NodeError::KeyTaken { account: *account })
            }
            Err(error) => Err(NodeError::Task(format!(
                "the validator key cannot be locked ({error}); set consensus.lock_key = false in config.toml if this system has no unix sockets"
            ))),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn take(_: &NetworkId, _: &AccountId) -> Result<Self, NodeError> {
        Ok(Self)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_locked_once_per_network() {
        let (network, other) = (NetworkId::of(b"lock test"), NetworkId::of(b"lock test 2"));
        let account = AccountId::from_raw([9; 32]);
        let lock = KeyLock::take(&network, &account).unwrap();
        assert!(matches!(
            KeyLock::take(&network, &account),
            Err(NodeError::KeyTaken { .. })
        ));
        KeyLock::take(&other, &account).unwrap();
        drop(lock);
        KeyLock::take(&network, &account).unwrap();
    }
}
