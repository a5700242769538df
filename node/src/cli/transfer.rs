//! Blobs to and from a node, with a bar that says how much is left.

use agon_node::api::types::StoredBlob;
use agon_node::client::Client;
use agon_protocol::digest::BlobId;

use super::{Console, Failure};

/// Fetches a blob; `what` is what a person calls it.
pub(crate) fn fetch(
    console: Console,
    client: &Client,
    id: &BlobId,
    length: u64,
    what: &str,
) -> Result<Vec<u8>, Failure> {
    let bar = console.transfer(length, format!("fetching {what}"));
    let fetched = client.blob_reporting(id, length, &mut |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    fetched.map_err(|error| Failure::from(error).during(format!("fetching {what}")))
}

/// Hands a blob to the node.
pub(crate) fn publish(
    console: Console,
    client: &Client,
    bytes: &[u8],
    what: &str,
) -> Result<StoredBlob, Failure> {
    let bar = console.transfer(bytes.len() as u64, format!("sending {what}"));
    let stored = client.put_blob_reporting(bytes, &mut |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    stored.map_err(|error| Failure::from(error).during(format!("sending {what}")))
}
