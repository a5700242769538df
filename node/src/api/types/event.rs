//! What `GET /v1/events` tells.

use agon_protocol::digest::{CompetitionId, NetworkId, RegistrationId};
use agon_protocol::identity::AccountId;
use serde::{Deserialize, Serialize};

use super::BlockLine;
use crate::api::schema::objects;

objects! {
    /// Event `hello`: the first one of a connection.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct HelloEvent {
        /// The network.
        pub network: NetworkId,
        /// Height of the last block.
        pub height: u64,
        /// Version of the software.
        pub version: String,
        /// Whether everything follows that happened since the event that the request names. If not, load again what is shown.
        pub resumed: bool,
    }

    /// Event `block`: a block is final here.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct BlockEvent {
        /// The block.
        #[serde(flatten)]
        pub block: BlockLine,
        /// What happened in it, in words, at most 64 of them.
        pub events: Vec<String>,
    }

    /// Event `competition`: one was opened, or has another phase.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CompetitionEvent {
        /// The competition.
        pub competition: CompetitionId,
        /// Its title.
        pub title: String,
        /// The phase now.
        pub phase: String = ["announced", "open", "sealed", "proving", "paid", "void", "cancelled"],
        /// The phase before; null when it is new.
        pub before: Option<String>,
        /// Height of the last block.
        pub height: u64,
    }

    /// Event `registration`: a model was registered or withdrawn.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RegistrationEvent {
        /// The competition.
        pub competition: CompetitionId,
        /// The registration.
        pub registration: RegistrationId,
        /// Who.
        pub competitor: AccountId,
        /// Whether it was withdrawn.
        pub withdrawn: bool,
        /// Registrations of the competition now.
        pub registrations: usize,
        /// Height of its block.
        pub height: u64,
    }

    /// Event `leaderboard`: a ranking changed.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct LeaderboardEvent {
        /// The competition.
        pub competition: CompetitionId,
        /// Height of the block that changed it.
        pub height: u64,
        /// Ranked registrations now.
        pub ranked: usize,
        /// The first of them.
        pub first: Option<FirstRank>,
    }

    /// The best of a ranking.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct FirstRank {
        /// The registration.
        pub registration: RegistrationId,
        /// Who registered it.
        pub competitor: AccountId,
        /// The proven score.
        pub score: f64,
        /// The same in words.
        pub score_words: String,
    }
}
