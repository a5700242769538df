//! Every outcome that a competitor can have, explained.

use agon_protocol::digest::{CompetitionId, ModelDigest, RegistrationId};
use agon_protocol::metric::Threshold;
use agon_protocol::sealed::DataKey;
use agon_protocol::transition::PaymentReason;

use super::*;

/// A contest between the accounts 2 to 5, hosted by account 1.
struct Contest {
    dir: TempDir,
    ledger: Ledger,
    nonces: [u64; 8],
    time: u64,
    key: DataKey,
    competition: CompetitionId,
    registered: Vec<(u8, RegistrationId)>,
}

impl Contest {
    fn new(minimum: Threshold) -> Self {
        let mut genesis = genesis("explained");
        genesis.balances.extend((4..6).map(|number| GenesisBalance {
            account: account(number),
            amount: Amount::new(1_000),
        }));
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger"), genesis).unwrap();
        let store = BlobStore::open(&dir.path().join("blobs")).unwrap();
        let key = sealed::new_key().unwrap();
        let blob = sealed::seal(&key, &dataset()).unwrap();
        store.put(&blob, 1 << 20).unwrap();
        for proof in PROOFS {
            store.put(proof, 100).unwrap();
        }
        let mut terms = spec(&blob, &key);
        terms.minimum = minimum;
        let mut contest = Self {
            dir,
            ledger,
            nonces: [0; 8],
            time: START_MS + 5,
            key,
            competition: CompetitionId::of(b""),
            registered: Vec::new(),
        };
        let open = Action::OpenCompetition {
            spec: Box::new(terms),
            prize: Amount::new(100),
            bond: Amount::new(10),
        };
        contest.competition = contest.act(1, open).competition_id().unwrap();
        contest
    }

    fn act(&mut self, sender: u8, action: Action) -> SignedTransaction {
        let nonce = &mut self.nonces[usize::from(sender)];
        let signed = sign(self.ledger.genesis(), sender, *nonce, action);
        *nonce += 1;
        self.block(vec![signed.clone()]);
        signed
    }

    fn block(&mut self, transactions: Vec<SignedTransaction>) {
        commit(&self.ledger, self.time, &transactions);
        self.time += 5;
    }

    fn register(&mut self, sender: u8) {
        let action = Action::Register {
            competition: self.competition,
            model: ModelDigest::of(&[sender]),
        };
        let id = self.act(sender, action).registration_id().unwrap();
        self.registered.push((sender, id));
    }

    fn registration(&self, sender: u8) -> RegistrationId {
        let mut registered = self.registered.iter();
        registered.find(|(owner, _)| *owner == sender).unwrap().1
    }

    fn release(&mut self) {
        self.time = START_MS + 1_010;
        let (competition, key) = (self.competition, self.key);
        self.act(1, Action::ReleaseKey { competition, key });
    }

    fn prove(&mut self, sender: u8, proof: &[u8], hits: u32) {
        let action = Action::SubmitProof {
            registration: self.registration(sender),
            tally: Tally::of_hits(hits),
            proof: BlobRef {
                id: BlobId::of(proof),
                length: proof.len() as u64,
            },
        };
        self.act(sender, action);
    }

    /// Lets time pass, and stops the node.
    fn end(mut self, at: u64) -> Ended {
        self.time = START_MS + at;
        self.block(vec![]);
        Ended {
            genesis: self.ledger.genesis().clone(),
            dir: self.dir,
            competition: self.competition,
            registered: self.registered,
        }
    }
}

struct Ended {
    genesis: Genesis,
    dir: TempDir,
    competition: CompetitionId,
    registered: Vec<(u8, RegistrationId)>,
}

impl Ended {
    fn ask(&self, asked: [u8; 32]) -> Explanation {
        let folder = DataFolder::open(self.dir.path(), self.genesis.network_id()).unwrap();
        let asked = Asked(asked);
        let explained = explain(&folder, &Scripted, &self.genesis, self.competition, asked);
        explained.unwrap().unwrap()
    }

    fn of(&self, number: u8) -> Explanation {
        self.ask(*account(number).as_bytes())
    }

    /// The explanation of the only registration of an account, after its answer was compared.
    #[track_caller]
    fn is(&self, number: u8, outcome: &str, rule: &str) -> Explanation {
        let explanation = self.of(number);
        let why = &explanation.registrations[0].why;
        assert_eq!((why.outcome, why.rule), (outcome, rule), "{explanation}");
        explanation
    }
}

fn reasons(explanation: &Explanation) -> Vec<(PaymentReason, u64)> {
    let payments = explanation.payments.iter();
    payments.map(|paid| (paid.reason, paid.amount)).collect()
}

