//! Real nodes through their HTTP API: a single validator, a competition with an observer, four validators, bad input.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod node_support;

use agon_node::api::types::{
    AccountAnswer, AccountView, BlockLine, BlockView, CertificateAnswer, CompetitionAnswer,
    CompetitionLine, ErrorBody, Leaderboard, LeaderboardAnswer, NetworkSummary, ReceiptView,
    RegistrationView, Status, StoredBlob, SubmissionView, TransactionStatus,
};
use agon_node::node::NodeError;
use agon_node::sealed;
use agon_protocol::codec::Encode;
use agon_protocol::competition::{BlobRef, CompetitionSpec};
use agon_protocol::digest::{BlobId, CompetitionId, ModelDigest};
use agon_protocol::metric::{Metric, Tally, Threshold};
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding, Targets, Task};
use agon_protocol::transactions::{Action, SignedTransaction};
use agon_protocol::units::{Amount, TimeMs};
use node_support::contest::{dataset, phase, put};
use node_support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_single_validator_moves_money_and_keeps_it_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("single", 1);
    let config = folder(dir.path(), &genesis, Some(&key(0)));
    let node = start(&config).await;
    let before: Status = node.status().await;
    assert_eq!(
        (before.network, before.validator, before.validators),
        (genesis.network_id(), true, 1)
    );
    assert_eq!(before.account, Some(account(0)));

    let payment = transfer(&genesis, 10, 0, 40);
    node.send(&payment).await;
    // the same bytes again do no harm
    node.send(&payment).await;
    let second = transfer(&genesis, 10, 1, 2);
    node.send(&second).await;
    assert_eq!(node.committed(&payment).await, ReceiptView::Accepted);
    assert_eq!(node.committed(&second).await, ReceiptView::Accepted);
    let receiver: AccountView = node.get(&format!("/v1/accounts/{}", account(99))).await;
    assert_eq!((receiver.balance, receiver.nonce), (42, 0));
    let sender: AccountView = node.get(&format!("/v1/accounts/{}", account(10))).await;
    assert_eq!((sender.balance, sender.nonce), (958, 2));
    let status: TransactionStatus = node
        .get(&format!("/v1/transactions/{}", payment.id()))
        .await;
    let TransactionStatus::Committed { height, index, .. } = status else {
        panic!("{status:?}")
    };
    let block: BlockView = node.get(&format!("/v1/blocks/{height}")).await;
    assert_eq!(block.transactions[index as usize].id, payment.id());
    assert_eq!(block.certificate.signers, [account(0)]);
    // a long poll below the tip answers at once
    let waited: Status = node.get("/v1/wait?height=0").await;
    assert!(waited.height >= height);
    let root = node.status().await.state_root;
    node.stop().await;
    assert!(!dir.path().join("addresses.json").exists());

    let node = start(&config).await;
    let after = node.status().await;
    assert!(after.height >= height);
    if after.height == waited.height {
        assert_eq!(after.state_root, root);
    }
    assert_eq!(node.committed(&payment).await, ReceiptView::Accepted);
    let third = transfer(&genesis, 10, 2, 8);
    node.send(&third).await;
    node.committed(&third).await;
    let receiver: AccountView = node.get(&format!("/v1/accounts/{}", account(99))).await;
    assert_eq!(receiver.balance, 50);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_answered_with_a_reason_and_never_as_a_failure_of_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("bad", 1);
    let mut config = folder(dir.path(), &genesis, Some(&key(0)));
    config.blobs.largest = 1_000;
    config.blobs.total = 1_500;
    let node = start(&config).await;
    let none = "ab".repeat(32);
    let mut forged = transfer(&genesis, 10, 0, 1);
    forged.transaction.sender = account(11);
    let poor = transfer(&genesis, 10, 0, 1_001);
    let other = transfer(&node_support::genesis("else", 1), 10, 0, 1);
    let cases: Vec<(&str, String, Vec<u8>, u16)> = vec![
        ("GET", "/v1/".into(), vec![], 404),
        ("GET", "/v1/nothing".into(), vec![], 404),
        ("GET", "/v1/accounts/xyz".into(), vec![], 400),
        ("GET", "/v1/accounts/%ff%fe".into(), vec![], 400),
        ("GET", format!("/v1/accounts/{none}{none}"), vec![], 400),
        ("GET", format!("/v1/competitions/{none}"), vec![], 404),
        (
            "GET",
            format!("/v1/competitions/{none}/leaderboard"),
            vec![],
            404,
        ),
        ("GET", "/v1/competitions/0/leaderboard".into(), vec![], 400),
        ("GET", format!("/v1/registrations/{none}"), vec![], 404),
        ("GET", format!("/v1/blobs/{none}"), vec![], 404),
        ("GET", "/v1/blobs/../../etc/passwd".into(), vec![], 404),
        (
            "GET",
            "/v1/blobs/..%2f..%2fgenesis.json".into(),
            vec![],
            400,
        ),
        ("GET", "/v1/blocks/-1".into(), vec![], 400),
        ("GET", "/v1/blocks/0".into(), vec![], 404),
        ("GET", "/v1/blocks/18446744073709551615".into(), vec![], 404),
        ("GET", "/v1/wait".into(), vec![], 400),
        ("GET", "/v1/wait?height=x".into(), vec![], 400),
        ("GET", "/v1/wait?height=1&depth=2".into(), vec![], 400),
        ("GET", "/v1/blocks?limit=0".into(), vec![], 400),
        ("GET", "/v1/blocks?limit=121".into(), vec![], 400),
        ("GET", "/v1/blocks?below=x".into(), vec![], 400),
        ("GET", "/v1/competitions?phase=late".into(), vec![], 400),
        ("GET", "/v1/competitions?after=7".into(), vec![], 400),
        ("GET", "/v1/competitions?order=best".into(), vec![], 400),
        ("GET", format!("/v1/submissions/{none}"), vec![], 404),
        (
            "GET",
            format!("/v1/competitions/{none}/submissions"),
            vec![],
            404,
        ),
        ("GET", "/v1/transactions/1".into(), vec![], 400),
        ("DELETE", "/v1/status".into(), vec![], 405),
        ("POST", "/v1/transactions".into(), vec![], 400),
        (
            "POST",
            "/v1/transactions".into(),
            b"{\"json\": true}".to_vec(),
            400,
        ),
        ("POST", "/v1/transactions".into(), vec![0; 2 << 20], 413),
        ("POST", "/v1/transactions".into(), forged.to_bytes(), 400),
        ("POST", "/v1/transactions".into(), other.to_bytes(), 400),
        ("POST", "/v1/transactions".into(), poor.to_bytes(), 422),
        ("PUT", "/v1/blobs".into(), vec![0; 1_001], 413),
    ];
    for (method, path, body, expected) in cases {
        let (status, answer) = node.request(method, &path, &body).await;
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, expected, "{method} {path}: {text}");
        let error: ErrorBody =
            serde_json::from_slice(&answer).unwrap_or_else(|_| panic!("{method} {path}: {text}"));
        assert!(
            !error.error.is_empty() && !error.hint.is_empty() && !error.code.is_empty(),
            "{method} {path}"
        );
    }
    let unknown: TransactionStatus = node.get(&format!("/v1/transactions/{none}")).await;
    assert_eq!(unknown, TransactionStatus::Unknown);
    let refused: TransactionStatus = node.get(&format!("/v1/transactions/{}", poor.id())).await;
    assert!(matches!(refused, TransactionStatus::Refused { error } if error.contains("balance")));

    // blobs: kept, given back, and the store has an end
    let first: Vec<u8> = (0..900u32).map(|byte| byte as u8).collect();
    let (status, answer) = node.request("PUT", "/v1/blobs", &first).await;
    assert_eq!(status, 200);
    let stored: StoredBlob = serde_json::from_slice(&answer).unwrap();
    assert_eq!(
        stored,
        StoredBlob {
            id: BlobId::of(&first),
            length: 900
        }
    );
    let (status, answer) = node
        .request("GET", &format!("/v1/blobs/{}", stored.id), b"")
        .await;
    assert_eq!((status, answer), (200, first));
    let (status, _) = node.request("PUT", "/v1/blobs", &[7; 700]).await;
    assert_eq!(status, 507);
    node.stop().await;
}

