//! Questions to peers and from peers.

use agon_protocol::digest::NetworkId;
use libp2p::PeerId;
use libp2p::request_response::{
    self, InboundRequestId, OutboundFailure, OutboundRequestId, ResponseChannel,
};
use tokio::time::Instant;

use super::{Asked, Served, Task};
use crate::event::{Event, Misbehaviour, RefusalReason};
use crate::handle::RequestError;
use crate::swarm::serve;
use crate::wire::{Question, Request, Response};

impl Task {
    pub(super) fn ask(&mut self, peer: PeerId, request: Request, asked: Asked) {
        let exchange = &mut self.swarm.behaviour_mut().exchange;
        let id = exchange.send_request(&peer, Question::Sound(request));
        self.asked.insert(id, asked);
    }

    pub(super) fn exchange_event(&mut self, event: request_response::Event<Question, Response>) {
        use request_response::{Event, Message};
        match event {
            Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request: Question::Sound(request),
                    channel,
                    request_id,
                } => self.question(peer, request_id, request, channel),
                Message::Request {
                    request: Question::Broken,
                    ..
                } => self.blame(peer, Misbehaviour::BrokenMessage),
                Message::Response {
                    request_id,
                    response,
                } => self.answered(peer, request_id, response),
            },
            Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => self.unanswered(peer, request_id, &error),
            Event::InboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                self.answers.gone(request_id);
                tracing::debug!(%peer, %error, "a question was not answered");
            }
            Event::ResponseSent { request_id, .. } => self.answers.gone(request_id),
        }
    }

    fn question(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: Request,
        channel: ResponseChannel<Response>,
    ) {
        let response = match request {
            Request::Introduce(theirs) => {
                if theirs.network == self.config.network {
                    self.peers.introduced(peer);
                } else {
                    // Answered all the same: the other side should learn why it is refused.
                    self.refuse_foreign(peer, theirs.network);
                }
                Response::Introduction(self.introduction())
            }
            _ if !request.is_sensible() => {
                self.blame(peer, Misbehaviour::BrokenMessage);
                Response::Refused
            }
            _ if !self.peers.may_ask(&peer) => Response::Refused,
            Request::Tip(tip) => {
                let news = self.peers.tip_moved(peer, tip);
                if !self.rates.tip(peer, Instant::now()) {
                    self.blame(peer, Misbehaviour::Excess);
                } else if news {
                    self.tell(Event::Tip { peer, tip });
                }
                Response::Done
            }
            request => return self.serve(peer, id, request, channel),
        };
        self.reply(channel, response);
    }

    pub(super) fn refuse_foreign(&mut self, peer: PeerId, theirs: NetworkId) {
        // Either of the two introductions shows it; the second one is no news.
        if self.peers.is_banned(&peer) {
            return;
        }
        tracing::warn!(
            %peer, ours = %self.config.network, %theirs,
            "refused a peer of another network; check the genesis file and the bootstrap addresses"
        );
        self.refuse(peer, RefusalReason::OtherNetwork { theirs });
    }

    fn serve(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: Request,
        channel: ResponseChannel<Response>,
    ) {
        let limits = &self.config.limits;
        let longest = request.longest_answer();
        if self.serving.len() >= limits.served_requests
            || !self.answers.has_room(&peer, longest)
            || !self
                .peers
                .begin_serving(&peer, limits.served_requests_per_peer)
        {
            return self.reply(channel, Response::Busy);
        }
        self.answers.add(id, peer, longest);
        let (blobs, source) = (self.around.blobs.clone(), self.around.source.clone());
        self.serving.push(Box::pin(async move {
            let work = move || serve::answer(&blobs, source.as_ref(), &request);
            // Fails only when the source panics or the runtime stops; the peer then sees its question unanswered.
            let response = match tokio::task::spawn_blocking(work).await {
                Ok(response) => response,
                Err(error) => {
                    tracing::error!(%error, "a question could not be answered");
                    Response::Busy
                }
            };
            (peer, id, channel, response)
        }));
    }

    pub(super) fn served(&mut self, (peer, id, channel, response): Served) {
        self.peers.end_serving(&peer);
        self.answers.shorten(id, response.bytes());
        self.reply(channel, response);
    }

    fn reply(&mut self, channel: ResponseChannel<Response>, response: Response) {
        // Fails when the connection is gone; then nobody waits.
        let exchange = &mut self.swarm.behaviour_mut().exchange;
        let _ = exchange.send_response(channel, response);
    }

    fn answered(&mut self, peer: PeerId, id: OutboundRequestId, response: Response) {
        match (self.asked.remove(&id), response) {
            (Some(Asked::ForHandle(reply)), response) => {
                let _ = reply.send(Ok(response));
            }
            (Some(Asked::Introduction), Response::Introduction(theirs)) => {
                self.introduced(peer, theirs);
            }
            // Refused: our introduction is still on its way; the next tip will pass.
            (Some(Asked::Tip), Response::Done | Response::Refused) | (None, _) => {}
            (Some(Asked::Introduction | Asked::Tip), _) => {
                self.blame(peer, Misbehaviour::UnexpectedAnswer);
            }
        }
    }

    fn unanswered(&mut self, peer: PeerId, id: OutboundRequestId, error: &OutboundFailure) {
        match self.asked.remove(&id) {
            Some(Asked::ForHandle(reply)) => {
                let _ = reply.send(Err(RequestError::Failed(error.to_string())));
            }
            Some(Asked::Introduction) => match error {
                // Of two connections opened at once, the one with the question may be the one that was given up.
                OutboundFailure::ConnectionClosed if self.peers.is_connected(&peer) => {
                    self.introduce(peer);
                }
                OutboundFailure::ConnectionClosed | OutboundFailure::DialFailure => {}
                _ => {
                    tracing::warn!(%peer, %error, "refused a peer that does not introduce itself");
                    // No ban: it may just have crashed, or be slow.
                    let _ = self.swarm.disconnect_peer_id(peer);
                    let reason = RefusalReason::NoIntroduction;
                    self.tell(Event::PeerRefused { peer, reason });
                }
            },
            Some(Asked::Tip) | None => {}
        }
        if let OutboundFailure::Io(error) = error
            && error.kind() == std::io::ErrorKind::InvalidData
        {
            self.blame(peer, Misbehaviour::BrokenMessage);
        }
    }
}
