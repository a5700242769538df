//! The page that people look at: the node serves it at `/` from its own binary, so that it works without any other host.
//!
//! It is HTML, CSS and JavaScript modules written by hand, embedded at compile time. The page is a client of the HTTP API like
//! any other: this module knows no ledger. What hosts and competitors write is hostile here, so the answers forbid whatever the page
//! does not need: no inline script or style, no other host, no frame around it, and no text that turns into markup (trusted types).

mod files;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use files::{FILES, File, INDEX};

/// What a browser lets the page do. Nothing makes markup of text: no policy for trusted types exists that could.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of every answer of this module.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // a browser asks each time whether its copy is still the node's: after an update no old module meets a new one
    (header::CACHE_CONTROL, "no-cache"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The paths that show the page; which view, its script reads from the address.
const VIEWS: [&str; 6] = [
    "/",
    "/competitions/{id}",
    "/submissions/{id}",
    "/network",
    "/accounts",
    "/accounts/{id}",
];

/// The routes of the page, to be merged into those of the API.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let router = Router::new().route("/assets/{file}", get(asset));
    VIEWS
        .iter()
        .fold(router, |router, path| router.route(path, get(index)))
}

async fn index(headers: HeaderMap) -> Response {
    answer(&INDEX, &headers)
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => answer(file, &headers),
        None => missing(),
    }
}

/// The file, or that the client's copy of it is still right.
fn answer(file: &File, request: &HeaderMap) -> Response {
    let tag = file.tag();
    let known = request.get_all(header::IF_NONE_MATCH).iter();
    let known = known.filter_map(|value| value.to_str().ok());
    let fresh = known
        .flat_map(|value| value.split(','))
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == tag || one == "*");
    let mut response = match fresh {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Body::from(file.bytes).into_response(),
    };
    let headers = response.headers_mut();
    if !fresh {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    protect(response)
}

fn missing() -> Response {
    let text = "there is no such file: the page of this node begins at /\n";
    protect((StatusCode::NOT_FOUND, text).into_response())
}

fn protect(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
