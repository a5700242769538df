//! Every verdict that the blocks rest on, found again: keys open what was committed to, proofs prove what they claim.
//!
//! Proofs about one test set are verified together, which costs less and changes no verdict. A blob that is not here any more
//! leaves its verdict to the state root that more than two thirds of the validators signed; the report says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agon_protocol::competition::BlobRef;
use agon_protocol::digest::{BlobId, DataDigest};
use agon_protocol::judge::{ProofClaim, Question, TestSetClaim, Verdict};
use agon_protocol::statement::Dataset;

use super::replay::{Decided, Step};
use super::report::{Place, Report, Subject};
use super::source::{Held, Source, SourceError};
use crate::verification::finding::{judge_proofs, open_test_set};
use crate::verification::{ClaimDigest, ProofFinding, ProofVerifier, claim_digest};

/// Proofs that are verified together, and their bytes.
const MAX_BATCH: usize = 32;
const MAX_BATCH_BYTES: u64 = 16 << 20;

/// What the blocks ask and what the validators answered.
#[derive(Debug, Default)]
pub(super) struct Claims {
    keys: Vec<(TestSetClaim, Decided)>,
    proofs: BTreeMap<DataDigest, Vec<(ProofClaim, Decided)>>,
}

impl Claims {
    pub(super) fn add(&mut self, step: &Step) {
        for decided in &step.decided {
            match &decided.question {
                Question::TestSet(claim) => self.keys.push((*claim, decided.clone())),
                Question::Proof(claim) => {
                    let same = self.proofs.entry(claim.data).or_default();
                    same.push((claim.clone(), decided.clone()));
                }
            }
        }
    }

    /// The claim of the key that opens a test set.
    fn key(&self, data: &DataDigest) -> Option<&TestSetClaim> {
        let mut keys = self.keys.iter();
        keys.find(|(claim, _)| claim.data == *data)
            .map(|(claim, _)| claim)
    }

    /// Every verdict by its claim.
    pub(super) fn verdicts(&self) -> HashMap<ClaimDigest, Verdict> {
        let keys = self.keys.iter().map(|(_, decided)| decided);
        let proofs = self.proofs.values().flatten().map(|(_, decided)| decided);
        keys.chain(proofs)
            .map(|decided| (claim_digest(&decided.question), decided.verdict))
            .collect()
    }

    /// The sealed blob and key of every opened test set.
    pub(super) fn openings(&self) -> HashMap<DataDigest, TestSetClaim> {
        let keys = self.keys.iter();
        keys.map(|(claim, _)| (claim.data, *claim)).collect()
    }
}

/// Finds verdicts from a source's blobs.
pub(super) struct Judging<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) verifier: &'a dyn ProofVerifier,
}

/// Why there is no verdict.
enum NoVerdict {
    Missing(BlobId),
    Damaged(Box<Place>, String),
    Trouble(String),
}

impl From<SourceError> for NoVerdict {
    fn from(error: SourceError) -> Self {
        Self::Trouble(error.to_string())
    }
}

