//! The files of a competition by name: training data, sealed test set, proofs.

use agon_protocol::competition::{BlobRef, Competition};
use agon_protocol::digest::{BlobId, CompetitionId};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::competitions::find;
use super::error::ApiError;
use super::listing::{Asked, Listed, cursor, limit};
use super::schema::objects;
use super::types::FileView;
use super::{Id, Server, blobs};

/// Training data are published as a table that every tool reads.
const TRAINING: (&str, &str) = ("training.csv", "text/csv; charset=utf-8");
const SEALED: (&str, &str) = ("sealed-test.bin", BINARY);
const BINARY: &str = "application/octet-stream";

objects! {
    /// The query of `GET /v1/competitions/{id}/files`.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct FilesQuery {
        /// Whether the proofs of its submissions are listed too.
        pub(super) proofs: Option<bool>,
        /// The cursor to go on behind.
        pub(super) after: Option<String>,
        /// How many, 100 when it is not said, at most 1,000.
        pub(super) limit: Option<u64>,
    }
}

pub(super) async fn list(
    State(server): State<Server>,
    Id(id): Id<CompetitionId>,
    Asked(query): Asked<FilesQuery>,
    uri: Uri,
) -> Result<Listed<Vec<FileView>>, ApiError> {
    let limit = limit(query.limit, 100, 1_000)?;
    let from = cursor(query.after.as_deref(), |text| text.parse::<usize>().ok())?.unwrap_or(0);
    let competition = find(&server.api.ledger.state(), id)?;
    let all = files(&competition, query.proofs == Some(true));
    let total = all.len();
    let rest = all.into_iter().enumerate().skip(from);
    let items = rest.map(|(at, mut file)| {
        file.held = server.api.blobs.holds(file.blob);
        ((at + 1).to_string(), file)
    });
    let mut listed = Listed::cut(uri, items, limit);
    listed.total = Some(total);
    Ok(listed)
}

/// All files, in the order of the record.
fn files(competition: &Competition, with_proofs: bool) -> Vec<FileView> {
    let spec = &competition.spec;
    let mut files = Vec::new();
    if let Some(training) = spec.training_data {
        files.push(file(
            competition,
            TRAINING.0.into(),
            "training",
            TRAINING.1,
            training,
        ));
    }
    let sealed = spec.sealed_data;
    files.push(file(
        competition,
        SEALED.0.into(),
        "sealed_test",
        SEALED.1,
        sealed,
    ));
    if !with_proofs {
        return files;
    }
    for registration in &competition.registrations {
        for submission in &registration.submissions {
            let name = format!("proof-{}.bin", submission.transaction);
            files.push(FileView {
                registration: Some(registration.id),
                transaction: Some(submission.transaction),
                ..file(competition, name, "proof", BINARY, submission.proof)
            });
        }
    }
    files
}

fn file(
    competition: &Competition,
    name: String,
    role: &str,
    content_type: &str,
    blob: BlobRef,
) -> FileView {
    FileView {
        url: format!("/v1/competitions/{}/files/{name}", competition.id),
        name,
        role: role.into(),
        content_type: content_type.into(),
        blob: blob.id,
        length: blob.length,
        held: false,
        registration: None,
        transaction: None,
    }
}

/// A competition and the name of a file.
pub(super) struct Named(CompetitionId, String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let wrong = |error: String| {
            ApiError::bad_request(error, "GET /v1/competitions/{id}/files lists its files")
        };
        match Path::<(String, String)>::from_request_parts(parts, state).await {
            Ok(Path((id, name))) => {
                let id = id.parse().map_err(|error| wrong(format!("{error}")))?;
                Ok(Self(id, name))
            }
            Err(error) => Err(wrong(error.body_text())),
        }
    }
}

pub(super) async fn download(
    State(server): State<Server>,
    Named(id, name): Named,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let competition = find(&server.api.ledger.state(), id)?;
    let found: Option<(BlobId, String)> = files(&competition, true)
        .into_iter()
        .find(|file| file.name == name)
        .map(|file| (file.blob, file.content_type));
    let Some((blob, content_type)) = found else {
        let shown: String = name.chars().take(100).collect();
        return Err(ApiError::not_found(
            format!("competition {id} has no file {shown:?}"),
            format!("GET /v1/competitions/{id}/files?proofs=true lists its files"),
        ));
    };
    blobs::send(server, blob, &name, &content_type, &headers).await
}
