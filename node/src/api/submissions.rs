//! Submitted proofs: in blocks, waiting, or refused by this node, with the reason and this node's own verification.

use std::collections::HashMap;
use std::sync::Arc;

use agon_protocol::block::Block;
use agon_protocol::codec::Decode;
use agon_protocol::competition::{BlobRef, Competition, Registration, Submission};
use agon_protocol::digest::{CompetitionId, RegistrationId, TransactionId};
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{ProofClaim, Question, Verdict};
use agon_protocol::metric::Tally;
use agon_protocol::state::State as Ledger;
use agon_protocol::transactions::Action;
use agon_protocol::units::Height;
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::competitions::{Standing, find};
use super::error::ApiError;
use super::listing::{Asked, Listed, cursor, limit};
use super::schema::objects;
use super::types::{ProofBlob, SubmissionView, Verified};
use super::{Api, Id, Server, blocking, views};
use crate::ledger::{LedgerError, Store, StoreError};
use crate::mempool::{Known, Refused, Stage, WaitingProof};
use crate::reasons::Reasons;

/// All states, as a filter names them.
const STATES: [&str; 5] = ["waiting", "verifying", "ready", "accepted", "refused"];

objects! {
    /// The query of `GET /v1/competitions/{id}/submissions`.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct SubmissionsQuery {
        /// Only those of this registration.
        pub(super) registration: Option<RegistrationId>,
        /// Only those of this account.
        pub(super) competitor: Option<AccountId>,
        /// Only those in this state.
        pub(super) state: Option<String> = ["waiting", "verifying", "ready", "accepted", "refused"],
        /// The cursor to go on behind.
        pub(super) after: Option<String>,
        /// How many of those in blocks, 50 when it is not said, at most 200. Those in no block stand on the last page.
        pub(super) limit: Option<u64>,
    }
}

/// A submission in a block: where it is in the competition's record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Submitted {
    registration: usize,
    submission: usize,
    /// Index in its block; unknown to a node that does not hold that block.
    index: Option<u32>,
}

/// The submissions of a competition in the order of the chain.
pub(super) fn in_order(
    competition: &Competition,
    store: &Store,
) -> Result<Vec<Submitted>, StoreError> {
    let mut all = Vec::new();
    for (registration, record) in competition.registrations.iter().enumerate() {
        for (submission, one) in record.submissions.iter().enumerate() {
            let index = store.transaction(&one.transaction)?.map(|(_, index)| index);
            all.push((one.height, index, registration, submission));
        }
    }
    all.sort_unstable();
    let submitted = all
        .into_iter()
        .map(|(_, index, registration, submission)| Submitted {
            registration,
            submission,
            index,
        });
    Ok(submitted.collect())
}

pub(super) async fn list(
    State(server): State<Server>,
    Id(id): Id<CompetitionId>,
    Asked(query): Asked<SubmissionsQuery>,
    uri: Uri,
) -> Result<Listed<Vec<SubmissionView>>, ApiError> {
    let limit = limit(query.limit, 50, 200)?;
    let after = cursor(query.after.as_deref(), |text| text.parse::<usize>().ok())?;
    if let Some(state) = &query.state
        && !STATES.contains(&state.as_str())
    {
        return Err(ApiError::bad_request(
            "there is no such state",
            format!("give one of {}", STATES.join(", ")),
        ));
    }
    let competition = find(&server.api.ledger.state(), id)?;
    let standing = server.standings.of(&competition);
    let page = blocking(move || page(&server, &standing, &query, after.unwrap_or(0), limit));
    let (body, next) = page.await?;
    Ok(Listed {
        body,
        total: None,
        next: next.map(|next| ("after", next.to_string())),
        uri,
    })
}

