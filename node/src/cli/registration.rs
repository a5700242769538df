//! What a competitor keeps about a registration: a public record, the secret opening of the commitment, and the proof
//! that was sent last, so that every step can be taken up again after a crash.

use std::fs;
use std::path::{Path, PathBuf};

use agon_node::keys;
use agon_protocol::codec::Decode;
use agon_protocol::digest::{CompetitionId, ModelDigest, NetworkId, RegistrationId};
use agon_protocol::identity::AccountId;
use agon_protocol::metric::Tally;
use agon_protocol::transactions::SignedTransaction;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Next};
use super::home::{Home, key_failure, replace_file};

/// `HOME/registrations/<id>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) network: NetworkId,
    pub(crate) competition: CompetitionId,
    pub(crate) registration: RegistrationId,
    pub(crate) competitor: AccountId,
    pub(crate) model: ModelDigest,
    /// The file that was registered, for people.
    pub(crate) source: PathBuf,
    /// BLAKE3 hash of that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source_hash: Option<String>,
    pub(crate) parameters: u64,
    /// The signed registration in hexadecimal, as it was or will be sent; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transaction: Option<String>,
}

impl Record {
    /// The signed registration.
    pub(crate) fn transaction(&self) -> Result<Option<SignedTransaction>, Failure> {
        self.transaction.as_deref().map(signed).transpose()
    }
}

impl Attempt {
    /// The signed transaction that carries the proof.
    pub(crate) fn transaction(&self) -> Result<SignedTransaction, Failure> {
        signed(&self.transaction)
    }
}

fn signed(hexadecimal: &str) -> Result<SignedTransaction, Failure> {
    hex::decode(hexadecimal)
        .map_err(|error| error.to_string())
        .and_then(|bytes| SignedTransaction::from_bytes(&bytes).map_err(|e| e.to_string()))
        .map_err(|error| format!("a saved transaction in HOME/registrations is corrupt: {error}"))
        .next("restore the files from a copy, or move the damaged .json away and run this again")
}

/// `HOME/registrations/<id>.submission.json`: a proof that was made and its transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) nonce: u64,
    /// The signed transaction in hexadecimal, as it was or will be sent.
    pub(crate) transaction: String,
    pub(crate) tally: Tally,
    pub(crate) samples: u32,
    pub(crate) proof_bytes: u64,
    pub(crate) prove_seconds: f64,
}

/// The files of one registration.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    name: String,
}

impl Files {
    pub(crate) fn new(home: &Home, registration: &RegistrationId) -> Self {
        Self {
            folder: home.registrations(),
            name: registration.to_string(),
        }
    }

    /// The secret opening of the model commitment.
    pub(crate) fn model(&self) -> PathBuf {
        self.path("model")
    }

    /// The proof that was made last.
    pub(crate) fn proof(&self) -> PathBuf {
        self.path("proof")
    }

    /// Writes the secret opening, then the record that names it: a record that is there has its opening.
    pub(crate) fn create(&self, record: &Record, opening: &[u8]) -> Result<(), Failure> {
        let model = self.model();
        keys::write_secret(&model, opening).map_err(|error| key_failure(error, &model))?;
        replace_file(&self.path("json"), &to_json(record))
    }

    /// The attempt that was saved last, if any.
    pub(crate) fn attempt(&self) -> Result<Option<Attempt>, Failure> {
        let path = self.path("submission.json");
        if !path.exists() {
            return Ok(None);
        }
        read_json(&path).map(Some)
    }

    /// Replaces the saved attempt: first the proof, then the record that says it is there.
    pub(crate) fn save_attempt(&self, attempt: &Attempt, proof: &[u8]) -> Result<(), Failure> {
        replace_file(&self.proof(), proof)?;
        replace_file(&self.path("submission.json"), &to_json(attempt))
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.name))
    }
}