impl Judging<'_> {
    /// Verifies all claims and reports on each.
    pub(super) fn verify(&self, claims: &Claims, report: &mut Report) {
        let mut damaged = BTreeSet::new();
        for (claim, decided) in &claims.keys {
            match self.open(claim) {
                Ok(finding) => report.check(
                    Subject::Keys,
                    decided.place(),
                    finding
                        .err()
                        .map(|why| format!("the key was accepted, but {why}")),
                ),
                Err(none) => self.no_verdict(Subject::Keys, decided, none, &mut damaged, report),
            }
        }
        for (data, about) in &claims.proofs {
            let dataset = match claims.key(data).map(|claim| self.open(claim)) {
                Some(Ok(Ok(dataset))) => dataset,
                _ => {
                    for (_, decided) in about {
                        let why = "its test set cannot be opened here; its verdict is taken from the certified state root";
                        report.unchecked(Subject::Proofs, decided.place(), why);
                    }
                    continue;
                }
            };
            for batch in batches(about) {
                self.verify_batch(batch, &dataset, &mut damaged, report);
            }
        }
    }

    fn verify_batch(
        &self,
        batch: &[(ProofClaim, Decided)],
        dataset: &Dataset,
        damaged: &mut BTreeSet<BlobId>,
        report: &mut Report,
    ) {
        let mut present = Vec::new();
        let mut proofs = HashMap::new();
        for (claim, decided) in batch {
            match self.blob(&claim.proof) {
                Ok(bytes) => {
                    proofs.insert(claim.proof.id, bytes);
                    present.push((claim, decided));
                }
                Err(none) => self.no_verdict(Subject::Proofs, decided, none, damaged, report),
            }
        }
        let about: Vec<&ProofClaim> = present.iter().map(|(claim, _)| *claim).collect();
        let found = self.judge(&about, dataset, &proofs);
        for ((_, decided), finding) in present.iter().zip(found) {
            let what = match (finding, decided.verdict) {
                (Ok(Ok(())), Verdict::Valid) | (Ok(Err(_)), Verdict::Invalid) => None,
                (Ok(Ok(())), Verdict::Invalid) => {
                    Some("the proof is valid, the block counts it as invalid".to_owned())
                }
                (Ok(Err(why)), Verdict::Valid) => Some(format!(
                    "the proof is invalid ({why}), the block counts it as valid"
                )),
                (Err(trouble), _) => {
                    report.unchecked(Subject::Proofs, decided.place(), trouble);
                    continue;
                }
            };
            report.check(Subject::Proofs, decided.place(), what);
        }
    }

    fn judge(
        &self,
        claims: &[&ProofClaim],
        dataset: &Dataset,
        proofs: &HashMap<BlobId, Vec<u8>>,
    ) -> Vec<ProofFinding> {
        let read = |blob: &BlobRef| {
            let bytes = proofs.get(&blob.id).cloned().unwrap_or_default();
            Ok(match bytes.len() as u64 == blob.length {
                true => Ok(bytes),
                false => Err(format!(
                    "blob {} has {} bytes, not {}",
                    blob.id,
                    bytes.len(),
                    blob.length
                )),
            })
        };
        judge_proofs(claims, dataset, read, self.verifier)
    }

    /// The verdicts on some questions, those that can be found; with why, when a proof is invalid.
    pub(super) fn find(
        &self,
        questions: &[Question],
        claims: &Claims,
    ) -> HashMap<ClaimDigest, (Verdict, Option<String>)> {
        let mut found = HashMap::new();
        for question in questions {
            let finding = match question {
                Question::TestSet(claim) => self.open(claim).ok().map(|opened| opened.map(drop)),
                Question::Proof(claim) => self.find_proof(claim, claims),
            };
            if let Some(finding) = finding {
                let verdict = match finding.is_ok() {
                    true => Verdict::Valid,
                    false => Verdict::Invalid,
                };
                found.insert(claim_digest(question), (verdict, finding.err()));
            }
        }
        found
    }

    fn find_proof(&self, claim: &ProofClaim, claims: &Claims) -> Option<Result<(), String>> {
        let dataset = self.open(claims.key(&claim.data)?).ok()?.ok()?;
        let bytes = self.blob(&claim.proof).ok()?;
        let proofs = HashMap::from([(claim.proof.id, bytes)]);
        self.judge(&[claim], &dataset, &proofs).pop()?.ok()
    }

    fn open(&self, claim: &TestSetClaim) -> Result<Result<Dataset, String>, NoVerdict> {
        let bytes = self.blob(&claim.sealed)?;
        if bytes.len() as u64 != claim.sealed.length {
            return Ok(Err(
                "the sealed blob has another length than was stated".into()
            ));
        }
        Ok(open_test_set(claim, &bytes))
    }

    fn blob(&self, blob: &BlobRef) -> Result<Vec<u8>, NoVerdict> {
        match self.source.blob(blob)? {
            Held::Bytes(bytes) => Ok(bytes),
            Held::Missing => Err(NoVerdict::Missing(blob.id)),
            Held::Damaged { place, what } => Err(NoVerdict::Damaged(place, what)),
        }
    }

    fn no_verdict(
        &self,
        subject: Subject,
        decided: &Decided,
        none: NoVerdict,
        damaged: &mut BTreeSet<BlobId>,
        report: &mut Report,
    ) {
        let why = match none {
            NoVerdict::Missing(id) => format!("blob {id} is not here"),
            NoVerdict::Damaged(place, what) => {
                let id = place.blob;
                if id.is_none_or(|id| damaged.insert(id)) {
                    report.wrong(Subject::Blobs, *place, what);
                }
                "its blob is damaged".to_owned()
            }
            NoVerdict::Trouble(why) => why,
        };
        let why = format!("{why}; its verdict is taken from the certified state root");
        report.unchecked(subject, decided.place(), why);
    }
}

/// Claims about one test set in groups that are verified together.
fn batches(claims: &[(ProofClaim, Decided)]) -> Vec<&[(ProofClaim, Decided)]> {
    let mut batches = Vec::new();
    let mut rest = claims;
    while !rest.is_empty() {
        let mut bytes = 0u64;
        let fits = |(claim, _): &&(ProofClaim, Decided)| {
            bytes = bytes.saturating_add(claim.proof.length);
            bytes <= MAX_BATCH_BYTES
        };
        let count = rest.iter().take(MAX_BATCH).take_while(fits).count().max(1);
        let (batch, tail) = rest.split_at(count);
        batches.push(batch);
        rest = tail;
    }
    batches
}
