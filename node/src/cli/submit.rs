//! `agon submit`: finds the opened test set, proves the registered model's score on it, sends the proof and waits for the
//! validators' verdict.
//!
//! Every step is on disk before the next, so the command can be run again after a crash: a proof that was made is sent
//! again, one that was sent is waited for, and only a proof whose nonce is gone is made anew.

use std::fmt;
use std::time::{Duration, Instant};

use agon_circuits::commitment::CommittedModel;
use agon_circuits::generators::GeneratorCache;
use agon_circuits::prover;
use agon_circuits::verifier::{Expected, Verifier};
use agon_node::api::types::{CompetitionView, TransactionStatus};
use agon_node::client::Client;
use agon_node::sealed;
use agon_protocol::codec::{Decode, Encode};
use agon_protocol::competition::BlobRef;
use agon_protocol::digest::{BlobId, CompetitionId, RegistrationId, TransactionId};
use agon_protocol::identity::AccountId;
use agon_protocol::metric::Tally;
use agon_protocol::sealed::DataKey;
use agon_protocol::statement::{Context, Dataset};
use agon_protocol::transactions::Action;
use clap::Args;
use serde::Serialize;

use super::competitions::CompetitionName;
use super::estimate::Estimate;
use super::failure::{Failure, Next};
use super::home::{generator_cache, read_file};
use super::leaderboard::{has_ended, score};
use super::parse::{self, describe_moment};
use super::progress::ProofProgress;
use super::proof::{PROVING_ADVICE, settings};
use super::registration::{self, Attempt, Files, Record};
use super::sender::{Fate, Sender};
use super::transfer::{fetch, publish};
use super::{Console, Outcome, Session};

/// Proofs made because another transaction of the account took the nonce; more means that something else keeps sending.
const MAX_ATTEMPTS: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct SubmitArguments {
    /// The competition, or the registration when there are several: an id, or its first digits
    #[arg(value_name = "ID", value_parser = digits)]
    id: String,
    /// Wait until the test set is open
    #[arg(long)]
    wait: bool,
    /// Memory that proving may take, such as 4G [default: as much as the fastest way needs]
    #[arg(long, value_name = "SIZE", value_parser = parse::bytes)]
    memory: Option<u64>,
}

/// First digits of an id, as competitions are named.
fn digits(text: &str) -> Result<String, String> {
    let name: CompetitionName = text.parse()?;
    Ok(name.to_string())
}

/// The validators' verdict on a submission.
#[derive(Debug, Serialize)]
pub(crate) struct Submitted {
    pub(crate) accepted: bool,
    registration: RegistrationId,
    competition: CompetitionId,
    competitor: AccountId,
    metric: String,
    score: f64,
    tally: Tally,
    #[serde(skip_serializing_if = "Option::is_none")]
    correct: Option<u32>,
    samples: u32,
    transaction: TransactionId,
    height: Option<u64>,
    proof_bytes: u64,
    prove_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The score in words.
    #[serde(skip)]
    words: String,
}

impl fmt::Display for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reason, self.height) {
            (None, Some(height)) => write!(
                f,
                "accepted at height {height}: {}, proven in {:.1} s with {} bytes",
                self.words, self.prove_seconds, self.proof_bytes
            ),
            (reason, _) => write!(
                f,
                "refused: {}",
                reason.as_deref().unwrap_or("no reason given")
            ),
        }
    }
}

pub(crate) fn run(arguments: &SubmitArguments, session: &Session) -> Result<Outcome, Failure> {
    let sender = Sender::new(session)?;
    let record = registration::find(&session.home, &arguments.id, sender.network, |record| {
        sender.client.registration(&record.registration).is_ok()
    })?;
    if record.competitor != sender.account() {
        return Err(Failure::new(
            format!("that registration belongs to {}", record.competitor),
            "use its key with --key FILE",
        ));
    }
    let work = Work {
        files: Files::new(&session.home, &record.registration),
        memory: arguments.memory,
        record,
        sender: &sender,
        session,
    };
    let view = work.wait_until_open(arguments.wait)?;
    let submitted = work.submit(&view)?;
    session.console.result(&submitted);
    Ok(if submitted.accepted {
        Outcome::Done
    } else {
        Outcome::Negative
    })
}