fn spec(sealed: &[u8], key: &DataKey, opens_ms: u64) -> CompetitionSpec {
    let feature = FeatureEncoding {
        exponent: 0,
        offset: 0,
        max: 30,
    };
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
        training_data: None,
        sealed_data: BlobRef {
            id: BlobId::of(sealed),
            length: sealed.len() as u64,
        },
        data_digest: dataset().digest(),
        key_commitment: key.commitment(),
        opens_at: TimeMs::new(opens_ms),
        register_until: TimeMs::new(opens_ms + 6_000),
        key_until: TimeMs::new(opens_ms + 14_000),
        prove_until: TimeMs::new(opens_ms + 22_000),
        payouts: vec![7_000, 3_000],
        deposit: Amount::new(10),
        submissions_per_registration: 1,
        registrations_per_account: 1,
        // one of ten
        minimum: Threshold::AtLeast {
            millionths: 100_000,
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_competition_is_settled_and_an_observer_finds_the_same() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let genesis = genesis("contest", 1);
    let validator = start(&folder(dir.path(), &genesis, Some(&key(0)))).await;
    let mut observing = folder(other.path(), &genesis, None);
    observing.network.bootstrap = validator.addresses.swarm.clone();
    let observer = start(&observing).await;
    assert!(!observer.status().await.validator);

    // the host talks to the validator, the competitors to the observer
    let data_key = sealed::new_key().unwrap();
    let blob = sealed::seal(&data_key, &dataset()).unwrap();
    put(&validator, &blob).await;
    let terms = Box::new(spec(&blob, &data_key, now_ms()));
    let open = sign(
        &genesis,
        10,
        0,
        Action::OpenCompetition {
            spec: terms,
            prize: Amount::new(500),
            bond: Amount::new(50),
        },
    );
    let competition = open.competition_id().unwrap();
    validator.send(&open).await;
    validator.committed(&open).await;
    phase(&observer, &competition, "open").await;
    let mut registrations = Vec::new();
    for competitor in [11, 12, 13] {
        let model = ModelDigest::of(&[competitor]);
        let register = sign(
            &genesis,
            competitor,
            0,
            Action::Register { competition, model },
        );
        observer.send(&register).await;
        registrations.push((competitor, register.registration_id().unwrap(), register));
    }
    for (_, _, register) in &registrations {
        observer.committed(register).await;
    }
    // too early, and the answer says so
    let release = sign(
        &genesis,
        10,
        1,
        Action::ReleaseKey {
            competition,
            key: data_key,
        },
    );
    let (status, answer) = validator
        .request("POST", "/v1/transactions", &release.to_bytes())
        .await;
    assert_eq!(status, 422, "{}", String::from_utf8_lossy(&answer));
    phase(&validator, &competition, "sealed").await;
    let late = sign(
        &genesis,
        14,
        0,
        Action::Register {
            competition,
            model: ModelDigest::of(b"late"),
        },
    );
    let (status, answer) = validator
        .request("POST", "/v1/transactions", &late.to_bytes())
        .await;
    assert_eq!(status, 422);
    let refused: ErrorBody = serde_json::from_slice(&answer).unwrap();
    assert!(refused.error.contains("too late"), "{}", refused.error);

    validator.send(&release).await;
    validator.committed(&release).await;
    let view = phase(&observer, &competition, "proving").await;
    assert_eq!(view.key, Some(data_key.reveal()));
    // the observer fetched the sealed test set to check the key itself
    let (status, fetched) = observer
        .request("GET", &format!("/v1/blobs/{}", view.sealed_data.id), b"")
        .await;
    assert_eq!((status, fetched == blob), (200, true));

    let proofs: [(usize, &[u8], u32); 3] = [
        (0, b"valid for 11", 7),
        (1, b"valid for 12", 9),
        (2, b"forged", 10),
    ];
    let mut submissions = Vec::new();
    for (index, proof, correct) in proofs {
        let (competitor, registration, _) = &registrations[index];
        let proof = put(&observer, proof).await;
        let action = Action::SubmitProof {
            registration: *registration,
            tally: Tally::of_hits(correct),
            proof,
        };
        let submit = sign(&genesis, *competitor, 1, action);
        observer.send(&submit).await;
        submissions.push(submit);
    }
    assert_eq!(
        observer.committed(&submissions[0]).await,
        ReceiptView::Accepted
    );
    assert_eq!(
        observer.committed(&submissions[1]).await,
        ReceiptView::Accepted
    );
    let ReceiptView::Refused { reason } = observer.committed(&submissions[2]).await else {
        panic!("the forged proof was accepted");
    };
    assert!(reason.contains("invalid"), "{reason}");

    for node in [&validator, &observer] {
        phase(node, &competition, "paid").await;
        let board: Leaderboard = node
            .get(&format!("/v1/competitions/{competition}/leaderboard"))
            .await;
        let lines: Vec<_> = board
            .entries
            .iter()
            .map(|entry| {
                (
                    entry.rank,
                    entry.competitor,
                    entry.correct,
                    entry.samples,
                    entry.prize,
                )
            })
            .collect();
        let expected = [
            (1, account(12), Some(9), 10, Some(350)),
            (2, account(11), Some(7), 10, Some(150)),
        ];
        assert_eq!(lines, expected);
        assert!(board.settled);
        // prize and deposit; the forger's deposit is lost; the host has its bond back
        for (competitor, balance) in [(12, 1_350), (11, 1_150), (13, 990), (10, 500)] {
            let view: AccountView = node
                .get(&format!("/v1/accounts/{}", account(competitor)))
                .await;
            assert_eq!(view.balance, balance, "account {competitor}");
        }
        let view: RegistrationView = node
            .get(&format!("/v1/registrations/{}", registrations[1].1))
            .await;
        assert_eq!((view.correct, view.submissions), (Some(9), 1));
        assert_eq!(
            (view.score, view.tally),
            (Some(0.9), Some(Tally::of_hits(9)))
        );
    }
    what_is_told_of_the_contest(&observer, &competition, &submissions).await;
    let root = same_root(&[&validator, &observer]).await;
    assert!(!root.is_empty());
    observer.stop().await;
    validator.stop().await;
}

/// The settled contest of the test before, as the lists and pages show it.
async fn what_is_told_of_the_contest(
    node: &Running,
    competition: &CompetitionId,
    submissions: &[SignedTransaction],
) {
    let path = format!("/v1/competitions/{competition}");
    let list: Vec<CompetitionLine> = node.get("/v1/competitions?phase=paid,void&limit=5").await;
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].summary.id, *competition);
    let none: Vec<CompetitionLine> = node.get("/v1/competitions?phase=open").await;
    assert!(none.is_empty());
    let told: CompetitionAnswer = node.get(&path).await;
    assert_eq!((told.submissions, told.submissions_waiting), (3, 0));
    let ending = told.ending.unwrap();
    let prizes: Vec<_> = ending
        .payments
        .unwrap()
        .into_iter()
        .filter(|payment| payment.reason == "prize")
        .map(|payment| (payment.account, payment.amount, payment.rule))
        .collect();
    assert_eq!(
        prizes,
        [
            (account(12), 350, "SET-3".to_owned()),
            (account(11), 150, "SET-3".to_owned())
        ]
    );
    let board: LeaderboardAnswer = node
        .get(&format!("{path}/leaderboard?limit=1&after=1"))
        .await;
    assert_eq!((board.ranked, board.board.entries.len()), (2, 1));
    let second = &board.board.entries[0];
    assert_eq!((second.rank, second.tied), (2, false));
    assert_eq!(second.why.outcome, "outscored");
    assert_eq!(second.score_words, "7 of 10 correct");
    let registrations: Vec<RegistrationView> = node.get(&format!("{path}/registrations")).await;
    assert_eq!(registrations.len(), 3);
    for one in &registrations {
        match one.competitor == account(13) {
            true => assert_eq!(
                (&one.deposit[..], &one.why.outcome[..]),
                ("lost", "invalid_proof")
            ),
            false => assert_eq!(
                (&one.deposit[..], one.why.rule.as_str()),
                ("returned", "SET-2")
            ),
        }
    }

    let told: Vec<SubmissionView> = node.get(&format!("{path}/submissions")).await;
    let states: Vec<_> = told.iter().map(|one| &one.state[..]).collect();
    assert_eq!(states.len(), 3);
    for (one, transaction) in [(0, 0), (1, 1), (2, 2)] {
        let id = submissions[transaction].id();
        let found = told.iter().find(|told| told.transaction == id).unwrap();
        let alone: SubmissionView = node.get(&format!("/v1/submissions/{id}")).await;
        assert_eq!(*found, alone);
        assert_eq!(found.certified_by, [account(0)], "submission {one}");
        assert!(found.index.is_some() && found.height.is_some());
        let verified = found.verified.as_ref().unwrap();
        assert!(verified.took_ms.is_some() && verified.at_ms.is_some());
        assert!(found.proof.as_ref().unwrap().held);
        match transaction {
            2 => {
                assert_eq!(
                    (&found.state[..], found.rule.as_deref()),
                    ("refused", Some("SUB-9"))
                );
                assert!(found.reason.as_ref().unwrap().ends_with("lost: scripted"));
                assert!(!verified.valid && !found.best);
            }
            _ => {
                assert_eq!(
                    (&found.state[..], found.rule.as_deref()),
                    ("accepted", Some("SUB-8"))
                );
                assert!(verified.valid && found.best);
            }
        }
    }
    let refused: Vec<SubmissionView> = node.get(&format!("{path}/submissions?state=refused")).await;
    assert_eq!(refused.len(), 1);

    let network: NetworkSummary = node.get("/v1/network").await;
    assert_eq!((network.competitions.paid, network.validators), (1, 1));
    assert!(network.finality.blocks > 0 && network.finality.p50_ms.is_some());
    let (head, blocks) = exchange(node.api(), "GET", "/v1/blocks?limit=3", b"").await;
    let blocks: Vec<BlockLine> = serde_json::from_slice(&blocks).unwrap();
    let heights: Vec<_> = blocks.iter().map(|block| block.height).collect();
    assert_eq!(heights, [heights[0], heights[0] - 1, heights[0] - 2]);
    assert!(blocks.iter().all(|block| block.interval_ms.is_some()));
    let next = format!("x-next-cursor: {}", heights[2]);
    assert!(head.contains(&next), "{head}");
    let older: Vec<BlockLine> = node
        .get(&format!("/v1/blocks?below={}&limit=1", heights[2]))
        .await;
    assert_eq!(older[0].height, heights[2] - 1);
    let certificate: CertificateAnswer = node
        .get(&format!("/v1/blocks/{}/certificate", heights[0]))
        .await;
    assert_eq!((certificate.power, certificate.total_power), (1, 1));
    assert_eq!(certificate.block, blocks[0].id);
    let answer: AccountAnswer = node.get(&format!("/v1/accounts/{}", account(12))).await;
    assert_eq!(
        (answer.registrations_total, answer.registrations[0].rank),
        (1, Some(1))
    );
    let host: AccountAnswer = node.get(&format!("/v1/accounts/{}", account(10))).await;
    assert_eq!((host.hosted_total, &host.hosted[0].phase[..]), (1, "paid"));
}

