//! Connections of the API: bounded in number, in all and of one address, and each bounded in its patience.
//!
//! A client that sends its request line by line, or takes no answer, loses its connection; above the bounds, nobody is accepted until
//! others leave (who waits is in the system's own short queue). The pace of bodies is `body.rs`'s business.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::ApiConfig;

/// How long the head of a request may take, and how long a connection may rest between two requests.
const HEAD: Duration = Duration::from_secs(30);
/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// A client that takes nothing of its answer for so long is given up.
const TAKING: Duration = Duration::from_secs(30);
/// Pause after an `accept` that failed, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections by address.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    /// A place for one more connection of an address. The loopback address has no limit of its own: whoever uses it is on this machine.
    fn enter(self: &Arc<Self>, ip: IpAddr, limit: usize) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(ip).or_default();
        if *count >= limit && !ip.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place {
            addresses: self.clone(),
            ip,
        })
    }
}

/// Gives the place back when it is dropped.
#[derive(Debug)]
struct Place {
    addresses: Arc<Addresses>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self
            .addresses
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.ip);
            }
        }
    }
}

/// Serves connections until the token is cancelled, and then for `grace` those whose request is under way.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &ApiConfig,
    shutdown: CancellationToken,
    grace: Duration,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let addresses = Arc::new(Addresses::default());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some((stream, address, permit)) = accepted else {
            continue;
        };
        let ip = address.ip().to_canonical();
        let Some(place) = addresses.enter(ip, limits.connections_per_address) else {
            tracing::debug!(%address, "too many connections of one address");
            continue;
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        connections.spawn(async move {
            converse(stream, router, shutdown).await;
            drop((place, permit));
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // what is not answered by then is cut off with the set
    let _ = tokio::time::timeout(grace, ended).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // the semaphore is never closed
    let permit = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address, permit)),
        Err(error) => {
            tracing::debug!(%error, "a connection was not accepted");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// One connection, to its end.
async fn converse(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // answers are small: they are not worth waiting for more
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, TAKING)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the API broke off");
    }
}

/// A stream whose far end must take something within a time, when there is something to take.
struct Patient<T> {
    stream: T,
    patience: Duration,
    /// Set while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    fn new(stream: T, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            deadline: None,
        }
    }

    /// The outcome of a write; an error when it has waited for too long.
    fn hurry<R>(
        &mut self,
        outcome: Poll<io::Result<R>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if outcome.is_ready() {
            self.deadline = None;
            return outcome;
        }
        let patience = self.patience;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.hurry(outcome, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.hurry(outcome, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (near, _far) = tokio::io::duplex(8);
        let mut patient = Patient::new(near, Duration::from_millis(20));
        let error = patient.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn an_address_has_a_bounded_number_of_connections_and_loopback_has_not() {
        let addresses = Arc::new(Addresses::default());
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        let places: Vec<_> = (0..2).filter_map(|_| addresses.enter(ip, 2)).collect();
        assert_eq!(places.len(), 2);
        assert!(addresses.enter(ip, 2).is_none());
        drop(places);
        assert!(addresses.enter(ip, 2).is_some());
        assert!(
            addresses.0.lock().unwrap().is_empty(),
            "nothing is remembered"
        );
        let own: IpAddr = "127.0.0.1".parse().unwrap();
        let places: Vec<_> = (0..9).filter_map(|_| addresses.enter(own, 2)).collect();
        assert_eq!(places.len(), 9);
    }
}
