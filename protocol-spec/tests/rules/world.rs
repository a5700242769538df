//! A network to test rules on: known keys, a chain that grows block by block, and a judge that knows honest proofs.

use std::collections::BTreeSet;

use agon_protocol::block::Block;
use agon_protocol::codec::Encode;
use agon_protocol::competition::{BlobRef, Competition, CompetitionSpec, Phase};
use agon_protocol::digest::{
    BlobId, CompetitionId, DataDigest, ModelDigest, RegistrationId, StateRoot,
};
use agon_protocol::genesis::{Genesis, GenesisBalance, GenesisValidator, Parameters};
use agon_protocol::identity::AccountId;
use agon_protocol::judge::{Judge, ProofClaim, Question, TestSetClaim, Verdict};
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::sealed::DataKey;
use agon_protocol::state::State;
use agon_protocol::statement::{FeatureEncoding, InputEncoding, Task};
use agon_protocol::transactions::{Action, SignedTransaction, Transaction};
use agon_protocol::transition::{
    Applied, BlockError, Outcome, Skipped, TransactionError, admit, apply_block, build_block,
};
use agon_protocol::units::{Amount, TimeMs};
use ed25519_dalek::SigningKey;

/// The people of the tests; the number seeds the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Validator = 1,
    Host,
    Alice,
    Bob,
    Carol,
    /// Starts without money.
    Pauper,
}

impl Who {
    pub(crate) fn key(self) -> SigningKey {
        SigningKey::from_bytes(&[self as u8; 32])
    }

    pub(crate) fn account(self) -> AccountId {
        AccountId::of(&self.key())
    }
}

pub(crate) const START: u64 = 1_000_000;
pub(crate) const PRIZE: u64 = 50_001;
pub(crate) const BOND: u64 = 1_000;
pub(crate) const DEPOSIT: u64 = 100;
pub(crate) const OPENING: u64 = 5_000;
pub(crate) const OPENS_AT: u64 = 10_000;
pub(crate) const REGISTER_UNTIL: u64 = 20_000;
pub(crate) const KEY_UNTIL: u64 = 30_000;
pub(crate) const PROVE_UNTIL: u64 = 40_000;
pub(crate) const SAMPLES: u32 = 500;

pub(crate) fn genesis() -> Genesis {
    let rich = [Who::Host, Who::Alice, Who::Bob, Who::Carol];
    let balance = |who: Who| GenesisBalance {
        account: who.account(),
        amount: Amount::new(START),
    };
    Genesis {
        name: "test".to_owned(),
        protocol_version: 1,
        time: TimeMs::new(1_000),
        validators: vec![GenesisValidator {
            account: Who::Validator.account(),
            power: 10,
        }],
        balances: rich.into_iter().map(balance).collect(),
        parameters: Parameters {
            min_samples: 100,
            min_deposit: Amount::new(10),
            min_bond: Amount::new(100),
            min_window_ms: 2_000,
            max_duration_ms: 100_000,
            max_block_bytes: 1 << 16,
            max_block_transactions: 100,
        },
    }
}

pub(crate) fn data_key() -> DataKey {
    DataKey::from_raw([42; 32])
}

pub(crate) fn spec() -> CompetitionSpec {
    CompetitionSpec {
        title: "Handwritten digits".to_owned(),
        description: "Which digit is it?\nSmall images.".to_owned(),
        encoding: InputEncoding {
            features: vec![
                FeatureEncoding {
                    exponent: -4,
                    offset: 0,
                    max: 255
                };
                3
            ],
        },
        task: Task::Classification { classes: 10 },
        samples: SAMPLES,
        metric: Metric::Accuracy,
        max_parameters: 100_000,
        training_data: Some(BlobRef {
            id: BlobId::of(b"training data"),
            length: 4_000,
        }),
        sealed_data: BlobRef {
            id: BlobId::of(b"sealed data"),
            length: 5_000,
        },
        data_digest: DataDigest::of(b"test set"),
        key_commitment: data_key().commitment(),
        opens_at: TimeMs::new(OPENS_AT),
        register_until: TimeMs::new(REGISTER_UNTIL),
        key_until: TimeMs::new(KEY_UNTIL),
        prove_until: TimeMs::new(PROVE_UNTIL),
        payouts: vec![7_000, 2_000, 1_000],
        deposit: Amount::new(DEPOSIT),
        submissions_per_registration: 2,
        registrations_per_account: 2,
        // 50 of 500
        minimum: Threshold::AtLeast {
            millionths: 100_000,
        },
    }
}