/// The terms of [`spec`] for another data set and metric, and shorter.
fn scored_by(
    metric: Metric,
    data: &Dataset,
    sealed: &[u8],
    key: &DataKey,
    now: u64,
) -> CompetitionSpec {
    CompetitionSpec {
        task: data.task(),
        samples: u32::try_from(data.samples()).unwrap(),
        data_digest: data.digest(),
        metric,
        minimum: Threshold::None,
        register_until: TimeMs::new(now + 4_000),
        key_until: TimeMs::new(now + 9_000),
        prove_until: TimeMs::new(now + 14_000),
        ..spec(sealed, key, now)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn competitions_of_values_and_of_classes_rank_by_their_own_metric() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("metrics", 1);
    let node = start(&folder(dir.path(), &genesis, Some(&key(0)))).await;
    let values = Targets::Values {
        exponent: -1,
        values: (1..=10).collect(),
    };
    let values = Dataset::with_targets(2, (1..=20).collect(), values).unwrap();
    let spread = values.summary().spread();
    let tally = |numbers: &[u128]| Tally::new(numbers.to_vec()).unwrap();
    // the second claims another spread than the test set's, the third is better than the first
    let of_values = [
        tally(&[40, spread]),
        tally(&[1, spread + 1]),
        tally(&[20, spread]),
    ];
    // five samples a class: the first misses one of each, the second two of one class; the third counts other classes
    let of_classes = [
        tally(&[4, 1, 1, 4, 1, 1]),
        tally(&[3, 0, 2, 5, 2, 0]),
        tally(&[6, 0, 0, 4, 0, 0]),
    ];
    let contests = [
        (Metric::R2, values, of_values, [13, 11]),
        (Metric::MacroF1, dataset(), of_classes, [11, 12]),
    ];
    let mut nonce = 0;
    for (metric, data, tallies, ranked) in contests {
        let data_key = sealed::new_key().unwrap();
        let blob = sealed::seal(&data_key, &data).unwrap();
        put(&node, &blob).await;
        let terms = scored_by(metric, &data, &blob, &data_key, now_ms());
        let open = Action::OpenCompetition {
            spec: Box::new(terms),
            prize: Amount::new(100),
            bond: Amount::new(50),
        };
        let open = sign(&genesis, 10, nonce, open);
        let competition = open.competition_id().unwrap();
        node.send(&open).await;
        node.committed(&open).await;
        let mut registrations = Vec::new();
        for competitor in [11, 12, 13] {
            let model = ModelDigest::of(&[competitor]);
            let register = Action::Register { competition, model };
            let register = sign(&genesis, competitor, nonce, register);
            node.send(&register).await;
            registrations.push(register);
        }
        let release = Action::ReleaseKey {
            competition,
            key: data_key,
        };
        phase(&node, &competition, "sealed").await;
        node.send(&sign(&genesis, 10, nonce + 1, release)).await;
        let view = phase(&node, &competition, "proving").await;
        assert_eq!((view.metric, view.task), (metric, data.task()));
        let mut submissions = Vec::new();
        for ((competitor, register), tally) in (11..).zip(&registrations).zip(tallies) {
            let action = Action::SubmitProof {
                registration: register.registration_id().unwrap(),
                tally,
                proof: put(&node, format!("valid {metric} {competitor}").as_bytes()).await,
            };
            let submit = sign(&genesis, competitor, nonce + 1, action);
            node.send(&submit).await;
            submissions.push(submit);
        }
        let mut refused = Vec::new();
        for (competitor, submit) in (11..).zip(&submissions) {
            if node.committed(submit).await != ReceiptView::Accepted {
                refused.push(competitor);
            }
        }
        phase(&node, &competition, "paid").await;
        let path = format!("/v1/competitions/{competition}/leaderboard");
        let board: Leaderboard = node.get(&path).await;
        assert_eq!((board.metric, board.task), (metric, data.task()));
        let found: Vec<_> = board.entries.iter().map(|entry| entry.competitor).collect();
        assert_eq!(found, ranked.map(account), "{metric}");
        assert!(board.entries.iter().all(|entry| entry.correct.is_none()));
        let scores: Vec<_> = board.entries.iter().map(|entry| entry.score).collect();
        assert!(scores[0] > scores[1], "{metric} {scores:?}");
        let wrong = if metric == Metric::R2 { 12 } else { 13 };
        assert_eq!(refused, [wrong], "{metric}");
        // as text in JSON, also beyond what JSON readers keep
        let (_, json) = node.request("GET", &path, b"").await;
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["metric"], metric.to_string());
        assert!(json["entries"][0]["tally"][0].is_string(), "{json}");
        nonce += 2;
    }
    node.stop().await;
}

