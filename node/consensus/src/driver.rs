//! The dialogue between the engine and the ledger: one task that owns the ledger and answers the engine's questions in turn.
//!
//! Three things are its own doing. A block that cannot be judged yet is kept, judged again, and handed to the engine as late as
//! it may be; until then the node does not vote for it. The clock is asked once for a block, and no more when the
//! network already stands behind it. And when there is nothing to do, the next height is held back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agon_protocol::codec::Decode;
use agon_protocol::digest::{BlockId, NetworkId};
use agon_protocol::identity::AccountId;
use agon_protocol::units::Height;
use engine::app::engine::consensus::state_dump::StateDump;
use engine::app::engine::consensus::{ConsensusMsg, ConsensusRef};
use engine::app::engine::host::{HeightParams, Next, SyncedValueOutcome};
use engine::app::engine::network::{NetworkMsg, NetworkRef};
use engine::app::engine::util::events::{Event, RxEvent};
use engine::app::streaming::{StreamContent, StreamId, StreamMessage};
use engine::app::types::core::{
    CommitCertificate, LinearTimeouts, NilOrVal, Round, Validity, ValueOrigin, VoteType,
};
use engine::app::types::sync::RawDecidedValue;
use engine::app::types::{LocallyProposedValue, ProposedValue, SignedConsensusMsg};
use engine::{AppMsg, Reply};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::application::{Application, Check};
use crate::certificate::{Certificate, CertifiedBlock};
use crate::codec::{from_engine, to_synced};
use crate::context::{EngineContext, EngineHeight, Part};
use crate::error::ConsensusError;
use crate::evidence::{self, Contradiction, Evidence};
use crate::members::Members;
use crate::progress::Progress;
use crate::proposals::{Proposals, Standing};
use crate::signing::{Checker, Keys};
use crate::undecided::{Slot, UndecidedBlocks};

/// How often a block without a verdict is judged again, besides on wake-ups and new rounds.
const JUDGE_AGAIN: Duration = Duration::from_millis(250);

/// How long the others leave the next height to its proposer when there is work: it may not have heard of a transaction or found a
/// verdict yet, and their time-out for its proposal runs from when they begin.
const PROPOSER_FIRST: Duration = Duration::from_millis(100);

/// Proposals of the next height kept while this one is not finished, one a round.
const MAX_EARLY_PARTS: usize = 4;

/// Blocks and bytes answered to one sync request: what one message of the engine carries.
const MAX_SYNC_BLOCKS: usize = 64;
pub(crate) const MAX_SYNC_BYTES: usize = 8 << 20;

/// What the driver is made of.
pub(crate) struct Parts {
    pub(crate) application: Box<dyn Application>,
    pub(crate) network_id: NetworkId,
    pub(crate) keys: Keys,
    pub(crate) timeouts: LinearTimeouts,
    pub(crate) max_block_bytes: usize,
    pub(crate) idle: Duration,
    pub(crate) undecided: UndecidedBlocks,
    /// Where the engine's write-ahead log is, to name it in errors.
    pub(crate) log: PathBuf,
    pub(crate) messages: mpsc::Receiver<AppMsg<EngineContext>>,
    pub(crate) events: RxEvent<EngineContext>,
    pub(crate) consensus: ConsensusRef<EngineContext>,
    pub(crate) network: NetworkRef<EngineContext>,
    pub(crate) progress: Progress,
    pub(crate) wake: Arc<Notify>,
    pub(crate) stop: CancellationToken,
}

/// The next height, held back until there is work.
struct Held {
    reply: Reply<Next<EngineContext>>,
    until: Instant,
}

