//! Lists: what a query asks for, how much of it, and how to go on.

use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::http::header::{HeaderName, LINK};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// How many items there are in all.
pub(super) const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
/// What to ask for next; absent at the end.
pub(super) const NEXT: HeaderName = HeaderName::from_static("x-next-cursor");

/// The query of a request, of which every part must be known.
pub(super) struct Asked<Q>(pub(super) Q);

impl<S: Send + Sync, Q: DeserializeOwned> FromRequestParts<S> for Asked<Q> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match Query::<Q>::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(error) => Err(ApiError::bad_request(
                error.body_text(),
                "GET /v1/openapi.json says what this path can be asked",
            )),
        }
    }
}

/// How many items to give.
pub(super) fn limit(asked: Option<u64>, usual: usize, most: usize) -> Result<usize, ApiError> {
    let Some(asked) = asked else {
        return Ok(usual);
    };
    match usize::try_from(asked) {
        Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(ApiError::bad_request(
            format!("limit is {asked}, it must lie between 1 and {most}"),
            "ask for less, and go on with the cursor in the header x-next-cursor",
        )),
    }
}

/// A cursor that the client got from this node, or made up.
pub(super) fn cursor<T>(
    text: Option<&str>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    read(text).map(Some).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        ApiError::bad_request(
            format!("{shown:?} is no cursor of this list"),
            "take it from the header x-next-cursor of the answer before, or begin without one",
        )
    })
}

/// A place in the chain as a cursor: `HEIGHT-INDEX`.
pub(super) fn place(text: &str) -> Option<(u64, u32)> {
    let (height, index) = text.split_once('-')?;
    Some((height.parse().ok()?, index.parse().ok()?))
}

/// A part of a list.
#[derive(Debug)]
pub(super) struct Listed<T> {
    /// The items, or an object that holds them.
    pub(super) body: T,
    /// How many there are in all, where that is known.
    pub(super) total: Option<usize>,
    /// How to go on: the parameter's name, and its value.
    pub(super) next: Option<(&'static str, String)>,
    /// What was asked for.
    pub(super) uri: Uri,
}

impl<T> Listed<Vec<T>> {
    /// At most `limit` of the items, each with the cursor that leads behind it.
    pub(super) fn cut(
        uri: Uri,
        items: impl IntoIterator<Item = (String, T)>,
        limit: usize,
    ) -> Self {
        let mut items = items.into_iter();
        let (mut body, mut last) = (Vec::new(), None);
        for (cursor, item) in items.by_ref().take(limit) {
            body.push(item);
            last = Some(cursor);
        }
        let more = items.next().is_some();
        Self {
            body,
            total: None,
            next: last.filter(|_| more).map(|cursor| ("after", cursor)),
            uri,
        }
    }
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(total) = self.total {
            headers.insert(TOTAL, HeaderValue::from(total));
        }
        if let Some((name, cursor)) = &self.next {
            let link = format!(
                "<{}>; rel=\"next\"",
                address_of_next(&self.uri, name, cursor)
            );
            // a cursor and a request's address are plain ASCII
            if let (Ok(cursor), Ok(link)) = (HeaderValue::from_str(cursor), link.parse()) {
                headers.insert(NEXT, cursor);
                headers.insert(LINK, link);
            }
        }
        (headers, Json(self.body)).into_response()
    }
}

fn address_of_next(uri: &Uri, name: &str, cursor: &str) -> String {
    let other = |pair: &&str| pair.split('=').next() != Some(name);
    let query = uri.query().unwrap_or_default().split('&');
    let kept: Vec<&str> = query
        .filter(|pair| !pair.is_empty())
        .filter(other)
        .collect();
    let between = if kept.is_empty() { "" } else { "&" };
    format!("{}?{}{between}{name}={cursor}", uri.path(), kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_how_to_go_on_until_it_ends() {
        let uri: Uri = "/v1/list?phase=open&after=1-0&limit=2".parse().unwrap();
        let items = (2..6).map(|number| (format!("{number}-0"), number));
        let listed = Listed::cut(uri.clone(), items.clone(), 2);
        assert_eq!(listed.body, [2, 3]);
        let response = listed.into_response();
        assert_eq!(response.headers()[NEXT], "3-0");
        assert_eq!(
            response.headers()[LINK],
            "</v1/list?phase=open&limit=2&after=3-0>; rel=\"next\""
        );
        let whole = Listed::cut(uri, items, 4);
        assert_eq!((whole.body.len(), whole.next), (4, None));
    }

    #[test]
    fn limits_and_cursors_that_do_not_fit_are_refused() {
        assert_eq!(limit(None, 5, 9).unwrap(), 5);
        assert_eq!(limit(Some(9), 5, 9).unwrap(), 9);
        assert!(limit(Some(0), 5, 9).is_err() && limit(Some(10), 5, 9).is_err());
        assert_eq!(cursor(Some("7-3"), place).unwrap(), Some((7, 3)));
        for wrong in ["", "7", "7-", "-1-2", "7-99999999999"] {
            assert!(cursor(Some(wrong), place).is_err(), "{wrong}");
        }
    }
}