pub(crate) fn model(name: &str) -> ModelDigest {
    ModelDigest::of(name.as_bytes())
}

/// The only proof that [`Script`] takes for `claim`: its name covers everything a claim binds, as a real proof does.
pub(crate) fn honest_proof(claim: &ProofClaim) -> BlobRef {
    let ProofClaim {
        context,
        model,
        data,
        samples,
        width,
        task,
        max_parameters,
        metric,
        tally,
        proof: _,
    } = claim;
    let mut bytes = context.to_bytes();
    model.encode(&mut bytes);
    data.encode(&mut bytes);
    samples.encode(&mut bytes);
    width.encode(&mut bytes);
    task.encode(&mut bytes);
    max_parameters.encode(&mut bytes);
    metric.encode(&mut bytes);
    tally.encode(&mut bytes);
    BlobRef {
        id: BlobId::of(&bytes),
        length: 1_000,
    }
}

/// A judge for tests: a proof is valid if and only if it is [`honest_proof`] of its claim.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Blobs that have not arrived yet, so that no verdict on them is known.
    pub(crate) missing: BTreeSet<BlobId>,
    /// Sealed blobs that do not hold what their competition says.
    pub(crate) rotten: BTreeSet<BlobId>,
}

impl Judge for Script {
    fn test_set(&self, claim: &TestSetClaim) -> Option<Verdict> {
        assert_eq!(
            claim.key.commitment(),
            data_key().commitment(),
            "only a matching key is judged"
        );
        match self.rotten.contains(&claim.sealed.id) {
            _ if self.missing.contains(&claim.sealed.id) => None,
            true => Some(Verdict::Invalid),
            false => Some(Verdict::Valid),
        }
    }

    fn proof(&self, claim: &ProofClaim) -> Option<Verdict> {
        match claim.proof == honest_proof(claim) {
            _ if self.missing.contains(&claim.proof.id) => None,
            true => Some(Verdict::Valid),
            false => Some(Verdict::Invalid),
        }
    }
}

