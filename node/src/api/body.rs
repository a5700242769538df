//! Request bodies, piece by piece and bounded in length and time.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use tokio::time::Instant;

use super::error::ApiError;

/// A client that takes or gives nothing for so long is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// What is read of a body that is refused: a client that is still sending would otherwise lose the answer.
const MAX_DISCARDED_BYTES: usize = 16 << 20;

/// A body is sent at this pace at least, once [`PATIENCE`] is over: a client that keeps a place with a byte now and then loses it.
const SLOWEST_BYTES_PER_SECOND: u32 = 4 << 10;

/// A body as it comes in.
pub(super) struct Incoming {
    body: Body,
    patience: Duration,
    /// By when the next piece must be here; later with every byte that came.
    deadline: Instant,
}

impl Incoming {
    pub(super) fn new(body: Body) -> Self {
        Self::with_patience(body, PATIENCE)
    }

    fn with_patience(body: Body, patience: Duration) -> Self {
        Self {
            body,
            patience,
            deadline: Instant::now() + patience,
        }
    }
}

/// The next piece of a body; `None` at its end.
pub(super) async fn next_piece(incoming: &mut Incoming) -> Option<io::Result<Bytes>> {
    loop {
        let body = &mut incoming.body;
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        let until = incoming.deadline.min(Instant::now() + incoming.patience);
        match tokio::time::timeout_at(until, frame).await {
            Ok(None) => return None,
            // trailers carry no data
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    let bytes = data.len() as f64;
                    let earned =
                        Duration::from_secs_f64(bytes / f64::from(SLOWEST_BYTES_PER_SECOND));
                    incoming.deadline += earned;
                    return Some(Ok(data));
                }
                Err(_) => continue,
            },
            Ok(Some(Err(error))) => return Some(Err(io::Error::other(error))),
            Err(_) => return Some(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Reads on, within bounds, so that the client can finish sending and read why it is refused.
pub(super) async fn discard(body: &mut Incoming) {
    let mut discarded = 0;
    while discarded < MAX_DISCARDED_BYTES {
        match next_piece(body).await {
            Some(Ok(piece)) => discarded += piece.len(),
            Some(Err(_)) | None => return,
        }
    }
}

/// The whole body, at most `limit` bytes.
pub(super) async fn read_all(mut body: Incoming, limit: usize) -> Result<Vec<u8>, ApiError> {
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(20);

    /// Gives a byte after each pause, for ever.
    struct Drip(Pin<Box<tokio::time::Sleep>>);

    impl HttpBody for Drip {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            std::task::ready!(self.0.as_mut().poll(context));
            self.0 = Box::pin(tokio::time::sleep(PAUSE));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test]
    async fn a_body_that_drips_is_given_up() {
        let drip = Body::new(Drip(Box::pin(tokio::time::sleep(PAUSE))));
        let incoming = Incoming::with_patience(drip, 10 * PAUSE);
        // without an end to its patience, this would go on for hours
        assert!(read_all(incoming, 1 << 20).await.is_err());
    }
}