/// At most `limit` submissions in blocks from `from` on, and behind the last of them those in no block; where to go on.
fn page(
    server: &Server,
    standing: &Standing,
    query: &SubmissionsQuery,
    from: usize,
    limit: usize,
) -> Result<(Vec<SubmissionView>, Option<usize>), ApiError> {
    let competition = standing.reasons.competition();
    let mut reader = Reader::new(&server.api, competition);
    let mut body = Vec::new();
    let submitted = standing.submitted(server)?.iter().enumerate().skip(from);
    for (ordinal, place) in submitted {
        let registration = &competition.registrations[place.registration];
        let submission = &registration.submissions[place.submission];
        let state = state_of(submission);
        if !query.wants(&registration.id, &registration.competitor, state) {
            continue;
        }
        if body.len() == limit {
            return Ok((body, Some(ordinal)));
        }
        body.push(reader.in_block(registration, submission, place.index)?);
    }
    for view in reader.in_no_block(&standing.reasons) {
        if query.wants(&view.registration, &view.competitor, &view.state) {
            body.push(view);
        }
    }
    Ok((body, None))
}

impl SubmissionsQuery {
    fn wants(&self, registration: &RegistrationId, competitor: &AccountId, state: &str) -> bool {
        self.registration
            .is_none_or(|wanted| wanted == *registration)
            && self.competitor.is_none_or(|wanted| wanted == *competitor)
            && self.state.as_ref().is_none_or(|wanted| wanted == state)
    }
}

fn state_of(submission: &Submission) -> &'static str {
    match submission.verdict {
        Verdict::Valid => "accepted",
        Verdict::Invalid => "refused",
    }
}

pub(super) async fn one(
    State(server): State<Server>,
    Id(id): Id<TransactionId>,
) -> Result<Json<SubmissionView>, ApiError> {
    let view = blocking(move || look_up(&server.api, &id)).await?;
    Ok(Json(view))
}

/// A submission by its transaction, wherever it is.
pub(super) fn look_up(api: &Api, id: &TransactionId) -> Result<SubmissionView, ApiError> {
    // the pool first: what a block takes between the two looks is found in the ledger
    let known = api.mempool.known(id);
    let state = api.ledger.state();
    if let Some((competition, registration)) = committed(api, &state, id)? {
        let record = competition.registration(&registration);
        let mut submissions = record.iter().flat_map(|record| &record.submissions);
        let submission = submissions.find(|one| one.transaction == *id);
        if let (Some(record), Some(submission)) = (record, submission) {
            let index = api.ledger.store().transaction(id)?.map(|(_, index)| index);
            return Reader::new(api, &competition).in_block(record, submission, index);
        }
    }
    let of_registration = |registration: &RegistrationId| {
        let registration = state.registration(registration)?;
        state.shared_competition(&registration.competition)
    };
    match known {
        Some(Known::Refused(refused)) if refused.proof.is_some() => {
            let competition = refused.proof.and_then(|(id, _)| of_registration(&id));
            let competition = competition.map(|competition| competition.id);
            refused_view(*id, competition, refused).ok_or_else(|| no_submission(id))
        }
        Some(Known::Waiting(_)) => {
            let waiting = api.mempool.proofs(|_| true);
            let waiting = waiting.into_iter().find(|one| one.transaction == *id);
            let waiting = waiting.ok_or_else(|| no_submission(id))?;
            match of_registration(&waiting.registration) {
                Some(competition) => Ok(Reader::new(api, &competition).waiting(waiting)),
                None => Ok(waiting_view(waiting, None)),
            }
        }
        _ => Err(no_submission(id)),
    }
}

/// The competition and registration of a submission that is in a block.
fn committed(
    api: &Api,
    state: &Ledger,
    id: &TransactionId,
) -> Result<Option<(Arc<Competition>, RegistrationId)>, ApiError> {
    if let Some((height, index)) = api.ledger.store().transaction(id)? {
        let Some(certified) = api.ledger.certified(Height::new(height))? else {
            return Ok(None);
        };
        let block = Block::from_bytes(&certified.block).map_err(LedgerError::from)?;
        let signed = block.transactions.get(index as usize);
        let Some(Action::SubmitProof { registration, .. }) =
            signed.map(|signed| &signed.transaction.action)
        else {
            return Ok(None);
        };
        let found = state.registration(registration);
        let found = found.and_then(|found| state.shared_competition(&found.competition));
        return Ok(found.map(|found| (found, *registration)));
    }
    if api.ledger.first().get() <= 1 {
        return Ok(None);
    }
    // the blocks before the snapshot are not here, the state has what they left
    let found = state.competitions().find_map(|competition| {
        let mut registrations = competition.registrations.iter();
        let is = |one: &&Registration| one.submissions.iter().any(|one| one.transaction == *id);
        Some((competition.clone(), registrations.find(is)?.id))
    });
    Ok(found)
}