/// The task's state.
pub(crate) struct Driver {
    parts: Parts,
    /// Who decides the next height.
    next: Members,
    /// Who decided the tip, once this node has seen it decided.
    last: Option<Members>,
    checker: Checker,
    proposals: Proposals,
    /// Blocks of this height that more than two thirds of the power voted for.
    supported: BTreeSet<BlockId>,
    /// Proposals of heights that this node has not begun, by height and round.
    early: BTreeMap<(EngineHeight, u32), Part>,
    held: Option<Held>,
    /// The engine's answer to "who voted for what", when asked.
    votes: Option<oneshot::Receiver<Option<StateDump<EngineContext>>>>,
    judge_again: Instant,
    /// The certificate of the tip, once this node has seen it decided.
    tip: Option<Certificate>,
    /// When to ask for what the engine noticed of messages about the tip that came after it handed over its evidence.
    look_again: Option<Instant>,
    /// Whether the next height begins with the answer to the question about votes.
    release_on_answer: bool,
    /// The evidence of the last two heights that was handed on.
    contradictions: BTreeSet<(Height, u32, Contradiction, AccountId)>,
    log_failure: Option<String>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            next: Members::of(parts.application.as_ref()),
            last: None,
            checker: parts.keys.checker(),
            parts,
            proposals: Proposals::default(),
            supported: BTreeSet::new(),
            early: BTreeMap::new(),
            held: None,
            votes: None,
            judge_again: Instant::now(),
            tip: None,
            look_again: None,
            release_on_answer: false,
            contradictions: BTreeSet::new(),
            log_failure: None,
        }
    }

    /// Answers the engine until it is told to stop.
    ///
    /// # Errors
    /// When the ledger or the disk fails, or the engine ends by itself.
    pub(crate) async fn run(&mut self, first: AppMsg<EngineContext>) -> Result<(), ConsensusError> {
        self.answer(first)?;
        loop {
            let until = self.held.as_ref().map(|held| held.until);
            let waiting = !self.proposals.waiting().is_empty();
            tokio::select! {
                biased;
                () = self.parts.stop.cancelled() => return Ok(()),
                message = self.parts.messages.recv() => match message {
                    Some(message) => self.answer(message)?,
                    None => return Err(self.ended()),
                },
                event = self.parts.events.recv() => if let Ok(event) = event { self.observe(event) },
                votes = answered(&mut self.votes) => {
                    self.votes = None;
                    self.count_votes(votes)?;
                    if std::mem::take(&mut self.release_on_answer) {
                        self.look_again = None;
                        self.release();
                    }
                }
                () = self.parts.wake.notified() => {
                    self.judge_waiting()?;
                    self.rest();
                }
                () = sleep_until(self.judge_again), if waiting => self.judge_waiting()?,
                () = sleep_until(self.look_again.unwrap_or_else(Instant::now)), if self.look_again.is_some() => {
                    self.look_again = None;
                    self.ask_votes();
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() && !self.release_on_answer => self.release(),
            }
        }
    }

    fn ended(&mut self) -> ConsensusError {
        loop {
            match self.parts.events.try_recv() {
                Ok(event) => self.observe(event),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if let Some(reason) = self.parts.keys.signed().take_refusal() {
            return ConsensusError::Contradiction(reason);
        }
        // of a failed write the engine tells nobody but its own log
        let unwritable = || crate::log::unwritable(&self.parts.log);
        match self.log_failure.take().or_else(unwritable) {
            Some(reason) => ConsensusError::WriteAheadLog {
                path: self.parts.log.clone(),
                reason,
            },
            None => ConsensusError::Stopped("one of its tasks ended, see the log".into()),
        }
    }

    fn answer(&mut self, message: AppMsg<EngineContext>) -> Result<(), ConsensusError> {
        // A reply that nobody waits for any more means that the engine is stopping; the channel will close.
        match message {
            AppMsg::ConsensusReady { reply } => {
                let _ = reply.send((self.next_height(), self.height_params()));
            }
            AppMsg::StartedRound {
                height,
                round,
                reply_value,
                ..
            } => {
                let _ = reply_value.send(self.start_round(height, round)?);
            }
            AppMsg::GetValue {
                height,
                round,
                reply,
                ..
            } => {
                if let Some(id) = self.propose(height, round)? {
                    let _ = reply.send(LocallyProposedValue::new(height, round, id.into()));
                }
            }
            AppMsg::RestreamProposal {
                height,
                round,
                value_id,
                ..
            } => self.publish_again(height, round, value_id.own())?,
            AppMsg::ReceivedProposalPart { part, reply, .. } => {
                let value = match part.content {
                    StreamContent::Data(part) => self.receive(part)?,
                    StreamContent::Fin => None,
                };
                let _ = reply.send(value);
            }
            AppMsg::Decided {
                certificate, reply, ..
            } => {
                self.commit(&certificate)?;
                let _ = reply.send(());
            }
            AppMsg::Finalized {
                certificate,
                evidence,
                reply,
                ..
            } => {
                self.commit(&certificate)?;
                self.keep_evidence(evidence::from_engine(&evidence.votes, &evidence.proposals));
                self.held = Some(Held {
                    reply,
                    until: Instant::now() + self.parts.idle,
                });
                self.rest();
            }
            AppMsg::ProcessSyncedValue {
                height,
                round,
                value_bytes,
                reply,
                ..
            } => {
                let _ = reply.send(self.receive_certified(height, round, &value_bytes)?);
            }
            AppMsg::GetDecidedValues { range, reply } => {
                let _ = reply.send(self.certified(range.start().0, range.end().0)?);
            }
            AppMsg::GetHistoryMinHeight { reply } => {
                let application = &self.parts.application;
                let first = application.first().min(application.height()).get();
                let _ = reply.send(EngineHeight(first));
            }
            AppMsg::ExtendVote { reply, .. } => {
                let _ = reply.send(None);
            }
            AppMsg::VerifyVoteExtensions { reply, .. } => {
                let _ = reply.send(Vec::new());
            }
        }
        Ok(())
    }

    fn next_height(&self) -> EngineHeight {
        EngineHeight(self.parts.application.height().get().saturating_add(1))
    }

    fn height_params(&self) -> HeightParams<EngineContext> {
        HeightParams::new(self.next.set.clone(), self.parts.timeouts, None)
    }

    /// The engine enters a round: gives it the verdicts that it may have lost in a crash or could not have had yet.
    fn start_round(
        &mut self,
        height: EngineHeight,
        round: Round,
    ) -> Result<Vec<ProposedValue<EngineContext>>, ConsensusError> {
        let number = round.as_u32().unwrap_or(0);
        self.parts.progress.round(height.0, number);
        if self.proposals.height() != height.0 {
            self.proposals.start(height.0);
            self.supported.clear();
            for slot in self.parts.undecided.list(height.0)? {
                // It was timely, or supported, when it was stored; the other rules are asked again.
                let block = self.parts.undecided.read(&slot)?;
                let timely = true;
                self.proposals.admit(slot.round, slot.id);
                self.proposals
                    .set(slot.id, slot.round, Standing::Waiting { block, timely });
            }
        }
        self.proposals.enter_round(number);
        debug!(%height, number, "round");
        let mut known = Vec::new();
        for id in self.proposals.waiting() {
            known.extend(self.judge(id)?);
        }
        for part in std::mem::take(&mut self.early).into_values() {
            known.extend(self.receive(part)?);
        }
        for (id, last, valid) in self.proposals.judged() {
            if last == number && known.iter().all(|value| value.value.own() != id) {
                known.push(self.proposed(id, last, valid));
            }
        }
        Ok(known)
    }

    /// Our turn: a new block, or after a crash the one that was already sent.
    fn propose(
        &mut self,
        height: EngineHeight,
        round: Round,
    ) -> Result<Option<BlockId>, ConsensusError> {
        let Some(number) = round.as_u32() else {
            return Ok(None);
        };
        let stored = self.parts.undecided.list(height.0)?;
        if let Some(slot) = stored.iter().find(|slot| slot.round == number) {
            let block = self.parts.undecided.read(slot)?;
            self.publish(height, round, block);
            return Ok(Some(slot.id));
        }
        let application = &mut self.parts.application;
        let block = application
            .propose(Height::new(height.0))
            .map_err(ConsensusError::Application)?;
        // The engine votes for our own block without asking, so it is asked for here.
        let check = application.check(&block);
        if check != Check::Valid || block.len() > self.parts.max_block_bytes {
            let bytes = block.len();
            error!(%height, ?check, bytes, "this node built a block that it would refuse; it proposes nothing");
            return Ok(None);
        }
        let id = BlockId::of(&block);
        self.proposals.admit(number, id);
        self.accept(id, number, &block)?;
        self.publish(height, round, block);
        Ok(Some(id))
    }

    /// Has a block on disk, so that it may be voted for.
    fn accept(&mut self, id: BlockId, round: u32, block: &[u8]) -> Result<(), ConsensusError> {
        let height = self.proposals.height();
        let slot = Slot { height, round, id };
        self.parts.undecided.store(&slot, block)?;
        self.proposals.set(id, round, Standing::Accepted);
        Ok(())
    }

    fn publish(&self, height: EngineHeight, round: Round, block: Vec<u8>) {
        if self.next.is_alone(&self.parts.keys) {
            return;
        }
        let id = BlockId::of(&block);
        let Some(signature) = self.parts.keys.sign_part(height, round, &id) else {
            debug!(%height, %round, "a block of an earlier round is not sent again");
            return;
        };
        let part = Part {
            height,
            round,
            proposer: self.parts.keys.address(),
            block,
            signature,
        };
        let mut stream = height.0.to_be_bytes().to_vec();
        stream.extend(round.as_i64().to_be_bytes());
        let message =
            StreamMessage::new(StreamId::new(stream.into()), 0, StreamContent::Data(part));
        if let Err(error) = self
            .parts
            .network
            .cast(NetworkMsg::PublishProposalPart(message))
        {
            debug!(%error, "the engine's network is stopping");
        }
    }

    /// Proposes a block again that the network stood behind in an earlier round.
    fn publish_again(
        &mut self,
        height: EngineHeight,
        round: Round,
        id: BlockId,
    ) -> Result<(), ConsensusError> {
        let stored = self.parts.undecided.list(height.0)?;
        match stored.iter().find(|slot| slot.id == id) {
            Some(slot) => {
                let block = self.parts.undecided.read(slot)?;
                self.publish(height, round, block);
            }
            None => warn!(%height, %id, "a block to propose again is not here"),
        }
        Ok(())
    }

    /// A block from the network. The value for the engine, when there is a verdict.
    fn receive(
        &mut self,
        part: Part,
    ) -> Result<Option<ProposedValue<EngineContext>>, ConsensusError> {
        let id = BlockId::of(&part.block);
        let Some(round) = part.round.as_u32() else {
            return Ok(None);
        };
        if part.block.len() > self.parts.max_block_bytes
            || part.proposer != self.next.set.proposer(part.height, part.round).address
            || !self.checker.part(
                part.height,
                part.round,
                &id,
                &part.proposer,
                &part.signature,
            )
        {
            debug!(height = %part.height, round, "dropped a block that its proposer did not send");
            return Ok(None);
        }
        let undecided = part.height == self.next_height();
        if !undecided || self.proposals.height() != part.height.0 {
            self.keep_early(part, round);
            return Ok(None);
        }
        if !self.proposals.admit(round, id) {
            return Ok(None);
        }
        if self.proposals.standing(&id).is_none() {
            let timely = self.parts.application.timely(&part.block);
            let block = part.block;
            self.proposals
                .set(id, round, Standing::Waiting { block, timely });
        }
        self.judge(id)
    }

    /// A proposal of a height that this node has not begun: it has rested long enough. The validators of a height beyond the
    /// next are not known yet; if its turns change, this proposal is lost here and the block comes by a later round or by sync.
    fn keep_early(&mut self, part: Part, round: u32) {
        let tip = self.parts.application.height().get();
        if part.height.0 <= tip || part.height.0 > tip.saturating_add(2) {
            return;
        }
        self.early.entry((part.height, round)).or_insert(part);
        if self.early.len() > MAX_EARLY_PARTS {
            self.early.pop_last();
        }
        self.release();
    }

    /// What the engine is to know of a block, asking the ledger when there is no verdict yet.
    fn judge(
        &mut self,
        id: BlockId,
    ) -> Result<Option<ProposedValue<EngineContext>>, ConsensusError> {
        let Some(round) = self.proposals.last_round(&id) else {
            return Ok(None);
        };
        let valid = match self.proposals.standing(&id).cloned() {
            None => return Ok(None),
            Some(Standing::Accepted) => true,
            Some(Standing::Refused) => false,
            Some(Standing::Waiting { block, timely }) => match self.parts.application.check(&block)
            {
                Check::Undecided => return Ok(None),
                Check::Invalid(reason) => {
                    warn!(height = self.proposals.height(), round, %id, reason, "refused a block");
                    self.proposals.set(id, round, Standing::Refused);
                    false
                }
                Check::Valid if timely || self.supported.contains(&id) => {
                    self.accept(id, round, &block)?;
                    true
                }
                Check::Valid => {
                    // Its time is not ours. If two thirds of the power saw it in time, we are the ones who are late.
                    self.ask_votes();
                    return Ok(None);
                }
            },
        };
        Ok(Some(self.proposed(id, round, valid)))
    }

    fn proposed(&self, id: BlockId, round: u32, valid: bool) -> ProposedValue<EngineContext> {
        let height = EngineHeight(self.proposals.height());
        let round = Round::new(round);
        ProposedValue {
            height,
            round,
            valid_round: Round::Nil,
            proposer: self.next.set.proposer(height, round).address,
            value: id.into(),
            validity: Validity::from_bool(valid),
        }
    }

    /// Judges all blocks without a verdict, and tells the engine of those that now have one.
    fn judge_waiting(&mut self) -> Result<(), ConsensusError> {
        self.judge_again = Instant::now() + JUDGE_AGAIN;
        if self.proposals.height() != self.next_height().0 {
            return Ok(());
        }
        for id in self.proposals.waiting() {
            if let Some(value) = self.judge(id)? {
                let message = ConsensusMsg::ReceivedProposedValue(value, ValueOrigin::Consensus);
                if let Err(error) = self.parts.consensus.cast(message) {
                    debug!(%error, "the engine is stopping");
                }
            }
        }
        Ok(())
    }

    fn ask_votes(&mut self) {
        if self.votes.is_none() {
            let (sender, receiver) = oneshot::channel();
            match self
                .parts
                .consensus
                .cast(ConsensusMsg::DumpState(sender.into()))
            {
                Ok(()) => self.votes = Some(receiver),
                Err(error) => debug!(%error, "the engine is stopping"),
            }
        }
    }

    /// Notes which waiting blocks have the votes of more than two thirds of the power, in any round, and who voted twice.
    fn count_votes(
        &mut self,
        votes: Option<StateDump<EngineContext>>,
    ) -> Result<(), ConsensusError> {
        let Some(votes) = votes else { return Ok(()) };
        self.keep_evidence(evidence::from_engine(
            &votes.vote_keeper.evidence,
            &votes.proposal_keeper.evidence,
        ));
        if votes.consensus.height.0 != self.proposals.height() {
            return Ok(());
        }
        let total = self.next.power();
        let mut found = false;
        for id in self.proposals.waiting() {
            let value = NilOrVal::Val(id.into());
            let enough = votes.vote_keeper.votes.values().any(|round| {
                [VoteType::Prevote, VoteType::Precommit]
                    .iter()
                    .any(|kind| u128::from(round.votes().get_weight(*kind, &value)) * 3 > total * 2)
            });
            found |= enough && self.supported.insert(id);
        }
        if found { self.judge_waiting() } else { Ok(()) }
    }

    /// A decided block from a peer, for a node that is behind.
    fn receive_certified(
        &mut self,
        height: EngineHeight,
        round: Round,
        bytes: &[u8],
    ) -> Result<SyncedValueOutcome<EngineContext>, ConsensusError> {
        let own = Height::new(height.0);
        let verified = CertifiedBlock::from_bytes(bytes).ok().filter(|certified| {
            certified
                .verify(&self.parts.network_id, &self.next.validators, own)
                .is_ok()
        });
        let (Some(certified), Some(round)) = (verified, round.as_u32()) else {
            return Ok(SyncedValueOutcome::PeerFault);
        };
        if height != self.next_height() || self.proposals.height() != height.0 {
            return Ok(SyncedValueOutcome::LocalTransientError);
        }
        let id = certified.certificate.block;
        self.supported.insert(id);
        if !matches!(self.proposals.standing(&id), Some(Standing::Accepted)) {
            let (block, timely) = (certified.block, true);
            self.proposals
                .set(id, round, Standing::Waiting { block, timely });
        }
        match self.judge(id)? {
            None => Ok(SyncedValueOutcome::LocalTransientError),
            Some(value) if value.validity.is_valid() => Ok(SyncedValueOutcome::Verdict(value)),
            Some(_) => Err(ConsensusError::Diverged { height: own, id }),
        }
    }

    /// Committed blocks for a peer that is behind.
    fn certified(
        &self,
        first: u64,
        last: u64,
    ) -> Result<Vec<RawDecidedValue<EngineContext>>, ConsensusError> {
        let (mut values, mut bytes) = (Vec::new(), 0);
        for height in (first..=last).take(MAX_SYNC_BLOCKS) {
            let block = self
                .parts
                .application
                .certified(Height::new(height))
                .map_err(ConsensusError::Application)?;
            let Some(block) = block else { break };
            bytes += block.block.len();
            if bytes > MAX_SYNC_BYTES && !values.is_empty() {
                break;
            }
            values.push(to_synced(&block));
        }
        Ok(values)
    }

    /// The engine decided. It says so twice, the second time perhaps with more signatures, and again after a crash.
    fn commit(
        &mut self,
        certificate: &CommitCertificate<EngineContext>,
    ) -> Result<(), ConsensusError> {
        let Some(certificate) = from_engine(certificate) else {
            return Err(ConsensusError::Stopped(
                "it decided outside of any round".into(),
            ));
        };
        let (height, id) = (certificate.height, certificate.block);
        let signatures = certificate.signatures.len();
        let tip = self.parts.application.height();
        if height > tip {
            let stored = self.parts.undecided.list(height.get())?;
            let slot = stored.iter().find(|slot| slot.id == id);
            let slot = slot.copied().unwrap_or(Slot {
                height: height.get(),
                round: certificate.round,
                id,
            });
            let block = self.parts.undecided.read(&slot)?;
            self.tip = Some(certificate.clone());
            self.hand_over(&CertifiedBlock { certificate, block })?;
            self.change_members();
            if self.parts.application.height() != height {
                let reason = format!("it did not take the decided block {height}");
                return Err(ConsensusError::Application(reason.into()));
            }
            info!(%height, id = id.short(), signatures, "decided");
            self.look_again = None;
            self.contradictions.retain(|(at, ..)| *at >= height);
            self.proposals = Proposals::default();
            self.parts.undecided.remove_up_to(height.get())?;
        } else if height < tip
            || self
                .tip
                .as_ref()
                .is_none_or(|tip| signatures > tip.signatures.len())
        {
            let stored = self
                .parts
                .application
                .certified(height)
                .map_err(ConsensusError::Application)?;
            let Some(stored) = stored else { return Ok(()) };
            if stored.certificate.block != id {
                return Err(ConsensusError::Diverged { height, id });
            }
            if height == tip {
                self.tip = Some(certificate.clone());
            }
            if signatures > stored.certificate.signatures.len() {
                let block = stored.block;
                self.hand_over(&CertifiedBlock { certificate, block })?;
            }
        }
        Ok(())
    }

    /// After a commit, the next height may have other validators.
    fn change_members(&mut self) {
        let next = Members::of(self.parts.application.as_ref());
        if next.validators != self.next.validators {
            let height = self.next_height();
            let (validators, votes) = (next.validators.len(), next.has(&self.parts.keys));
            info!(%height, validators, votes, "the validators change");
        }
        self.last = Some(std::mem::replace(&mut self.next, next));
    }

    /// Hands on evidence of contradicting messages, as far as it proves anything, each once.
    fn keep_evidence(&mut self, noticed: impl IntoIterator<Item = Evidence>) {
        for evidence in noticed {
            let tip = self.parts.application.height();
            let members = match &self.last {
                Some(last) if evidence.height == tip => last,
                _ if Some(evidence.height) == tip.next() => &self.next,
                _ => continue,
            };
            let (validator, height) = (evidence.validator, evidence.height);
            let name = (height, evidence.round, evidence.kind, validator);
            if self.contradictions.contains(&name) {
                continue;
            }
            match evidence.verify(&self.parts.network_id, &members.validators) {
                Err(error) => debug!(%validator, %height, %error, "not evidence of double-signing"),
                Ok(()) => {
                    self.contradictions.insert(name);
                    self.parts.progress.contradicted();
                    warn!(event = "equivocation", %validator, %height, round = evidence.round, "a validator signed contradicting messages");
                    if let Err(error) = self.parts.application.evidence(&evidence) {
                        error!(%error, "the evidence of double-signing was not stored");
                    }
                }
            }
        }
    }

    /// A message about the tip that came after the engine handed over its evidence. As long as the next height is held back, the
    /// engine still compares it with what it has seen; then it drops it, and what is left to compare with is the certificate.
    fn look_at_late(&mut self, message: &SignedConsensusMsg<EngineContext>) {
        if self.held.is_some() {
            let soon = || Instant::now() + JUDGE_AGAIN;
            self.look_again.get_or_insert_with(soon);
        }
        if let (SignedConsensusMsg::Vote(vote), Some(tip)) = (message, &self.tip) {
            let found = evidence::against_certificate(tip, vote);
            self.keep_evidence(found);
        }
    }

    fn hand_over(&mut self, block: &CertifiedBlock) -> Result<(), ConsensusError> {
        self.parts
            .application
            .commit(block)
            .map_err(ConsensusError::Application)
    }

    /// Holds the next height back for as long as the ledger has nothing to do, or its proposer nothing to propose.
    fn rest(&mut self) {
        let proposes = self.proposes_next();
        if let Some(held) = &mut self.held {
            let work = self.parts.application.rest().min(self.parts.idle);
            let rest = match proposes {
                true => work,
                false => work.max(PROPOSER_FIRST),
            };
            held.until = held.until.min(Instant::now() + rest);
            if rest.is_zero() || !self.early.is_empty() {
                self.release();
            }
        }
    }

    /// Whether this validator is the first to propose the next block.
    fn proposes_next(&self) -> bool {
        let height = self.next_height();
        let proposer = self.next.set.proposer(height, Round::new(0));
        proposer.address == self.parts.keys.address()
    }

    /// Lets the next height begin, but for one question about late messages: their evidence is lost with the height.
    fn release(&mut self) {
        if self.held.is_some() && self.look_again.take().is_some() {
            self.ask_votes();
            self.release_on_answer = self.votes.is_some();
        }
        if self.release_on_answer {
            return;
        }
        if let Some(held) = self.held.take() {
            let next = Next::Start(self.next_height(), self.height_params());
            let _ = held.reply.send(next);
        }
    }

    fn observe(&mut self, event: Event<EngineContext>) {
        match event {
            // A validator is already at the next height: rest no longer.
            Event::Received(message) => {
                let height = match &message {
                    SignedConsensusMsg::Vote(vote) => vote.height,
                    SignedConsensusMsg::Proposal(proposal) => proposal.height,
                };
                let next = self.next_height();
                if height >= next {
                    self.release();
                } else if height.0.saturating_add(1) == next.0 {
                    self.look_at_late(&message);
                }
            }
            Event::WalCorrupted(error) => self.log_failure = Some(error.to_string()),
            Event::WalReplayError(error) => self.log_failure = Some(error.to_string()),
            Event::WalResetError(error) => self.log_failure = Some(error.to_string()),
            _ => {}
        }
    }
}

/// The answer to a question that may not have been asked.
async fn answered<T>(question: &mut Option<oneshot::Receiver<Option<T>>>) -> Option<T> {
    match question {
        Some(receiver) => receiver.await.ok().flatten(),
        None => std::future::pending().await,
    }
}