/// Waits until all nodes are at one height, and returns the state root that they share.
async fn same_root(nodes: &[&Running]) -> String {
    until("all nodes have the same state", || async {
        let mut found = Vec::new();
        for node in nodes {
            let status = node.status().await;
            found.push((status.height, status.state_root.to_string()));
        }
        found.dedup_by_key(|(height, _)| *height);
        let [(height, root)] = &found[..] else {
            return None;
        };
        // one height: the roots must be one, too
        for node in nodes {
            let block: BlockView = node.get(&format!("/v1/blocks/{height}")).await;
            assert_eq!(block.state_root.to_string(), *root);
        }
        Some(root.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn four_validators_agree_also_when_one_is_away_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("four", 4);
    let ports = free_ports::<4>();
    let address = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}");
    let mut configs = Vec::new();
    let mut nodes: Vec<Running> = Vec::new();
    for index in 0..4u8 {
        let path = dir.path().join(format!("validator-{index}"));
        let mut config = folder(&path, &genesis, Some(&key(index)));
        config.consensus.listen = address(ports[usize::from(index)]);
        config.consensus.peers = ports
            .iter()
            .filter(|port| **port != ports[usize::from(index)])
            .map(|port| address(*port))
            .collect();
        config.network.bootstrap = nodes
            .first()
            .map(|node| node.addresses.swarm.clone())
            .unwrap_or_default();
        nodes.push(start(&config).await);
        configs.push(config);
    }
    // through every node, so that gossip carries them to whoever proposes
    let mut sent = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let payment = transfer(&genesis, 10 + index as u8, 0, 10);
        node.send(&payment).await;
        sent.push(payment);
    }
    for payment in &sent {
        for node in &nodes {
            node.committed(payment).await;
        }
    }
    same_root(&nodes.iter().collect::<Vec<_>>()).await;

    nodes.pop().unwrap().stop().await;
    let alone = transfer(&genesis, 10, 1, 5);
    nodes[1].send(&alone).await;
    for node in &nodes {
        node.committed(&alone).await;
    }
    nodes.push(start(&configs[3]).await);
    nodes[3].committed(&alone).await;
    let after = transfer(&genesis, 11, 1, 5);
    nodes[3].send(&after).await;
    for node in &nodes {
        node.committed(&after).await;
    }
    let receiver: AccountView = nodes[3].get(&format!("/v1/accounts/{}", account(99))).await;
    assert_eq!(receiver.balance, 50);
    same_root(&nodes.iter().collect::<Vec<_>>()).await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_start_says_why_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let genesis = genesis("start", 1);
    let config = folder(dir.path(), &genesis, Some(&key(0)));
    let node = start(&config).await;
    let payment = transfer(&genesis, 10, 0, 1);
    node.send(&payment).await;
    node.committed(&payment).await;
    let refusal = |config| async move {
        match try_start(&config).await {
            Ok(_) => panic!("the node started"),
            Err(error) => error,
        }
    };

    // a second node on the same folder; the first one's addresses file is not its own
    std::fs::remove_file(dir.path().join("addresses.json")).unwrap();
    let error = refusal(config.clone()).await;
    assert!(error.to_string().contains("in use"), "{error}");

    let elsewhere = dir.path().join("elsewhere");
    let mut occupied = folder(&elsewhere, &genesis, None);
    occupied.api.listen = node.api();
    let error = refusal(occupied.clone()).await;
    assert!(matches!(error, NodeError::Listen { .. }), "{error}");
    let mut swarm = occupied.clone();
    swarm.api.listen.set_port(0);
    swarm.network.listen = node.addresses.swarm[0]
        .split("/p2p/")
        .next()
        .unwrap()
        .to_owned();
    let error = refusal(swarm.clone()).await;
    assert!(matches!(error, NodeError::Network(_)), "{error}");
    swarm.network.listen = "127.0.0.1:0".into();
    let error = refusal(swarm).await;
    assert!(matches!(error, NodeError::Address { .. }), "{error}");
    let mut consensus = folder(&dir.path().join("consensus-port"), &genesis, Some(&key(0)));
    consensus.consensus.listen = node.addresses.consensus.clone().unwrap();
    let error = refusal(consensus.clone()).await;
    assert!(matches!(error, NodeError::KeyTaken { .. }), "{error}");
    consensus.consensus.lock_key = false;
    let error = refusal(consensus).await;
    assert!(matches!(error, NodeError::Consensus(_)), "{error}");
    let mut keyless = occupied.clone();
    keyless.key = Some("missing.key".into());
    assert!(matches!(refusal(keyless).await, NodeError::Key(_)));
    std::fs::write(elsewhere.join("genesis.json"), "{}").unwrap();
    assert!(matches!(
        refusal(occupied.clone()).await,
        NodeError::Genesis { .. }
    ));
    std::fs::remove_file(elsewhere.join("genesis.json")).unwrap();
    assert!(matches!(refusal(occupied).await, NodeError::Io { .. }));
    node.stop().await;

    let other = node_support::genesis("another", 1);
    let path = dir.path().join("genesis.json");
    std::fs::write(&path, serde_json::to_vec(&other).unwrap()).unwrap();
    let error = refusal(config.clone()).await;
    assert!(error.to_string().contains("belongs to network"), "{error}");
    std::fs::write(&path, serde_json::to_vec(&genesis).unwrap()).unwrap();

    // garbage over the database's file
    let database = dir.path().join("ledger/db");
    let whole = std::fs::read(&database).unwrap();
    std::fs::write(&database, vec![0xa5; whole.len()]).unwrap();
    let error = refusal(config.clone()).await;
    assert!(!error.to_string().is_empty());
    std::fs::write(&database, whole).unwrap();
    let node = start(&config).await;
    node.committed(&payment).await;
    node.stop().await;
}
