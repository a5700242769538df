//! Transactions: out to all, in to the node's judgement.

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};
use tokio::time::timeout;

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
        if self.undecided.len() >= self.config.limits.undecided_transactions {
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
        self.undecided.push(Box::pin(async move {
            let verdict = match timeout(patience, verdict).await {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(_)) | Err(_) => Verdict::Ignore,
            };
            (id, source, verdict)
        }));
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
