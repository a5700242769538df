//! `GET /v1/openapi.json`, and `GET /v1/docs` which shows it: one page, nothing from elsewhere.

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::get;
use serde_json::Value;

use super::Server;

const PAGE: &str = include_str!("docs.html");
/// Nothing but the page's own lines, and what it reads from this node.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The two paths.
pub(super) fn router(document: &Value) -> Router<Server> {
    let document = Bytes::from(document.to_string());
    let page = || async {
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ];
        (headers, PAGE)
    };
    let json = move || async move { ([(header::CONTENT_TYPE, "application/json")], document) };
    Router::new()
        .route("/v1/openapi.json", get(json))
        .route("/v1/docs", get(page))
}
