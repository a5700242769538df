//! A competitor: commits to a hidden model, registers it, proves its score.

use std::path::Path;
use std::time::{Duration, Instant};

use agon_circuits::commitment::CommittedModel;
use agon_circuits::generators::GeneratorCache;
use agon_circuits::prover::{self, Settings};
use agon_circuits::standalone_context;
use agon_node::client::Client;
use agon_protocol::codec::Encode;
use agon_protocol::digest::{ModelDigest, RegistrationId, TransactionId};
use agon_protocol::identity::AccountId;
use agon_protocol::metric::{Metric, Tally};
use agon_protocol::statement::Context;
use agon_protocol::transactions::{Action, SignedTransaction};

use super::{Contest, Task, blob_ref, task};
use crate::account::{Account, failed};
use crate::{TestnetError, interrupt};

/// Commits and proves, with the generators that the network's nodes use.
#[derive(Debug)]
pub struct Workshop {
    generators: GeneratorCache,
    seed: u64,
}

/// A proof with the score that it shows.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The blob.
    pub bytes: Vec<u8>,
    /// The score.
    pub tally: Tally,
}

impl Workshop {
    /// A workshop for the models of a seed; `generators` is the folder of the nodes' setting of that name.
    pub fn new(generators: &Path, seed: u64) -> Self {
        Self {
            generators: GeneratorCache::new(generators),
            seed,
        }
    }

    /// Commits to model number `variant` in the name of `account`.
    pub fn competitor(&self, account: Account, variant: u64) -> Result<Competitor, TestnetError> {
        Ok(Competitor {
            committed: self.commit(account.id(), variant)?,
            account,
            registration: None,
        })
    }

    /// How long a commitment and a proof take here and now.
    pub fn rehearse(&self, task: &Task) -> Result<Duration, TestnetError> {
        let context = standalone_context();
        let start = Instant::now();
        let committed = self.commit(context.competitor, 0)?;
        self.prove_for(&committed, task, &context)?;
        Ok(start.elapsed())
    }

    fn commit(&self, owner: AccountId, variant: u64) -> Result<CommittedModel, TestnetError> {
        let model = task::model(self.seed, variant)?;
        CommittedModel::new(&self.generators, model, owner)
            .map_err(|error| TestnetError::Expectation(format!("no commitment: {error}")))
    }

    /// Proves a competitor's score for its registration, to be submitted with the nonce `nonce`.
    pub fn prove(
        &self,
        contest: &Contest,
        competitor: &Competitor,
        nonce: u64,
    ) -> Result<Proof, TestnetError> {
        let context = Context {
            network: competitor.account.network(),
            competition: contest.id,
            registration: competitor.registration()?,
            competitor: competitor.account.id(),
            nonce,
        };
        self.prove_for(&competitor.committed, &contest.task, &context)
    }

    fn prove_for(
        &self,
        committed: &CommittedModel,
        task: &Task,
        context: &Context,
    ) -> Result<Proof, TestnetError> {
        interrupt::check()?;
        let submission = prover::prove(
            &self.generators,
            committed,
            &task.data,
            Metric::Accuracy,
            context,
            &Settings::default(),
            &|_, _| (),
        )
        .map_err(|error| TestnetError::Expectation(format!("no proof: {error}")))?;
        Ok(Proof {
            bytes: submission.to_bytes(),
            tally: submission.tally().clone(),
        })
    }
}

/// An account with a hidden model.
#[derive(Debug)]
pub struct Competitor {
    /// Who competes.
    pub account: Account,
    committed: CommittedModel,
    registration: Option<RegistrationId>,
}

impl Competitor {
    /// The digest that it registers.
    pub fn model(&self) -> ModelDigest {
        self.committed.digest()
    }

    /// The opening that every proof for this registration holds.
    pub fn opening(&self) -> Vec<u8> {
        self.committed.commitment().to_bytes()
    }

    /// The registration that it signed last.
    pub fn registration(&self) -> Result<RegistrationId, TestnetError> {
        self.registration
            .ok_or_else(|| TestnetError::Expectation("the competitor is not registered".into()))
    }

    /// Signs the registration.
    pub fn register(&mut self, contest: &Contest) -> SignedTransaction {
        let signed = self.account.sign(Action::Register {
            competition: contest.id,
            model: self.model(),
        });
        self.registration = signed.registration_id();
        signed
    }

    /// Signs the submission of a proof that was made for the next nonce.
    pub fn submit(&mut self, proof: &Proof) -> Result<SignedTransaction, TestnetError> {
        let registration = self.registration()?;
        Ok(self.account.sign(submission(registration, proof)))
    }

    /// Proves, hands proof and transaction to a node, and gives the transaction's id.
    pub fn prove_and_send(
        &mut self,
        workshop: &Workshop,
        contest: &Contest,
        client: &Client,
    ) -> Result<TransactionId, TestnetError> {
        let proof = workshop.prove(contest, self, self.account.nonce())?;
        let signed = self.submit(&proof)?;
        send_with_blob(client, &signed, &proof)
    }
}

/// The action that submits a proof.
pub fn submission(registration: RegistrationId, proof: &Proof) -> Action {
    Action::SubmitProof {
        registration,
        tally: proof.tally.clone(),
        proof: blob_ref(&proof.bytes),
    }
}

/// Stores the proof with a node and sends the transaction that names it.
pub fn send_with_blob(
    client: &Client,
    signed: &SignedTransaction,
    proof: &Proof,
) -> Result<TransactionId, TestnetError> {
    client.put_blob(&proof.bytes).map_err(failed("a proof"))?;
    let admitted = client.send(signed).map_err(failed("a submission"))?;
    Ok(admitted.id)
}
