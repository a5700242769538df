//! Request bodies, piece by piece and bounded in length and time.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};

use super::error::ApiError;

/// A client that takes or gives nothing for so long is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// What is read of a body that is refused: a client that is still sending would otherwise lose the answer.
const MAX_DISCARDED_BYTES: usize = 16 << 20;

/// The next piece of a body; `None` at its end.
pub(super) async fn next_piece(body: &mut Body) -> Option<io::Result<Bytes>> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        match tokio::time::timeout(PATIENCE, frame).await {
            Ok(None) => return None,
            // trailers carry no data
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => return Some(Ok(data)),
                Err(_) => continue,
            },
            Ok(Some(Err(error))) => return Some(Err(io::Error::other(error))),
            Err(_) => return Some(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Reads on, within bounds, so that the client can finish sending and read why it is refused.
pub(super) async fn discard(body: &mut Body) {
    let mut discarded = 0;
    while discarded < MAX_DISCARDED_BYTES {
        match next_piece(body).await {
            Some(Ok(piece)) => discarded += piece.len(),
            Some(Err(_)) | None => return,
        }
    }
}

/// The whole body, at most `limit` bytes.
pub(super) async fn read_all(mut body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(piece) = next_piece(&mut body).await {
        let piece = piece.map_err(|_| broken())?;
        if bytes.len() + piece.len() > limit {
            discard(&mut body).await;
            return Err(ApiError::too_large(limit as u64));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The client's connection failed it.
pub(super) fn broken() -> ApiError {
    ApiError::bad_request(
        "the request body broke off or stalled",
        "send it again, on a connection that stays open",
    )
}
