//! Transactions: out to all, in to the node's judgement.

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};
use tokio::time::{Instant, timeout};

use super::{Decided, Task};
use crate::event::{Event, Misbehaviour, Ticket, Verdict};
use crate::handle::{Publication, PublishError};

impl Task {
    pub(super) fn publish(&mut self, bytes: Vec<u8>) -> Result<Publication, PublishError> {
        let (length, limit) = (bytes.len(), self.config.limits.transaction_bytes);
        if length > limit {
            return Err(PublishError::TooLong { length, limit });
        }
        let topic = self.topic.hash();
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        match gossip.publish(topic, bytes.clone()) {
            Ok(_) => Ok(Publication::Sent),
            Err(gossipsub::PublishError::Duplicate) => Ok(Publication::Known),
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic)
                if self.unsent.len() < self.config.limits.unsent_transactions =>
            {
                if !self.unsent.contains(&bytes) {
                    self.unsent.push_back(bytes);
                }
                Ok(Publication::Waiting)
            }
            Err(gossipsub::PublishError::MessageTooLarge) => {
                Err(PublishError::TooLong { length, limit })
            }
            Err(error) => {
                tracing::debug!(%error, "a transaction could not be published");
                Err(PublishError::Full)
            }
        }
    }

    pub(super) fn gossip_event(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } => self.transaction(propagation_source, message_id, message.data),
            gossipsub::Event::Subscribed { topic, .. } if topic == self.topic.hash() => {
                for bytes in std::mem::take(&mut self.unsent) {
                    // What still finds no peer is queued again.
                    if let Err(error) = self.publish(bytes) {
                        tracing::warn!(%error, "a waiting transaction was dropped");
                    }
                }
            }
            _ => {}
        }
    }

    fn transaction(&mut self, source: PeerId, id: MessageId, bytes: Vec<u8>) {
        if bytes.len() > self.config.limits.transaction_bytes {
            self.decided((id, source, Verdict::Reject));
            return;
        }
        let length = bytes.len();
        if !self.rates.transaction(source, length, Instant::now()) {
            self.decided((id, source, Verdict::Ignore));
            self.blame(source, Misbehaviour::Excess);
            return;
        }
        if !self.has_room_for(source, length) {
            self.decided((id, source, Verdict::Ignore));
            return;
        }
        let (ticket, verdict) = Ticket::new();
        let event = Event::Transaction {
            bytes,
            source,
            ticket,
        };
        if !self.tell(event) {
            self.decided((id, source, Verdict::Ignore));
            return;
        }
        let patience = self.config.timing.decision;
        self.undecided_bytes += length;
        *self.undecided_of.entry(source).or_default() += 1;
        self.undecided.push(Box::pin(async move {
            let verdict = match timeout(patience, verdict).await {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(_)) | Err(_) => Verdict::Ignore,
            };
            ((id, source, verdict), length)
        }));
    }

    /// Whether one more transaction may wait for the node's verdict. One peer has half of the places, so that others are heard.
    fn has_room_for(&self, source: PeerId, length: usize) -> bool {
        let limits = &self.config.limits;
        let of_source = self.undecided_of.get(&source).copied().unwrap_or(0);
        self.undecided.len() < limits.undecided_transactions
            && self.undecided_bytes + length <= limits.undecided_bytes
            && of_source < limits.undecided_transactions.div_ceil(2)
    }

    pub(super) fn no_longer_undecided(&mut self, source: PeerId, length: usize) {
        self.undecided_bytes -= length;
        if let Some(count) = self.undecided_of.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.undecided_of.remove(&source);
            }
        }
    }

    pub(super) fn decided(&mut self, (id, source, verdict): Decided) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id, &source, acceptance);
        if verdict == Verdict::Reject {
            self.blame(source, Misbehaviour::InvalidTransaction);
        }
    }
}
