//! Whether pages of other origins may read the API: no, unless the operator's settings name them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The origins of `api.cors_origins`.
#[derive(Debug, Clone)]
pub(super) struct Origins(Arc<[String]>);

impl Origins {
    pub(super) fn new(origins: &[String]) -> Self {
        Self(origins.into())
    }

    /// What an answer to this origin allows, if it allows anything.
    fn allows(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let text = origin.to_str().ok()?;
        if self.0.iter().any(|allowed| allowed == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        let named = self.0.iter().any(|allowed| allowed == text);
        named.then(|| origin.clone())
    }
}

/// Adds what the origin may do to the answer, and answers the question that a browser asks before it sends something.
pub(super) async fn allow(
    State(origins): State<Origins>,
    request: Request,
    next: Next,
) -> Response {
    let allowed = origins.allows(request.headers());
    let asks_first = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let Some(allowed) = allowed else {
        return next.run(request).await;
    };
    let mut response = match asks_first {
        true => StatusCode::NO_CONTENT.into_response(),
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    headers.append(VARY, HeaderValue::from_static("origin"));
    let fixed = match asks_first {
        true => [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT"),
            (
                ACCESS_CONTROL_ALLOW_HEADERS,
                "content-type, last-event-id, range",
            ),
            (ACCESS_CONTROL_MAX_AGE, "600"),
        ]
        .as_slice(),
        false => [(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            "x-total-count, x-next-cursor, link, retry-after, content-range, etag",
        )]
        .as_slice(),
    };
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
