//! A blocking client of a node's HTTP API, for the command line, the demo and tests.
//!
//! It speaks the objects of [`crate::api::types`], limits what it reads, gives every request a timeout, and never uses a
//! proxy: a node is on this machine or reached by an address that its user typed.

use std::io::Read;
use std::time::Duration;

use agon_protocol::codec::Encode;
use agon_protocol::digest::{BlobId, CompetitionId, RegistrationId, TransactionId};
use agon_protocol::genesis::Genesis;
use agon_protocol::identity::AccountId;
use agon_protocol::transactions::SignedTransaction;
use serde::de::DeserializeOwned;
use thiserror::Error;
use ureq::http::Response;
use ureq::{Agent, SendBody};

use crate::api::types::{
    AccountView, Admitted, BlockView, CertificateAnswer, CompetitionSummary, CompetitionView,
    ErrorBody, EvidenceView, Leaderboard, NetworkSummary, Readiness, RegistrationView, Status,
    StoredBlob, SubmissionView, TransactionStatus, ValidatorsView,
};

/// Connecting to a node takes one round trip; longer means that nobody is there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Above the 20 seconds that `/v1/wait` may hold a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// A data set of a gigabyte over a slow link.
const BLOB_TIMEOUT: Duration = Duration::from_secs(1800);
/// Largest JSON answer that is read.
const MAX_JSON: u64 = 64 << 20;
/// Parts of a list that are read: more than all registrations of a full competition.
const MAX_PAGES: usize = 10_000;
/// Above a block of the largest size with a certificate of the largest validator set.
const MAX_CERTIFIED: u64 = 8 << 20;
/// Bytes between two reports of a transfer.
const PIECE_BYTES: u64 = 256 << 10;

/// Why a request failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody answers at the address.
    #[error("no node answers at {url}: {cause}")]
    Unreachable {
        /// The node's address.
        url: String,
        /// What the system says.
        cause: String,
    },
    /// The node answered with an error.
    #[error("{error}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the node says.
        error: String,
        /// What to do next, when the node says so.
        hint: Option<String>,
    },
    /// The answer is not one of a node's.
    #[error("{url} does not answer like an agon node: {cause}")]
    Foreign {
        /// The node's address.
        url: String,
        /// What is wrong with the answer.
        cause: String,
    },
    /// A blob whose bytes are not the ones asked for.
    #[error("the node's bytes for blob {id} are not that blob")]
    WrongBlob {
        /// The blob.
        id: BlobId,
    },
}

impl ClientError {
    /// Whether the node only has no room at the moment: the same request is right later.
    pub fn is_back_pressure(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 429 | 503,
                ..
            }
        )
    }
}

/// A node's API at one address.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    agent: Agent,
}

impl Client {
    /// A client for the node at `url`, e.g. `http://127.0.0.1:7777`. Connects when used.
    pub fn new(url: &str) -> Self {
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .build();
        Self {
            url: url.trim_end_matches('/').to_owned(),
            agent: Agent::new_with_config(config),
        }
    }

