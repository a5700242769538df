//! Storing and reading blobs, in pieces, so that a data set of a gibibyte never lies in memory.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use agon_network::StoreError;
use agon_protocol::digest::BlobId;
use axum::Json;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::body::{Incoming, PATIENCE, broken, discard, next_piece};
use super::error::ApiError;
use super::types::StoredBlob;
use super::{Segment, Server, blocking, parse};

/// Pieces between the network and the disk.
const QUEUE: usize = 8;
/// Bytes of a piece that is read from the disk.
const PIECE_BYTES: u64 = 256 << 10;

fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::TooLong { limit } => ApiError::too_large(limit),
        StoreError::Full { .. } => full(),
        StoreError::NotHeld { id } => ApiError::not_found(
            format!("blob {id} is not here"),
            "ask another node, or wait until this one has fetched it from its peers",
        ),
        StoreError::Io {
            action: READ_INPUT, ..
        } => broken(),
        error => ApiError::internal(error),
    }
}

/// What the store was doing when the body of a request fails.
const READ_INPUT: &str = "read the input for";

/// The stated length of a body, when there is one.
fn stated_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

pub(super) async fn store(
    State(server): State<Server>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<StoredBlob>, ApiError> {
    let mut body = Incoming::new(body);
    let transfer = server.transfers.clone().try_acquire_owned();
    let _transfer = transfer.map_err(|_| ApiError::busy("transfers"))?;
    let limit = server.api.blob_limits.largest;
    if stated_length(&headers).is_some_and(|length| length > limit) {
        discard(&mut body).await;
        return Err(ApiError::too_large(limit));
    }
    let (pieces, received) = mpsc::channel(QUEUE);
    let writer = {
        let blobs = server.api.blobs.clone();
        blocking(move || {
            let stored = blobs.put_reader(&mut Pieces::new(received), limit);
            stored.map_err(store_error)
        })
    };
    let (stored, ()) = tokio::join!(writer, forward(body, pieces));
    let stored = stored?;
    (server.api.arrived)();
    // a swarm that is stopping announces nothing; the blob is announced at the next start
    let _ = server.api.network.announce_blob(stored.id).await;
    Ok(Json(StoredBlob {
        id: stored.id,
        length: stored.length,
    }))
}

fn full() -> ApiError {
    ApiError::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "the blob store of this node is full",
        "use another node, or ask its operator to raise blobs.total in config.toml",
    )
}

fn pruned(id: BlobId) -> ApiError {
    ApiError::new(
        StatusCode::GONE,
        format!(
            "blob {id} belongs to a competition that ended long ago, and this node has removed it"
        ),
        "ask an archive: a node that runs with blobs.prune_after = \"never\"",
    )
}

/// Passes the body on to the writing thread, until it ends, breaks or stalls.
async fn forward(mut body: Incoming, pieces: mpsc::Sender<io::Result<Bytes>>) {
    while let Some(piece) = next_piece(&mut body).await {
        let ends = piece.is_err();
        if pieces.send(piece).await.is_err() {
            // the writer has ended: the blob is too long, or the disk is full
            discard(&mut body).await;
            return;
        }
        if ends {
            return;
        }
    }
}

/// The pieces of a body as a reader for a blocking thread.
struct Pieces {
    received: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Pieces {
    fn new(received: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self {
            received,
            piece: Bytes::new(),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.received.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

pub(super) async fn read(
    State(server): State<Server>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let id: BlobId = parse(&id)?;
    let transfer = server.transfers.clone().try_acquire_owned();
    let transfer = transfer.map_err(|_| ApiError::busy("transfers"))?;
    if server.api.pruned.contains(&id) && !server.api.blobs.holds(id) {
        return Err(pruned(id));
    }
    let blobs = server.api.blobs.clone();
    // the first piece before the answer begins, so that a missing or damaged blob is an error and not a cut
    let (length, first) = blocking(move || {
        let length = blobs.length(id).map_err(store_error)?;
        let length = length.ok_or_else(|| store_error(StoreError::NotHeld { id }))?;
        let first = blobs
            .read_range(id, 0, length.min(PIECE_BYTES))
            .map_err(store_error)?;
        Ok((length, first))
    })
    .await?;
    let (pieces, received) = mpsc::channel(QUEUE);
    let (blobs, runtime) = (server.api.blobs.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        let _transfer: OwnedSemaphorePermit = transfer;
        let mut offset = first.len() as u64;
        let mut next = Ok(Bytes::from(first));
        loop {
            let ends = next.is_err();
            let sent = runtime.block_on(pieces.send_timeout(next, PATIENCE));
            if sent.is_err() || ends || offset >= length {
                return;
            }
            let count = PIECE_BYTES.min(length - offset);
            next = blobs
                .read_range(id, offset, count)
                .map(Bytes::from)
                .map_err(io::Error::other);
            offset += count;
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, Body::new(Outgoing { received })).into_response())
}

/// A body whose pieces come from a blocking thread.
struct Outgoing {
    received: mpsc::Receiver<io::Result<Bytes>>,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.received
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