pub(crate) struct World {
    pub(crate) genesis: Genesis,
    pub(crate) state: State,
    pub(crate) judge: Script,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::on(genesis())
    }

    pub(crate) fn on(genesis: Genesis) -> Self {
        let state = State::genesis(&genesis).unwrap();
        Self {
            genesis,
            state,
            judge: Script::default(),
        }
    }

    /// A world in which `spec` was opened by the host at [`OPENING`].
    pub(crate) fn with(spec: CompetitionSpec) -> (Self, CompetitionId) {
        let mut world = Self::new();
        let id = world.open(OPENING, spec);
        (world, id)
    }

    /// A world with the usual competition.
    pub(crate) fn opened() -> (Self, CompetitionId) {
        Self::with(spec())
    }

    /// The usual competition with one registration of each of `people`, in that order; the key is released.
    pub(crate) fn proving(
        spec: CompetitionSpec,
        people: &[Who],
    ) -> (Self, CompetitionId, Vec<RegistrationId>) {
        let (mut world, competition) = Self::with(spec);
        let mut registrations = Vec::new();
        for (time, who) in (OPENS_AT..).zip(people) {
            registrations.push(world.register(time, *who, competition, &format!("model {who:?}")));
        }
        world.accept(
            REGISTER_UNTIL,
            Who::Host,
            Action::ReleaseKey {
                competition,
                key: data_key(),
            },
        );
        (world, competition, registrations)
    }

    pub(crate) fn transaction(&self, who: Who, action: Action) -> Transaction {
        Transaction {
            network: self.state.network(),
            sender: who.account(),
            nonce: self.state.account(&who.account()).nonce,
            action,
        }
    }

    pub(crate) fn sign(&self, who: Who, action: Action) -> SignedTransaction {
        self.transaction(who, action).sign(&who.key())
    }

    /// A block at `time` that follows the state, with a root that is only right when nothing happens.
    pub(crate) fn block(&self, time: u64, transactions: Vec<SignedTransaction>) -> Block {
        Block {
            version: self.state.next_version(),
            network: self.state.network(),
            height: self.state.height().next().unwrap(),
            time: TimeMs::new(time),
            parent: self.state.tip(),
            proposer: Who::Validator.account(),
            state_root: StateRoot::from_raw([0; 32]),
            transactions,
        }
    }

    /// Builds a block of all `transactions`, applies it, and moves on.
    pub(crate) fn accept_all(&mut self, time: u64, transactions: &[SignedTransaction]) -> Applied {
        let proposer = Who::Validator.account();
        let built = build_block(
            &self.state,
            transactions,
            proposer,
            TimeMs::new(time),
            &self.judge,
        )
        .unwrap();
        assert_eq!(built.skipped, vec![], "every transaction is accepted");
        let applied = apply_block(&self.state, &built.block, &self.judge).unwrap();
        assert_eq!(applied.state.root(), built.block.state_root);
        assert_eq!(applied.receipts, built.applied.receipts);
        assert_eq!(applied.events, built.applied.events);
        assert_eq!(
            applied.state.total(),
            applied.state.supply(),
            "money is conserved"
        );
        self.state = applied.state.clone();
        applied
    }

    pub(crate) fn accept_signed(&mut self, time: u64, transaction: SignedTransaction) -> Applied {
        if self.state.time() < TimeMs::new(time) {
            assert_eq!(
                admit(&self.settled(time), &transaction, TimeMs::new(time)).err(),
                None
            );
        }
        self.accept_all(time, &[transaction])
    }

    pub(crate) fn accept(&mut self, time: u64, who: Who, action: Action) -> Applied {
        let transaction = self.sign(who, action);
        self.accept_signed(time, transaction)
    }

    pub(crate) fn pass(&mut self, time: u64) -> Applied {
        self.accept_all(time, &[])
    }

    /// The state after an empty block at `time`.
    fn settled(&self, time: u64) -> State {
        let (proposer, time) = (Who::Validator.account(), TimeMs::new(time));
        build_block(&self.state, &[], proposer, time, &self.judge)
            .unwrap()
            .applied
            .state
    }

    /// A block with `transaction` is refused, a proposer leaves it out, and the reason is the same each time.
    pub(crate) fn refuse_signed(
        &self,
        time: u64,
        transaction: &SignedTransaction,
    ) -> TransactionError {
        let block = self.block(time, vec![transaction.clone()]);
        let found =
            apply_block(&self.state, &block, &self.judge).expect_err("a block with it is refused");
        let BlockError::Transaction {
            index: 0,
            id,
            error,
        } = found
        else {
            panic!("refused for another reason: {found}")
        };
        assert_eq!(id, transaction.id());
        let (proposer, at) = (Who::Validator.account(), TimeMs::new(time));
        let built = build_block(&self.state, [transaction], proposer, at, &self.judge).unwrap();
        assert_eq!(built.skipped, vec![(id, Skipped::Invalid(error.clone()))]);
        assert_eq!(built.block.transactions, vec![]);
        assert_eq!(
            built.applied.state.root(),
            self.settled(time).root(),
            "it leaves no trace"
        );
        if error != TransactionError::TestSetMismatch {
            assert_eq!(
                built.applied.state.check(transaction, at),
                Err(error.clone())
            );
        }
        error
    }

    pub(crate) fn refuse(&self, time: u64, who: Who, action: Action) -> TransactionError {
        self.refuse_signed(time, &self.sign(who, action))
    }

    pub(crate) fn open(&mut self, time: u64, spec: CompetitionSpec) -> CompetitionId {
        let transaction = self.sign(Who::Host, open(spec));
        let id = transaction.competition_id().unwrap();
        self.accept_signed(time, transaction);
        id
    }

    pub(crate) fn register(
        &mut self,
        time: u64,
        who: Who,
        competition: CompetitionId,
        name: &str,
    ) -> RegistrationId {
        let transaction = self.sign(
            who,
            Action::Register {
                competition,
                model: model(name),
            },
        );
        let id = transaction.registration_id().unwrap();
        self.accept_signed(time, transaction);
        id
    }

    pub(crate) fn release(&mut self, time: u64, competition: CompetitionId) -> Applied {
        self.accept(
            time,
            Who::Host,
            Action::ReleaseKey {
                competition,
                key: data_key(),
            },
        )
    }

    /// An honest proof of `correct` hits for the sender's next nonce.
    pub(crate) fn prove(
        &self,
        who: Who,
        registration: RegistrationId,
        correct: u32,
    ) -> SignedTransaction {
        self.prove_tally(who, registration, Tally::of_hits(correct))
    }

    /// An honest proof of `tally` for the sender's next nonce.
    pub(crate) fn prove_tally(
        &self,
        who: Who,
        registration: RegistrationId,
        tally: Tally,
    ) -> SignedTransaction {
        let draft = BlobRef {
            id: BlobId::of(b"draft"),
            length: 1,
        };
        let draft = self.sign(
            who,
            Action::SubmitProof {
                registration,
                tally: tally.clone(),
                proof: draft,
            },
        );
        let admitted = admit(&self.state, &draft, self.state.time()).unwrap();
        let Some(Question::Proof(claim)) = admitted.question else {
            panic!("a proof asks for a verdict")
        };
        let proof = honest_proof(&claim);
        self.sign(
            who,
            Action::SubmitProof {
                registration,
                tally,
                proof,
            },
        )
    }

    pub(crate) fn submit(
        &mut self,
        time: u64,
        who: Who,
        registration: RegistrationId,
        correct: u32,
    ) {
        self.submit_tally(time, who, registration, Tally::of_hits(correct));
    }

    pub(crate) fn submit_tally(
        &mut self,
        time: u64,
        who: Who,
        registration: RegistrationId,
        tally: Tally,
    ) {
        let transaction = self.prove_tally(who, registration, tally);
        let applied = self.accept_signed(time, transaction);
        assert_eq!(applied.receipts[0].outcome, Outcome::Applied);
    }

    pub(crate) fn balance(&self, who: Who) -> u64 {
        self.state.account(&who.account()).balance.get()
    }

    pub(crate) fn competition(&self, id: CompetitionId) -> &Competition {
        self.state.competition(&id).unwrap()
    }

    pub(crate) fn phase(&self, id: CompetitionId) -> Phase {
        self.state.phase(&id).unwrap()
    }
}

pub(crate) fn open(spec: CompetitionSpec) -> Action {
    Action::OpenCompetition {
        spec: Box::new(spec),
        prize: Amount::new(PRIZE),
        bond: Amount::new(BOND),
    }
}

pub(crate) fn bad_proof(registration: RegistrationId, correct: u32, name: &str) -> Action {
    let proof = BlobRef {
        id: BlobId::of(name.as_bytes()),
        length: 1_000,
    };
    Action::SubmitProof {
        registration,
        tally: Tally::of_hits(correct),
        proof,
    }
}
