//! Secret keys on disk: one ed25519 secret per file, 64 hexadecimal digits, readable by its owner alone.
//!
//! Every secret of a person (account keys, data keys, the openings of model commitments) is written through
//! [`write_secret`], which never replaces a file: an overwritten secret cannot be asked for again.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agon_protocol::identity::AccountId;
use agon_protocol::transactions::{SignedTransaction, Transaction};
use ed25519_dalek::SigningKey;
use thiserror::Error;

/// Why a key cannot be read or written.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file is there already.
    #[error("{} exists already, and a secret is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the key {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is not a key: expected 64 hexadecimal digits", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(String),
}

/// An account's key pair.
#[derive(Clone)]
pub struct AccountKey {
    signing: SigningKey,
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountKey({})", self.account().short())
    }
}

impl AccountKey {
    /// Draws a new key from the operating system.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self::from_secret(random_secret()?))
    }

    /// The key of a known secret.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        Self {
            signing: SigningKey::from_bytes(&secret),
        }
    }

    /// Reads a key file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        read_secret(path).map(Self::from_secret)
    }

    /// Writes the key to a new file of mode 0600.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let text = format!("{}\n", hex::encode(self.signing.to_bytes()));
        write_secret(path, text.as_bytes())
    }

    /// The secret, for the engine that signs votes with it.
    pub fn secret(&self) -> [u8; 32] {
        self.signing.to_bytes()
    }

    /// The account that this key speaks for.
    pub fn account(&self) -> AccountId {
        AccountId::of(&self.signing)
    }

    /// Signs a transaction.
    pub fn sign(&self, transaction: Transaction) -> SignedTransaction {
        transaction.sign(&self.signing)
    }
}

/// 32 bytes from the operating system.
pub fn random_secret() -> Result<[u8; 32], KeyError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| KeyError::Random(error.to_string()))?;
    Ok(secret)
}

/// Reads 64 hexadecimal digits, white space around them ignored.
pub fn read_secret(path: &Path) -> Result<[u8; 32], KeyError> {
    let text = fs::read(path).map_err(|source| KeyError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut secret).map_err(|_| KeyError::Malformed {
        path: path.to_owned(),
    })?;
    Ok(secret)
}

/// Writes a new file of mode 0600, on disk when this returns; missing folders are created for their owner alone.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let write_error = |source| KeyError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        create_private_folder(folder).map_err(write_error)?;
    }
    let mut file = match create_private_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(KeyError::Exists {
                path: path.to_owned(),
            });
        }
        other => other.map_err(write_error)?,
    };
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(write_error)
}

#[cfg(unix)]
fn create_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(not(unix))]
fn create_private_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(unix)]
fn create_private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(not(unix))]
fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_survives_the_disk_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/key");
        let key = AccountKey::generate().unwrap();
        key.save(&path).unwrap();
        assert_eq!(AccountKey::load(&path).unwrap().account(), key.account());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn refuses_to_overwrite_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let first = AccountKey::generate().unwrap();
        first.save(&path).unwrap();
        let second = AccountKey::generate().unwrap();
        assert!(matches!(second.save(&path), Err(KeyError::Exists { .. })));
        assert_eq!(AccountKey::load(&path).unwrap().account(), first.account());
    }

    #[test]
    fn rejects_a_file_that_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for text in ["", "abcd", &"zz".repeat(32), &"ab".repeat(33)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(
                AccountKey::load(&path),
                Err(KeyError::Malformed { .. })
            ));
        }
        assert!(matches!(
            AccountKey::load(&folder.path().join("none")),
            Err(KeyError::Read { .. })
        ));
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let key = AccountKey::from_secret([7; 32]);
        assert!(!format!("{key:?}").contains(&hex::encode([7; 8])));
    }
}