    /// The address of the node.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the node stands.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.get_json("/v1/status")
    }

    /// Returns once a block above `height` is final, or after about 20 seconds.
    pub fn wait(&self, height: u64) -> Result<Status, ClientError> {
        self.get_json(&format!("/v1/wait?height={height}"))
    }

    /// Whether the node is ready, and if not, why.
    pub fn ready(&self) -> Result<Readiness, ClientError> {
        let mut answer = self.agent.get(self.address("/ready")).call();
        // a no is an answer too
        if let Ok(response) = &mut answer
            && response.status().as_u16() == 503
        {
            *response.status_mut() = ureq::http::StatusCode::OK;
        }
        self.json(answer)
    }

    /// Balance and next nonce of an account.
    pub fn account(&self, account: &AccountId) -> Result<AccountView, ClientError> {
        self.get_json(&format!("/v1/accounts/{account}"))
    }

    /// All competitions.
    pub fn competitions(&self) -> Result<Vec<CompetitionSummary>, ClientError> {
        self.get_list("/v1/competitions?limit=1000")
    }

    /// The registrations of a competition, in ledger order.
    pub fn registrations(&self, id: &CompetitionId) -> Result<Vec<RegistrationView>, ClientError> {
        self.get_list(&format!("/v1/competitions/{id}/registrations?limit=1000"))
    }

    /// The submissions of a competition: those in blocks in the order of the chain, then those that only this node has.
    pub fn submissions(&self, id: &CompetitionId) -> Result<Vec<SubmissionView>, ClientError> {
        self.get_list(&format!("/v1/competitions/{id}/submissions?limit=200"))
    }

    /// One submission, by its transaction.
    pub fn submission(&self, id: &TransactionId) -> Result<SubmissionView, ClientError> {
        self.get_json(&format!("/v1/submissions/{id}"))
    }

    /// The network in numbers, as the node sees it.
    pub fn network(&self) -> Result<NetworkSummary, ClientError> {
        self.get_json("/v1/network")
    }

    /// Who certified a block.
    pub fn certificate(&self, height: u64) -> Result<CertificateAnswer, ClientError> {
        self.get_json(&format!("/v1/blocks/{height}/certificate"))
    }

    /// One competition.
    pub fn competition(&self, id: &CompetitionId) -> Result<CompetitionView, ClientError> {
        self.get_json(&format!("/v1/competitions/{id}"))
    }

    /// The ranking of a competition.
    pub fn leaderboard(&self, id: &CompetitionId) -> Result<Leaderboard, ClientError> {
        self.get_json(&format!("/v1/competitions/{id}/leaderboard"))
    }

    /// One registration.
    pub fn registration(&self, id: &RegistrationId) -> Result<RegistrationView, ClientError> {
        self.get_json(&format!("/v1/registrations/{id}"))
    }

    /// What became of a transaction.
    pub fn transaction(&self, id: &TransactionId) -> Result<TransactionStatus, ClientError> {
        self.get_json(&format!("/v1/transactions/{id}"))
    }

    /// One block.
    pub fn block(&self, height: u64) -> Result<BlockView, ClientError> {
        self.get_json(&format!("/v1/blocks/{height}"))
    }

    /// The genesis that the node says its network has.
    pub fn genesis(&self) -> Result<Genesis, ClientError> {
        self.get_json("/v1/genesis")
    }

    /// One block with its certificate, as encoded bytes. Nothing of it is checked here.
    pub fn certified(&self, height: u64) -> Result<Vec<u8>, ClientError> {
        let path = format!("/v1/blocks/{height}/certified");
        self.body(self.agent.get(self.address(&path)).call(), MAX_CERTIFIED)
    }

    /// Who validates, and what is under way to change that.
    pub fn validators(&self) -> Result<ValidatorsView, ClientError> {
        self.get_json("/v1/validators")
    }

    /// The proofs of double-signing that the node holds.
    pub fn evidence(&self) -> Result<Vec<EvidenceView>, ClientError> {
        self.get_list("/v1/evidence")
    }

    /// Hands a transaction to the node.
    pub fn send(&self, transaction: &SignedTransaction) -> Result<Admitted, ClientError> {
        let answer = self
            .agent
            .post(self.address("/v1/transactions"))
            .content_type("application/octet-stream")
            .send(&transaction.to_bytes()[..]);
        self.json(answer)
    }

    /// Stores a blob with the node.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<StoredBlob, ClientError> {
        self.put_blob_reporting(bytes, &mut |_| {})
    }

    /// Stores a blob with the node; `report` is told how many bytes have gone.
    pub fn put_blob_reporting(
        &self,
        bytes: &[u8],
        report: &mut dyn FnMut(u64),
    ) -> Result<StoredBlob, ClientError> {
        let mut counted = Counted {
            bytes,
            gone: 0,
            report,
        };
        let answer = self
            .agent
            .put(self.address("/v1/blobs"))
            .config()
            .timeout_global(Some(BLOB_TIMEOUT))
            .build()
            .content_type("application/octet-stream")
            .header("content-length", bytes.len())
            .send(SendBody::from_reader(&mut counted));
        let stored: StoredBlob = self.json(answer)?;
        if stored.id != BlobId::of(bytes) {
            return Err(ClientError::WrongBlob { id: stored.id });
        }
        Ok(stored)
    }

    /// Fetches a blob of known length and checks it against its id.
    pub fn blob(&self, id: &BlobId, length: u64) -> Result<Vec<u8>, ClientError> {
        self.blob_reporting(id, length, &mut |_| {})
    }

    /// Fetches a blob of known length and checks it against its id; `report` is told how many bytes have come.
    pub fn blob_reporting(
        &self,
        id: &BlobId,
        length: u64,
        report: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>, ClientError> {
        let answer = self
            .agent
            .get(self.address(&format!("/v1/blobs/{id}")))
            .config()
            .timeout_global(Some(BLOB_TIMEOUT))
            .build()
            .call();
        let bytes = self.body_reporting(answer, length, report)?;
        if BlobId::of(&bytes) != *id {
            return Err(ClientError::WrongBlob { id: *id });
        }
        Ok(bytes)
    }

    /// What the node answers at a path, as it is.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.body(self.agent.get(self.address(path)).call(), MAX_JSON)
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(self.agent.get(self.address(path)).call())
    }

    /// A whole list, part by part.
    fn get_list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ClientError> {
        let between = if path.contains('?') { '&' } else { '?' };
        let (mut all, mut address) = (Vec::new(), path.to_owned());
        for _ in 0..MAX_PAGES {
            let answer = self.agent.get(self.address(&address)).call();
            let next = answer.as_ref().ok().and_then(|response| {
                let next = response.headers().get("x-next-cursor")?;
                Some(format!("{path}{between}after={}", next.to_str().ok()?))
            });
            let part: Vec<T> = self.json(answer)?;
            all.extend(part);
            match next {
                Some(next) => address = next,
                None => return Ok(all),
            }
        }
        Err(ClientError::Foreign {
            url: self.url.clone(),
            cause: format!("the list {path} has more than {MAX_PAGES} parts"),
        })
    }

    fn json<T: DeserializeOwned>(
        &self,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let bytes = self.body(answer, MAX_JSON)?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Foreign {
            url: self.url.clone(),
            cause: error.to_string(),
        })
    }

    /// The body of a successful answer, at most `limit` bytes of it.
    fn body(
        &self,
        answer: Result<Response<ureq::Body>, ureq::Error>,
        limit: u64,
    ) -> Result<Vec<u8>, ClientError> {
        self.body_reporting(answer, limit, &mut |_| {})
    }

    /// The same; `report` is told how many bytes have come.
    fn body_reporting(
        &self,
        answer: Result<Response<ureq::Body>, ureq::Error>,
        limit: u64,
        report: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>, ClientError> {
        let mut response = answer.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let limit = if status.is_success() { limit } else { MAX_JSON };
        let mut reader = response.body_mut().as_reader();
        let mut bytes = Vec::new();
        loop {
            let left = limit.saturating_add(1) - bytes.len() as u64;
            let read = reader
                .by_ref()
                .take(left.min(PIECE_BYTES))
                .read_to_end(&mut bytes)
                .map_err(|error| self.failed(&error.into()))?;
            if read == 0 {
                break;
            }
            report(bytes.len() as u64);
        }
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &bytes));
        }
        if bytes.len() as u64 > limit {
            return Err(ClientError::Foreign {
                url: self.url.clone(),
                cause: format!("the answer is longer than {limit} bytes"),
            });
        }
        Ok(bytes)
    }

    fn failed(&self, error: &ureq::Error) -> ClientError {
        let (url, cause) = (self.url.clone(), error.to_string());
        match error {
            ureq::Error::Http(_) | ureq::Error::Protocol(_) | ureq::Error::BodyExceedsLimit(_) => {
                ClientError::Foreign { url, cause }
            }
            _ => ClientError::Unreachable { url, cause },
        }
    }
}

/// Bytes that go out, and who wants to know how many have gone.
struct Counted<'a> {
    bytes: &'a [u8],
    gone: u64,
    report: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.gone += read as u64;
        (self.report)(self.gone);
        Ok(read)
    }
}

/// An error answer in the node's own words, or its status when it is not a node's.
fn refusal(status: u16, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { error, hint, .. }) => ClientError::Refused {
            status,
            error,
            hint: Some(hint).filter(|hint| !hint.is_empty()),
        },
        Err(_) => ClientError::Refused {
            status,
            error: format!("the node answered with HTTP status {status}"),
            hint: None,
        },
    }
}