#[test]
fn winner_loser_tie_invalid_proof_and_no_proof() {
    let mut contest = Contest::new(Threshold::None);
    for sender in 2..6 {
        contest.register(sender);
    }
    contest.release();
    contest.prove(3, PROOFS[1], 2);
    contest.prove(2, PROOFS[0], 2);
    contest.prove(4, PROOFS[2], 3);
    let ended = contest.end(3_000);

    let winner = ended.is(2, "first", "SET-2");
    assert_eq!(winner.registrations[0].prize, 100);
    assert_eq!(
        reasons(&winner),
        [(PaymentReason::Prize, 100), (PaymentReason::Deposit, 1)]
    );
    let tied = ended.is(3, "tied_and_later", "SET-2");
    let what = &tied.registrations[0].why.what;
    assert!(
        what.contains("block 2, transaction 0, this one in block 3"),
        "{what}"
    );
    assert_eq!(reasons(&tied), [(PaymentReason::Deposit, 1)]);
    let invalid = ended.is(4, "invalid_proof", "SUB-9");
    assert_eq!(
        (invalid.received, &*invalid.registrations[0].deposit),
        (0, "lost")
    );
    let refused = invalid.transactions.last().unwrap();
    assert!(
        !refused.accepted && refused.what.contains("(scripted)"),
        "{invalid}"
    );
    ended.is(5, "no_proof", "SET-2");

    let host = ended.of(1);
    assert!(host.is_host && host.without_registration.as_ref().unwrap().rule == "REG-3");
    assert_eq!(reasons(&host), [(PaymentReason::Bond, 10)]);
    let stranger = ended.of(9).without_registration.unwrap();
    assert_eq!(stranger.outcome, "not_registered");
    // by the registration, the same
    let asked = ended.ask(*ended.registered[1].1.as_bytes());
    assert_eq!(asked.registrations, tied.registrations);
    assert!(tied.to_string().contains("registered earlier"), "{tied}");
}

#[test]
fn a_worse_score_says_who_was_ahead_and_a_withdrawn_registration_is_remembered() {
    let mut contest = Contest::new(Threshold::None);
    for sender in 2..5 {
        contest.register(sender);
    }
    let registration = contest.registration(4);
    contest.act(4, Action::Withdraw { registration });
    contest.release();
    contest.prove(2, PROOFS[0], 1);
    contest.prove(3, PROOFS[1], 2);
    contest.prove(2, PROOFS[2], 3);
    let ended = contest.end(3_000);
    let worse = ended.is(2, "outscored", "SET-2");
    let what = &worse.registrations[0].why.what;
    assert!(
        what.contains(&account(3).to_string()) && what.contains("stays"),
        "{what}"
    );
    let withdrawn = ended.is(4, "withdrawn", "WD-3");
    assert_eq!(reasons(&withdrawn), [(PaymentReason::Deposit, 1)]);
}

#[test]
fn below_the_minimum_nobody_wins_and_the_prize_goes_back() {
    let mut contest = Contest::new(Threshold::AtLeast {
        millionths: 900_000,
    });
    contest.register(2);
    contest.release();
    contest.prove(2, PROOFS[0], 2);
    let ended = contest.end(3_000);
    let below = ended.is(2, "below_minimum", "SET-2");
    assert_eq!((&*below.phase, below.ranked), ("void", 0));
    let host = ended.of(1);
    assert_eq!(
        reasons(&host),
        [
            (PaymentReason::UnclaimedPrize, 100),
            (PaymentReason::Bond, 10)
        ]
    );
}

#[test]
fn a_missed_key_and_a_cancelled_competition_say_so() {
    let mut contest = Contest::new(Threshold::None);
    contest.register(2);
    contest.register(3);
    let ended = contest.end(2_000);
    let void = ended.is(2, "key_missed", "VOID-1");
    assert_eq!(
        reasons(&void),
        [(PaymentReason::Deposit, 1), (PaymentReason::BondShare, 5)]
    );

    let mut contest = Contest::new(Threshold::None);
    let competition = contest.competition;
    contest.act(1, Action::CancelCompetition { competition });
    let ended = contest.end(100);
    let host = ended.of(1);
    assert_eq!((&*host.phase, host.received), ("cancelled", 110), "{host}");
    assert_eq!(ended.of(2).without_registration.unwrap().rule, "REG-1");
}

#[test]
fn a_running_competition_has_a_provisional_answer() {
    let mut contest = Contest::new(Threshold::None);
    contest.register(2);
    let ended = contest.end(1_005);
    let waiting = ended.is(2, "no_proof", "SET-2");
    assert_eq!(waiting.settled_at, None);
    assert!(
        waiting.registrations[0]
            .why
            .what
            .contains("not released yet"),
        "{waiting}"
    );
    assert_eq!(waiting.registrations[0].deposit, "held");
    let folder = DataFolder::open(ended.dir.path(), ended.genesis.network_id()).unwrap();
    let none = CompetitionId::of(b"none");
    let unknown = explain(&folder, &Scripted, &ended.genesis, none, Asked([0; 32]));
    assert!(unknown.unwrap().is_none());
}