/// The registration that `id` means, an id or its first digits: itself, or the only one of this home in that competition.
///
/// A registration that the network refused has left its files here too; `is_known` tells which ones the network has.
pub(crate) fn find(
    home: &Home,
    id: &str,
    network: NetworkId,
    is_known: impl Fn(&Record) -> bool,
) -> Result<Record, Failure> {
    let mut found: Vec<Record> = all(&home.registrations())?
        .into_iter()
        .filter(|record| {
            let ids = [
                record.registration.to_string(),
                record.competition.to_string(),
            ];
            ids.iter().any(|known| known.starts_with(id))
        })
        .collect();
    let elsewhere = !found.is_empty();
    found.retain(|record| record.network == network);
    if found.len() > 1 {
        found.retain(is_known);
    }
    match (found.pop(), found.is_empty()) {
        (Some(record), true) => Ok(record),
        (Some(_), false) => Err(Failure::new(
            "this home has several registrations in that competition",
            "name one of the files in HOME/registrations instead: agon submit REGISTRATION",
        )),
        (None, _) if elsewhere => Err(Failure::new(
            "that registration belongs to another network than the node's",
            "name a node of the right network with --node URL",
        )),
        (None, _) => Err(Failure::new(
            format!("{} has no registration {id}", home.folder().display()),
            "give the competition's or the registration's id, and the --home that `agon register` was run with",
        )),
    }
}

/// The registration of `account` in a competition that this home is to go on with: the one that the network has, else the
/// one that was begun last and can be sent again.
pub(crate) fn going_on(
    home: &Home,
    competition: CompetitionId,
    network: NetworkId,
    account: AccountId,
    is_known: impl Fn(&Record) -> bool,
) -> Result<Option<Record>, Failure> {
    let mut found = all(&home.registrations())?;
    found.retain(|record| {
        record.competition == competition
            && record.network == network
            && record.competitor == account
    });
    let (mut known, unknown): (Vec<_>, Vec<_>) = found.into_iter().partition(is_known);
    if known.len() > 1 {
        return Err(Failure::new(
            "this home has several registrations in that competition",
            "prove each of them: agon submit REGISTRATION --wait (see `agon competitions submissions`)",
        ));
    }
    if let Some(record) = known.pop() {
        return Ok(Some(record));
    }
    let mut begun = Vec::new();
    for record in unknown {
        if let Some(transaction) = record.transaction()? {
            begun.push((transaction.transaction.nonce, record));
        }
    }
    let last = begun.into_iter().max_by_key(|(nonce, _)| *nonce);
    Ok(last.map(|(_, record)| record))
}