/// One registration on its way to a verdict.
pub(crate) struct Work<'a> {
    pub(crate) session: &'a Session,
    pub(crate) sender: &'a Sender,
    pub(crate) record: Record,
    pub(crate) files: Files,
    /// Bytes that proving may take.
    pub(crate) memory: Option<u64>,
}

impl Work<'_> {
    /// The competition once its key is released.
    pub(crate) fn wait_until_open(&self, wait: bool) -> Result<CompetitionView, Failure> {
        let client = &self.sender.client;
        let spinner = self
            .session
            .console
            .spinner("waiting for the key of the test set");
        let mut height = client.status()?.height;
        loop {
            let view = client.competition(&self.record.competition)?;
            let summary = &view.summary;
            // A settled competition still tells what became of a proof that was sent in time.
            if view.key.is_some() {
                return Ok(view);
            }
            if has_ended(&summary.phase) {
                return Err(Failure::new(
                    format!("the competition is over without a key ({})", summary.phase),
                    "nothing is left to do: deposits are returned by the network",
                ));
            }
            if !wait {
                return Err(Failure::new(
                    format!(
                        "the test set is not open yet; registration closes {}",
                        describe_moment(summary.register_until)
                    ),
                    "run this again then, or add --wait",
                ));
            }
            spinner.set_message(format!("the competition is {}", summary.phase));
            height = client.wait(height)?.height;
        }
    }

    /// Brings the proof, made before or now, to its verdict.
    pub(crate) fn submit(&self, view: &CompetitionView) -> Result<Submitted, Failure> {
        if let Some(attempt) = self.files.attempt()?
            && let Some(submitted) = self.resume(view, attempt)?
        {
            return Ok(submitted);
        }
        if view.summary.phase != "proving" {
            return Err(Failure::new(
                format!(
                    "proofs are not taken any more (phase {}, due {})",
                    view.summary.phase,
                    describe_moment(view.summary.prove_until)
                ),
                "see the result with `agon leaderboard COMPETITION`",
            ));
        }
        let data = open_test_set(view, &self.sender.client, self.session.console)?;
        for _ in 0..MAX_ATTEMPTS {
            let attempt = self.prove(view, &data)?;
            if let Some(submitted) = self.resume(view, attempt)? {
                return Ok(submitted);
            }
        }
        Err(Failure::new(
            "other transactions of this account keep taking the proof's nonce",
            "stop what else sends with this key, then run this again",
        ))
    }

    /// Brings a proof that was made to its verdict; `None` when its nonce went to another transaction.
    fn resume(
        &self,
        view: &CompetitionView,
        attempt: Attempt,
    ) -> Result<Option<Submitted>, Failure> {
        let transaction = attempt.transaction()?;
        let client = &self.sender.client;
        let id = transaction.id();
        let fate = match client.transaction(&id)? {
            TransactionStatus::Committed { .. } | TransactionStatus::Pending { .. } => {
                self.sender.wait(&id)?
            }
            TransactionStatus::Refused { .. } | TransactionStatus::Unknown => {
                if self.sender.nonce()? != attempt.nonce {
                    return Ok(None);
                }
                let proof = read_file(&self.files.proof())?;
                publish(self.session.console, client, &proof, "the proof")?;
                let summary = &view.summary;
                self.sender
                    .advise("a proof", summary.prove_until, summary.prove_send_by);
                self.sender.hand_over(&transaction)?;
                self.sender.wait(&id)?
            }
        };
        let (accepted, height, reason) = match fate {
            Fate::Accepted { height } => (true, Some(height), None),
            Fate::Refused { height, reason } => (false, height, Some(reason)),
        };
        let record = &self.record;
        let CompetitionView { metric, task, .. } = view;
        Ok(Some(Submitted {
            accepted,
            registration: record.registration,
            competition: record.competition,
            competitor: record.competitor,
            metric: metric.to_string(),
            score: metric.display(&attempt.tally, attempt.samples, task),
            correct: metric.hits(&attempt.tally),
            words: score(metric, &attempt.tally, attempt.samples, task),
            tally: attempt.tally,
            samples: attempt.samples,
            transaction: id,
            height,
            proof_bytes: attempt.proof_bytes,
            prove_seconds: attempt.prove_seconds,
            reason,
        }))
    }

    /// Says what the proof will take, and when that is more than there is time for.
    fn quote(
        &self,
        model: &CommittedModel,
        view: &CompetitionView,
        memory_bytes: u64,
    ) -> Result<(), Failure> {
        let samples = view.samples as usize;
        let graph = model.model().graph();
        let estimate = Estimate::new(graph, samples, view.metric, memory_bytes)?;
        let console = self.session.console;
        console.note(format!("proving: {estimate}"));
        let left = view.summary.prove_until.saturating_sub(parse::now_ms());
        if estimate.least() > Duration::from_millis(left) {
            console.note(format!(
                "proofs are due {}: this one may be late, also on a machine that does nothing else",
                describe_moment(view.summary.prove_until)
            ));
        }
        Ok(())
    }

    /// Proves, checks the proof as a validator would (an invalid one costs the deposit), and saves it.
    fn prove(&self, view: &CompetitionView, data: &Dataset) -> Result<Attempt, Failure> {
        let path = self.files.model();
        let model = CommittedModel::from_bytes(&read_file(&path)?)
            .map_err(|error| format!("{} is corrupt: {error}", path.display()))
            .next("restore the file from a copy")?;
        let folder = generator_cache();
        let settings = settings(self.memory);
        self.quote(&model, view, settings.memory_bytes)?;
        let nonce = self.sender.nonce()?;
        let context = Context {
            network: self.sender.network,
            competition: self.record.competition,
            registration: self.record.registration,
            competitor: self.record.competitor,
            nonce,
        };
        let start = Instant::now();
        let progress = ProofProgress::new(self.session.console);
        let generators = GeneratorCache::new(&folder);
        let submission = prover::prove(
            &generators,
            &model,
            data,
            view.metric,
            &context,
            &settings,
            &progress,
        )
        .next(PROVING_ADVICE)?;
        progress.finish();
        let prove_seconds = start.elapsed().as_secs_f64();
        let bytes = submission.to_bytes();
        let expected = Expected {
            context: &context,
            model: Some(self.record.model),
            max_parameters: view.max_parameters,
            metric: Some(view.metric),
            tally: Some(submission.tally()),
        };
        Verifier::new(&folder)
            .verify(&bytes, data, &expected)
            .next("nothing was sent; rebuild agon, and report this as a bug if it stays")?;
        let proof = BlobRef {
            id: BlobId::of(&bytes),
            length: bytes.len() as u64,
        };
        let transaction = self.sender.sign(
            nonce,
            Action::SubmitProof {
                registration: self.record.registration,
                tally: submission.tally().clone(),
                proof,
            },
        );
        let attempt = Attempt {
            nonce,
            transaction: hex::encode(transaction.to_bytes()),
            tally: submission.tally().clone(),
            samples: view.samples,
            proof_bytes: proof.length,
            prove_seconds,
        };
        self.files.save_attempt(&attempt, &bytes)?;
        self.session.console.note(format!(
            "proof made in {prove_seconds:.1} s and saved in {}",
            self.files.proof().display()
        ));
        Ok(attempt)
    }
}

/// Fetches, decrypts and checks the test set of a competition whose key is released.
pub(crate) fn open_test_set(
    view: &CompetitionView,
    client: &Client,
    console: Console,
) -> Result<Dataset, Failure> {
    let blame = "the published test set is not what the competition promised: ask the host";
    let key: DataKey = view
        .key
        .as_deref()
        .unwrap_or_default()
        .parse()
        .next(blame)?;
    let sealed = &view.sealed_data;
    let blob = fetch(console, client, &sealed.id, sealed.length, "the test set")?;
    let data = sealed::open(&key, &blob).next(blame)?;
    if data.digest() != view.data_digest {
        return Err(Failure::new("the test set has another digest", blame));
    }
    Ok(data)
}
