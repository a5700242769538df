//! The JSON objects of the HTTP API: what the node answers and what the command line reads.
//!
//! Both sides use these types, so the contract cannot drift. Heights, times (milliseconds since 1970) and amounts are plain
//! numbers; identifiers are 64 hexadecimal digits; a metric is its name (`top-5`), the numbers of a tally are decimal text.
//! A score is a floating-point number for people and for programs that draw: ranks come from tallies.
//!
//! An object named `…Answer` is a view that follows from the chain alone, with what only this node knows.

mod chain;
mod competition;
mod event;
mod network;

use serde::{Deserialize, Serialize};

pub use chain::*;
pub use competition::*;
pub use event::*;
pub use network::*;

use super::schema::objects;

objects! {
    /// Any answer with a 4xx or 5xx status.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ErrorBody {
        /// The kind of error, a fixed word.
        #[serde(default)]
        pub code: String = [
            "bad_request", "not_found", "method_not_allowed", "nonce_taken", "gone", "too_large", "bad_range",
            "refused_by_rule", "busy", "internal", "full", "storage_full",
        ],
        /// What went wrong.
        pub error: String,
        /// What to do next.
        pub hint: String,
        /// The rule of the specification that says no, if one does.
        #[serde(default)]
        pub rule: Option<String>,
    }
}

/// A metric as its name.
mod metric_name {
    use agon_protocol::metric::Metric;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        metric: &Metric,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(metric)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Metric, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
