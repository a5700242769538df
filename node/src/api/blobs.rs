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
use super::{Id, Server, blocking, ranges};

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
    Id(id): Id<BlobId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let name = format!("{id}.bin");
    send(server, id, &name, "application/octet-stream", &headers).await
}

/// Sends a blob, or the range of it that the request asks for, as a file of this name.
pub(super) async fn send(
    server: Server,
    id: BlobId,
    name: &str,
    content_type: &str,
    asked: &HeaderMap,
) -> Result<Response, ApiError> {
    let transfer = server.transfers.clone().try_acquire_owned();
    let transfer = transfer.map_err(|_| ApiError::busy("transfers"))?;
    if server.api.pruned.contains(&id) && !server.api.blobs.holds(id) {
        return Err(pruned(id));
    }
    let range = asked.get(header::RANGE).cloned();
    let blobs = server.api.blobs.clone();
    // the first piece before the answer begins, so that a missing or damaged blob is an error and not a cut
    let (length, part, first) = blocking(move || {
        let length = blobs.length(id).map_err(store_error)?;
        let length = length.ok_or_else(|| store_error(StoreError::NotHeld { id }))?;
        let range = range.as_ref().and_then(|range| range.to_str().ok());
        let part = ranges::part(range, length)?;
        let count = (part.end - part.start).min(PIECE_BYTES);
        let first = blobs
            .read_range(id, part.start, count)
            .map_err(store_error)?;
        Ok((length, part, first))
    })
    .await?;
    let whole = part == (0..length);
    let (from, count) = (part.start, part.end - part.start);
    let (pieces, received) = mpsc::channel(QUEUE);
    let (blobs, runtime) = (server.api.blobs.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        let _transfer: OwnedSemaphorePermit = transfer;
        let mut offset = part.start + first.len() as u64;
        let mut next = Ok(Bytes::from(first));
        loop {
            let ends = next.is_err();
            let sent = runtime.block_on(pieces.send_timeout(next, PATIENCE));
            if sent.is_err() || ends || offset >= part.end {
                return;
            }
            let count = PIECE_BYTES.min(part.end - offset);
            next = blobs
                .read_range(id, offset, count)
                .map(Bytes::from)
                .map_err(io::Error::other);
            offset += count;
        }
    });
    let headers = [
        (header::CONTENT_TYPE, content_type.to_owned()),
        (header::CONTENT_LENGTH, count.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        // the name of a blob is the hash of its bytes
        (header::ETAG, format!("\"{id}\"")),
        (
            header::CACHE_CONTROL,
            "public, max-age=31536000, immutable".to_owned(),
        ),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
        // a host's or competitor's bytes are never a page of this node
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let body = Body::new(Outgoing { received });
    if whole {
        return Ok((headers, body).into_response());
    }
    let shown = format!("bytes {from}-{}/{length}", from + count - 1);
    let shown = [(header::CONTENT_RANGE, shown)];
    Ok((StatusCode::PARTIAL_CONTENT, headers, shown, body).into_response())
}

/// A body whose pieces come from a blocking thread.
pub(super) struct Outgoing {
    pub(super) received: mpsc::Receiver<io::Result<Bytes>>,
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
