//! Answers that say no: a status, what went wrong, and what to do next.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::types::ErrorBody;
use crate::ledger::{LedgerError, StoreError};
use crate::mempool::Refusal;

/// A block comes within seconds and makes room.
const RETRY_AFTER_S: u64 = 2;

/// The kind of an error in a word, for programs.
fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::CONFLICT => "nonce_taken",
        StatusCode::GONE => "gone",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::RANGE_NOT_SATISFIABLE => "bad_range",
        StatusCode::UNPROCESSABLE_ENTITY => "refused_by_rule",
        StatusCode::TOO_MANY_REQUESTS => "busy",
        StatusCode::SERVICE_UNAVAILABLE => "full",
        StatusCode::INSUFFICIENT_STORAGE => "storage_full",
        StatusCode::INTERNAL_SERVER_ERROR => "internal",
        _ => "bad_request",
    }
}

/// An answer with a 4xx or 5xx status.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// After how many seconds it makes sense to come back.
    retry_after: Option<u64>,
    body: ErrorBody,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, error: impl ToString, hint: impl ToString) -> Self {
        Self {
            status,
            retry_after: None,
            body: ErrorBody {
                code: code(status).into(),
                error: error.to_string(),
                hint: hint.to_string(),
                rule: None,
            },
        }
    }

    pub(super) fn bad_request(error: impl ToString, hint: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, hint)
    }

    pub(super) fn not_found(error: impl ToString, hint: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, hint)
    }

    pub(super) fn too_large(limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request body is longer than {limit} bytes"),
            "send less; the operator of the node sets the limit of blobs in config.toml",
        )
    }

    /// Trouble of the node itself; the cause is in its log, not in the answer.
    pub(super) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed for a reason of this node's own");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the node could not answer",
            "try again; the operator of the node finds the cause in its log",
        )
    }

    pub(super) fn busy(what: &str) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("too many {what} at once"),
            "try again in a moment",
        )
        .retry_after(RETRY_AFTER_S)
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(error)
    }
}

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        Self::internal(error)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::Store(error) => return Self::internal(error),
            Refusal::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Malformed(_) | Refusal::Network { .. } | Refusal::Signature => {
                StatusCode::BAD_REQUEST
            }
            Refusal::Rule(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::NonceTaken { .. } => StatusCode::CONFLICT,
            Refusal::TooManyOfSender { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Full | Refusal::ShareFull { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        let error = match &refusal {
            Refusal::Rule(rule) => format!("rule {}: {rule}", rule.rule()),
            other => other.to_string(),
        };
        let mut answer = Self::new(status, error, refusal.hint());
        answer.body.rule = refusal.rule().map(Into::into);
        match refusal.is_back_pressure() {
            true => answer.retry_after(RETRY_AFTER_S),
            false => answer,
        }
    }
}