fn no_submission(id: &TransactionId) -> ApiError {
    ApiError::not_found(
        format!("transaction {id} submits no proof that this node knows"),
        "GET /v1/transactions/{id} says what became of other transactions",
    )
}

/// Reads what the record of one competition does not say: blocks, verdicts and blobs.
struct Reader<'a> {
    api: &'a Api,
    competition: &'a Competition,
    blocks: HashMap<Height, Option<BlockFacts>>,
}

/// What a submission needs of its block.
struct BlockFacts {
    signers: Vec<AccountId>,
    round: u32,
    nonces: HashMap<TransactionId, u64>,
}

impl<'a> Reader<'a> {
    fn new(api: &'a Api, competition: &'a Competition) -> Self {
        Self {
            api,
            competition,
            blocks: HashMap::new(),
        }
    }

    fn block(&mut self, height: Height) -> Result<Option<&BlockFacts>, ApiError> {
        if !self.blocks.contains_key(&height) {
            let facts = self.api.ledger.block(height)?.map(|committed| {
                let transactions = committed.block.transactions.iter();
                let signatures = committed.certificate.signatures.iter();
                BlockFacts {
                    signers: signatures.map(|one| one.validator).collect(),
                    round: committed.certificate.round,
                    nonces: committed
                        .outcome
                        .receipts
                        .iter()
                        .zip(transactions)
                        .map(|(receipt, one)| (receipt.transaction, one.transaction.nonce))
                        .collect(),
                }
            });
            self.blocks.insert(height, facts);
        }
        Ok(self.blocks.get(&height).and_then(Option::as_ref))
    }

    fn in_block(
        &mut self,
        registration: &Registration,
        submission: &Submission,
        index: Option<u32>,
    ) -> Result<SubmissionView, ApiError> {
        let spec = &self.competition.spec;
        let facts = self.block(submission.height)?;
        let (certified_by, round) = match facts {
            Some(facts) => (facts.signers.clone(), Some(facts.round)),
            None => (Vec::new(), None),
        };
        let nonce = facts.and_then(|facts| facts.nonces.get(&submission.transaction).copied());
        let verified = nonce.and_then(|nonce| {
            self.verified(registration, nonce, &submission.tally, submission.proof)
        });
        let valid = submission.verdict == Verdict::Valid;
        let counting = views::counting(registration, &spec.metric);
        let best = counting.is_some_and(|one| one.transaction == submission.transaction);
        Ok(SubmissionView {
            transaction: submission.transaction,
            competition: Some(self.competition.id),
            registration: registration.id,
            competitor: registration.competitor,
            state: state_of(submission).into(),
            waiting_for: None,
            height: Some(submission.height.get()),
            index,
            time_ms: Some(submission.time.get()),
            best,
            rule: Some(if valid { "SUB-8" } else { "SUB-9" }.into()),
            reason: (!valid).then(|| invalid(verified.as_ref())),
            proof: Some(self.blob(submission.proof)),
            verified,
            certified_by,
            round,
            ..self.scored(&submission.tally)
        })
    }

    /// A view that has only its score.
    fn scored(&self, tally: &Tally) -> SubmissionView {
        let spec = &self.competition.spec;
        SubmissionView {
            tally: Some(tally.clone()),
            score: Some(spec.metric.display(tally, spec.samples, &spec.task)),
            score_words: Some(spec.metric.describe(tally, spec.samples, &spec.task)),
            correct: spec.metric.hits(tally),
            ..blank()
        }
    }

    /// Waiting and refused submissions of the competition.
    fn in_no_block(&self, reasons: &Reasons) -> Vec<SubmissionView> {
        let mine = |id: &RegistrationId| reasons.registration(id).is_some();
        let waiting = self.api.mempool.proofs(mine);
        let mut views: Vec<_> = waiting.into_iter().map(|one| self.waiting(one)).collect();
        let mut refused = self.api.mempool.refused_proofs();
        refused.retain(|(_, refused)| refused.proof.is_some_and(|(id, _)| mine(&id)));
        refused.sort_by_key(|(id, _)| *id);
        let competition = Some(self.competition.id);
        views.extend(
            refused
                .into_iter()
                .filter_map(|(id, refused)| refused_view(id, competition, refused)),
        );
        views
    }