/// Every registration that was made from this home, of any network.
pub(crate) fn all(folder: &Path) -> Result<Vec<Record>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).next(format!("check that {} is a folder", folder.display()));
        }
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry.next("check the folder of registrations")?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".json") && !name.ends_with(".submission.json") {
            records.push(read_json(&path)?);
        }
    }
    Ok(records)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
        .next("restore the file from a copy, or move it away")
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("records are plain structures");
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::Settings;
    use agon_node::keys::AccountKey;
    use agon_protocol::codec::Encode;
    use agon_protocol::transactions::{Action, Transaction};

    fn record(competition: u8, registration: u8, network: u8) -> Record {
        Record {
            network: NetworkId::from_raw([network; 32]),
            competition: CompetitionId::from_raw([competition; 32]),
            registration: RegistrationId::from_raw([registration; 32]),
            competitor: AccountId::from_raw([9; 32]),
            model: ModelDigest::from_raw([8; 32]),
            source: "model.onnx".into(),
            source_hash: None,
            parameters: 650,
            transaction: None,
        }
    }

    /// A record whose registration was signed with this nonce.
    fn begun(competition: u8, registration: u8, nonce: u64) -> Record {
        let record = record(competition, registration, 7);
        let transaction = AccountKey::from_secret([1; 32]).sign(Transaction {
            network: record.network,
            sender: record.competitor,
            nonce,
            action: Action::Register {
                competition: record.competition,
                model: record.model,
            },
        });
        Record {
            transaction: Some(hex::encode(transaction.to_bytes())),
            ..record
        }
    }

    #[test]
    fn what_the_network_has_is_gone_on_with_before_what_was_only_begun() {
        let older = record(1, 2, 7);
        let (_folder, home) = home_with(&[older.clone(), begun(1, 3, 4), begun(1, 4, 5)]);
        let found = |is_known: &dyn Fn(&Record) -> bool| {
            let (network, account) = (NetworkId::from_raw([7; 32]), older.competitor);
            going_on(&home, older.competition, network, account, is_known)
        };
        assert_eq!(
            found(&|record| *record == older).unwrap(),
            Some(older.clone())
        );
        // the older one cannot be sent again
        assert_eq!(found(&|_| false).unwrap(), Some(begun(1, 4, 5)));
        let error = found(&|_| true).unwrap_err();
        assert!(error.to_string().contains("several"), "{error}");
        let other = AccountId::from_raw([8; 32]);
        let network = NetworkId::from_raw([7; 32]);
        let nothing = going_on(&home, older.competition, network, other, |_| true);
        assert_eq!(nothing.unwrap(), None);
    }

    fn home_with(records: &[Record]) -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Settings::of_home(folder.path())).unwrap();
        for record in records {
            let files = Files::new(&home, &record.registration);
            files.create(record, b"opening").unwrap();
        }
        (folder, home)
    }

    #[test]
    fn a_registration_is_found_by_its_id_and_by_its_competition() {
        let (_folder, home) = home_with(&[record(1, 2, 7), record(3, 4, 7)]);
        let network = NetworkId::from_raw([7; 32]);
        for id in ["01".repeat(32), "02".repeat(32)] {
            assert_eq!(
                find(&home, &id, network, |_| true).unwrap(),
                record(1, 2, 7)
            );
        }
    }

    #[test]
    fn rejects_an_ambiguous_a_foreign_and_an_unknown_registration() {
        let (_folder, home) = home_with(&[record(1, 2, 7), record(1, 4, 7), record(5, 6, 8)]);
        let network = NetworkId::from_raw([7; 32]);
        for (id, cause) in [
            ("01", "several"),
            ("05", "another network"),
            ("0a", "no registration"),
        ] {
            let error = find(&home, &id.repeat(32), network, |_| true).unwrap_err();
            assert!(error.to_string().contains(cause), "{error}");
        }
    }

    #[test]
    fn a_refused_registration_does_not_hide_the_accepted_one() {
        let (_folder, home) = home_with(&[record(1, 2, 7), record(1, 4, 7)]);
        let accepted = |found: &Record| *found == record(1, 4, 7);
        let network = NetworkId::from_raw([7; 32]);
        let found = find(&home, &"01".repeat(32), network, accepted).unwrap();
        assert_eq!(found, record(1, 4, 7));
    }

    #[test]
    fn a_secret_opening_is_never_overwritten() {
        let (_folder, home) = home_with(&[record(1, 2, 7)]);
        let files = Files::new(&home, &record(1, 2, 7).registration);
        assert!(files.create(&record(1, 2, 7), b"other").is_err());
        assert_eq!(fs::read(files.model()).unwrap(), b"opening");
    }

    #[test]
    fn an_attempt_survives_the_disk() {
        let (_folder, home) = home_with(&[record(1, 2, 7)]);
        let files = Files::new(&home, &record(1, 2, 7).registration);
        assert_eq!(files.attempt().unwrap(), None);
        let attempt = Attempt {
            nonce: 3,
            transaction: "ab".into(),
            tally: Tally::of_hits(500),
            samples: 540,
            proof_bytes: 5,
            prove_seconds: 1.5,
        };
        files.save_attempt(&attempt, b"proof").unwrap();
        assert_eq!(files.attempt().unwrap(), Some(attempt));
    }
}
