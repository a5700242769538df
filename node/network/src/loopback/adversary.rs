//! A peer that speaks the exchange protocol with bytes of its own choosing.

use std::io;

use agon_protocol::codec::{Decode, Encode};
use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::request_response::{self, Event, Message, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::harness::network_id;
use crate::event::{Source, Tip};
use crate::loopback::harness::Chain;
use crate::wire::{EXCHANGE, Introduction, Request, Response};

/// Sends and receives whole streams as they are.
#[derive(Clone, Default)]
struct RawCodec;

#[async_trait]
impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix).await?;
        let mut bytes = vec![0; u32::from_le_bytes(prefix) as usize];
        stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        protocol: &StreamProtocol,
        stream: &mut T,
    ) -> io::Result<Vec<u8>> {
        self.read_request(protocol, stream).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        stream.write_all(&bytes).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        stream.write_all(&bytes).await
    }
}

/// The frame of an honest message.
pub(super) fn framed(message: &impl Encode) -> Vec<u8> {
    let bytes = message.to_bytes();
    [&(bytes.len() as u32).to_le_bytes(), &bytes[..]].concat()
}

/// The introduction of an honest peer without blocks.
pub(super) fn introduction(height: u64) -> Introduction {
    let tip = Tip {
        height,
        ..Chain::default().tip()
    };
    Introduction {
        network: network_id(),
        tip,
    }
}

/// A running adversary.
pub(super) struct Adversary {
    pub(super) id: PeerId,
    _stop: DropGuard,
}

impl Adversary {
    /// Dials `victim`, asks `questions` (raw bytes), and answers each of its questions with raw bytes; `None` means an honest
    /// introduction, or that nothing is held, and no bytes no answer at all.
    pub(super) fn start(
        victim: Multiaddr,
        questions: Vec<Vec<u8>>,
        answer: impl Fn(&Request) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let config = request_response::Config::default();
        let protocols = [(EXCHANGE, ProtocolSupport::Full)];
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default(),
                noise::Config::new,
                yamux::Config::default,
            )
            .unwrap()
            .with_behaviour(|_| {
                request_response::Behaviour::with_codec(RawCodec, protocols, config)
            })
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(super::harness::PATIENCE)
            })
            .build();
        let id = *swarm.local_peer_id();
        swarm.dial(victim).unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let mut unanswered = Vec::new();
            loop {
                let event = tokio::select! {
                    event = swarm.select_next_some() => event,
                    () = stopped.cancelled() => return,
                };
                match event {
                    SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                        for question in &questions {
                            swarm
                                .behaviour_mut()
                                .send_request(&peer_id, question.clone());
                        }
                    }
                    SwarmEvent::Behaviour(Event::Message {
                        message:
                            Message::Request {
                                request, channel, ..
                            },
                        ..
                    }) => {
                        let request = Request::from_bytes(&request).unwrap();
                        let bytes = answer(&request).unwrap_or_else(|| {
                            framed(&match request {
                                Request::Introduce(_) => Response::Introduction(introduction(0)),
                                Request::Tip(_) => Response::Done,
                                _ => Response::NotHeld,
                            })
                        });
                        match bytes.is_empty() {
                            true => unanswered.push(channel),
                            false => {
                                let _ = swarm.behaviour_mut().send_response(channel, bytes);
                            }
                        }
                    }
                    _ => {}
                }
            }
        });
        Self {
            id,
            _stop: stop.drop_guard(),
        }
    }
}