    fn waiting(&self, waiting: WaitingProof) -> SubmissionView {
        let scored = match self.competition.spec.metric.check_claim(
            &waiting.tally,
            self.competition.spec.samples,
            &self.competition.spec.task,
        ) {
            Ok(()) => self.scored(&waiting.tally),
            // it has not been looked at yet, and a score of nonsense is none
            Err(_) => blank(),
        };
        let registration = self.competition.registration(&waiting.registration);
        let verified = registration.and_then(|registration| {
            self.verified(registration, waiting.nonce, &waiting.tally, waiting.proof)
        });
        let proof = self.blob(waiting.proof);
        SubmissionView {
            tally: Some(waiting.tally.clone()),
            score: scored.score,
            score_words: scored.score_words,
            correct: scored.correct,
            verified,
            proof: Some(proof),
            ..waiting_view(waiting, Some(self.competition.id))
        }
    }

    fn blob(&self, proof: BlobRef) -> ProofBlob {
        ProofBlob {
            id: proof.id,
            length: proof.length,
            held: self.api.blobs.holds(proof.id),
        }
    }

    fn verified(
        &self,
        registration: &Registration,
        nonce: u64,
        tally: &Tally,
        proof: BlobRef,
    ) -> Option<Verified> {
        let network = self.api.ledger.network();
        let competition = &self.competition;
        let claim = ProofClaim::of(network, competition, registration, nonce, tally, proof);
        let question = Question::Proof(claim);
        let (verdict, reason) = self.api.verification.verdict(&question)?;
        let judging = self.api.verification.judging(&question);
        Some(Verified {
            valid: verdict == Verdict::Valid,
            reason: (verdict == Verdict::Invalid).then_some(reason),
            took_ms: judging.map(|judging| judging.micros as f64 / 1e3),
            together: judging.map(|judging| judging.together),
            at_ms: judging.map(|judging| judging.at.get()),
        })
    }
}

/// Why a proof is refused in a block: the ledger's words, and this node's own finding.
fn invalid(verified: Option<&Verified>) -> String {
    let words = agon_protocol::competition::Refusal::InvalidProof.to_string();
    match verified.and_then(|verified| verified.reason.as_deref()) {
        Some(reason) => format!("{words}: {reason}"),
        None => words,
    }
}

/// A view in which everything is still to be said.
fn blank() -> SubmissionView {
    SubmissionView {
        transaction: TransactionId::from_raw([0; 32]),
        competition: None,
        registration: RegistrationId::from_raw([0; 32]),
        competitor: AccountId::from_raw([0; 32]),
        state: String::new(),
        waiting_for: None,
        height: None,
        index: None,
        time_ms: None,
        tally: None,
        score: None,
        score_words: None,
        correct: None,
        best: false,
        rule: None,
        reason: None,
        proof: None,
        verified: None,
        certified_by: Vec::new(),
        round: None,
    }
}

/// The state of a submission that waits for something.
pub(super) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Nonce | Stage::Blob(_) | Stage::Ledger => "waiting",
        Stage::Verdict => "verifying",
        Stage::Block => "ready",
    }
}

fn waiting_view(waiting: WaitingProof, competition: Option<CompetitionId>) -> SubmissionView {
    SubmissionView {
        transaction: waiting.transaction,
        competition,
        registration: waiting.registration,
        competitor: waiting.competitor,
        state: stage_name(waiting.stage).into(),
        waiting_for: Some(waiting.stage.to_string()),
        ..blank()
    }
}

/// A refusal of a submission; `None` when it is one of something else.
fn refused_view(
    transaction: TransactionId,
    competition: Option<CompetitionId>,
    refused: Refused,
) -> Option<SubmissionView> {
    let (registration, competitor) = refused.proof?;
    Some(SubmissionView {
        transaction,
        competition,
        registration,
        competitor,
        state: "refused".into(),
        rule: refused.rule.map(Into::into),
        reason: Some(refused.reason),
        ..blank()
    })
}
