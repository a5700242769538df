//! A small competition from its announcement to its payment, step by step, through a node's API.

use agon_node::api::types::{CompetitionView, ReceiptView, StoredBlob};
use agon_node::sealed;
use agon_protocol::competition::{BlobRef, CompetitionSpec};
use agon_protocol::digest::{BlobId, CompetitionId, ModelDigest};
use agon_protocol::genesis::Genesis;
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding, Task};
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::units::{Amount, TimeMs};

use super::{Running, now_ms, sign, until};

/// How long the phases are, in milliseconds. Generous where something must be sent in time.
const ANNOUNCED: u64 = 3_000;
const OPEN: u64 = 8_000;
const SEALED: u64 = 12_000;
const PROVING: u64 = 12_000;

pub fn dataset() -> Dataset {
    Dataset::new(2, 2, (1..=20).collect(), vec![0, 1, 1, 0, 0, 1, 1, 1, 0, 0]).unwrap()
}

pub async fn put(node: &Running, blob: &[u8]) -> BlobRef {
    let (status, answer) = node.request("PUT", "/v1/blobs", blob).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    let stored: StoredBlob = serde_json::from_slice(&answer).unwrap();
    BlobRef {
        id: stored.id,
        length: stored.length,
    }
}

pub async fn phase(node: &Running, competition: &CompetitionId, phase: &str) -> CompetitionView {
    let path = format!("/v1/competitions/{competition}");
    until(phase, || async {
        let (status, body) = node.request("GET", &path, b"").await;
        let view: CompetitionView =
            (status == 200).then(|| serde_json::from_slice(&body).unwrap())?;
        (view.summary.phase == phase).then_some(view)
    })
    .await
}

/// One competition of key 10 with three competitors, keys 11 to 13.
pub struct Contest {
    pub genesis: Genesis,
    pub competition: CompetitionId,
    pub registrations: Vec<SignedTransaction>,
    pub submissions: Vec<SignedTransaction>,
    key: DataKey,
}

impl Contest {
    /// Opens it; its registration opens a moment later.
    pub async fn announce(node: &Running, genesis: &Genesis) -> Self {
        let key = sealed::new_key().unwrap();
        let blob = sealed::seal(&key, &dataset()).unwrap();
        put(node, &blob).await;
        let training = put(node, b"f0,f1,label\n1,2,0\n3,4,1\n").await;
        let open = Action::OpenCompetition {
            spec: Box::new(terms(&blob, &key, training)),
            prize: Amount::new(500),
            bond: Amount::new(50),
        };
        let open = sign(genesis, 10, 0, open);
        node.send(&open).await;
        assert_eq!(node.committed(&open).await, ReceiptView::Accepted);
        Self {
            genesis: genesis.clone(),
            competition: open.competition_id().unwrap(),
            registrations: Vec::new(),
            submissions: Vec::new(),
            key,
        }
    }

    /// Three models.
    pub async fn register(&mut self, node: &Running) {
        phase(node, &self.competition, "open").await;
        for competitor in [11, 12, 13] {
            let register = Action::Register {
                competition: self.competition,
                model: ModelDigest::of(&[competitor]),
            };
            let register = sign(&self.genesis, competitor, 0, register);
            node.send(&register).await;
            assert_eq!(node.committed(&register).await, ReceiptView::Accepted);
            self.registrations.push(register);
        }
    }

    /// The key of the test set.
    pub async fn release(&self, node: &Running) {
        phase(node, &self.competition, "sealed").await;
        let release = Action::ReleaseKey {
            competition: self.competition,
            key: self.key,
        };
        let release = sign(&self.genesis, 10, 1, release);
        node.send(&release).await;
        assert_eq!(node.committed(&release).await, ReceiptView::Accepted);
    }

    /// Two proofs of the same score, and one that is invalid.
    pub async fn prove(&mut self, node: &Running) {
        let proofs: [(&[u8], u32); 3] = [(b"valid 11", 8), (b"valid 12", 8), (b"forged", 10)];
        for ((competitor, register), (proof, hits)) in (11..).zip(&self.registrations).zip(proofs) {
            let submit = Action::SubmitProof {
                registration: register.registration_id().unwrap(),
                tally: Tally::of_hits(hits),
                proof: put(node, proof).await,
            };
            let submit = sign(&self.genesis, competitor, 1, submit);
            node.send(&submit).await;
            node.committed(&submit).await;
            self.submissions.push(submit);
        }
    }

    /// Waits until it is paid.
    pub async fn paid(&self, node: &Running) {
        phase(node, &self.competition, "paid").await;
    }
}

fn terms(sealed: &[u8], key: &DataKey, training: BlobRef) -> CompetitionSpec {
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: 30,
    };
    let opens = now_ms() + ANNOUNCED;
    CompetitionSpec {
        title: "ten samples".into(),
        description: "of two features".into(),
        encoding: InputEncoding {
            features: vec![feature; 2],
        },
        task: Task::from(2),
        samples: 10,
        metric: Metric::Accuracy,
        max_parameters: 100,
        training_data: Some(training),
        sealed_data: BlobRef {
            id: BlobId::of(sealed),
            length: sealed.len() as u64,
        },
        data_digest: dataset().digest(),
        key_commitment: key.commitment(),
        opens_at: TimeMs::new(opens),
        register_until: TimeMs::new(opens + OPEN),
        key_until: TimeMs::new(opens + OPEN + SEALED),
        prove_until: TimeMs::new(opens + OPEN + SEALED + PROVING),
        payouts: vec![7_000, 3_000],
        deposit: Amount::new(10),
        submissions_per_registration: 2,
        registrations_per_account: 1,
        minimum: Threshold::AtLeast {
            millionths: 100_000,
        },
    }
}
