//! All routes.

use agon_protocol::digest::{BlobId, CompetitionId, RegistrationId, TransactionId};
use agon_protocol::genesis::Genesis;
use agon_protocol::identity::AccountId;
use agon_protocol::units::Height;
use axum::routing::{get, post, put};

use super::openapi::{Operation, Routes};
use super::types::{
    AccountAnswer, Admitted, BlockAnswer, BlockLine, CertificateAnswer, CompetitionAnswer,
    CompetitionLine, EvidenceView, FileView, HistoryEntry, LeaderboardAnswer, NetworkSummary,
    Peers, Readiness, RegistrationView, Status, StoredBlob, SubmissionView, TransactionAnswer,
    ValidatorsView,
};
use super::{
    accounts, blobs, chain, competitions, files, ledger, live, network, operations, peers,
    submissions, transactions,
};

const BYTES: &str = "application/octet-stream";

/// The table.
pub(super) fn routes() -> Routes {
    let routes = of_competitions(Routes::default());
    of_operators(of_network(of_chain(routes)))
}

fn of_competitions(routes: Routes) -> Routes {
    let of = |path, summary| Operation::get(path, "competitions", summary);
    let one = |path, summary| of(path, summary).at::<CompetitionId>("id");
    routes
        .add(
            of("/v1/competitions", "Competitions, filtered")
                .asks::<competitions::CompetitionsQuery>()
                .lists::<Vec<CompetitionLine>>(),
            get(competitions::list),
        )
        .add(
            one(
                "/v1/competitions/{id}",
                "One competition: phase, timeline, terms, how it ended",
            )
            .gives::<CompetitionAnswer>(),
            get(competitions::details),
        )
        .add(
            one(
                "/v1/competitions/{id}/leaderboard",
                "Its ranking, with the reason of each rank",
            )
            .asks::<competitions::LeaderboardQuery>()
            .lists::<LeaderboardAnswer>(),
            get(competitions::leaderboard),
        )
        .add(
            one(
                "/v1/competitions/{id}/registrations",
                "Its registrations, in ledger order",
            )
            .asks::<competitions::RegistrationsQuery>()
            .lists::<Vec<RegistrationView>>(),
            get(competitions::registrations),
        )
        .add(
            one(
                "/v1/competitions/{id}/submissions",
                "Its submissions: verdicts, reasons, who verified and who certified",
            )
            .asks::<submissions::SubmissionsQuery>()
            .lists::<Vec<SubmissionView>>(),
            get(submissions::list),
        )
        .add(
            one(
                "/v1/competitions/{id}/files",
                "Its files: training data, sealed test set, proofs",
            )
            .asks::<files::FilesQuery>()
            .lists::<Vec<FileView>>(),
            get(files::list),
        )
        .add(
            one(
                "/v1/competitions/{id}/files/{name}",
                "One of its files; takes ranges",
            )
            .at::<String>("name")
            .media(BYTES)
            .also(206, "The part that was asked for."),
            get(files::download),
        )
        .add(
            of("/v1/registrations/{id}", "One registration")
                .at::<RegistrationId>("id")
                .gives::<RegistrationView>(),
            get(competitions::registration),
        )
        .add(
            of(
                "/v1/submissions/{transaction}",
                "One submission, by its transaction",
            )
            .at::<TransactionId>("transaction")
            .gives::<SubmissionView>(),
            get(submissions::one),
        )
}

fn of_chain(routes: Routes) -> Routes {
    let of = |path, summary| Operation::get(path, "chain", summary);
    let block = |path, summary| of(path, summary).at::<Height>("height");
    routes
        .add(
            of("/v1/status", "Where the node stands").gives::<Status>(),
            get(ledger::status),
        )
        .add(
            of("/v1/wait", "The same, once a block above a height is final, or after 20 seconds")
                .asks::<ledger::WaitQuery>()
                .gives::<Status>(),
            get(ledger::wait),
        )
        .add(
            of("/v1/genesis", "The genesis, from which everything else can be checked")
                .gives::<Genesis>(),
            get(ledger::genesis),
        )
        .add(
            of("/v1/blocks", "Blocks in short, newest first")
                .asks::<chain::BlocksQuery>()
                .lists::<Vec<BlockLine>>(),
            get(chain::blocks),
        )
        .add(
            block("/v1/blocks/{height}", "One block with what it did").gives::<BlockAnswer>(),
            get(chain::block),
        )
        .add(
            block("/v1/blocks/{height}/certificate", "Who certified it")
                .gives::<CertificateAnswer>(),
            get(chain::certificate),
        )
        .add(
            block(
                "/v1/blocks/{height}/certified",
                "The block and its certificate in their canonical encoding, for whoever checks them",
            )
            .media(BYTES),
            get(ledger::certified),
        )
        .add(
            of("/v1/accounts/{id}", "An account: balance, nonce, what it hosts and competes in")
                .at::<AccountId>("id")
                .gives::<AccountAnswer>(),
            get(accounts::account),
        )
        .add(
            of("/v1/accounts/{id}/history", "What an account did and received, newest first")
                .at::<AccountId>("id")
                .asks::<accounts::HistoryQuery>()
                .lists::<Vec<HistoryEntry>>(),
            get(accounts::history),
        )
        .add(
            Operation::sends("post", "/v1/transactions", "chain", "Sends a signed transaction")
                .gives::<Admitted>(),
            post(transactions::submit),
        )
        .add(
            of("/v1/transactions/{id}", "What became of a transaction")
                .at::<TransactionId>("id")
                .gives::<TransactionAnswer>(),
            get(transactions::status),
        )
        .add(
            Operation::sends("put", "/v1/blobs", "chain", "Stores a data set or a proof")
                .gives::<StoredBlob>(),
            put(blobs::store),
        )
        .add(
            of("/v1/blobs/{id}", "A data set or a proof; takes ranges")
                .at::<BlobId>("id")
                .media(BYTES)
                .also(206, "The part that was asked for."),
            get(blobs::read),
        )
        .add(
            of("/v1/events", "What happens, as it happens")
                .asks::<live::EventsQuery>()
                .media("text/event-stream"),
            get(live::events),
        )
}

fn of_network(routes: Routes) -> Routes {
    let of = |path, summary| Operation::get(path, "network", summary);
    routes
        .add(
            of(
                "/v1/network",
                "The network in numbers, with its last blocks",
            )
            .gives::<NetworkSummary>(),
            get(network::summary),
        )
        .add(
            of(
                "/v1/validators",
                "Who validates, and what is under way to change that",
            )
            .gives::<ValidatorsView>(),
            get(ledger::validators),
        )
        .add(
            of("/v1/peers", "Connected peers, and who is kept away").gives::<Peers>(),
            get(peers::peers),
        )
        .add(
            of("/v1/evidence", "Proofs of double-signing")
                .asks::<ledger::EvidenceQuery>()
                .lists::<Vec<EvidenceView>>(),
            get(ledger::evidence),
        )
}

fn of_operators(routes: Routes) -> Routes {
    let of = |path, summary| Operation::get(path, "operation", summary);
    routes
        .add(
            of("/health", "Whether the process lives").gives::<Readiness>(),
            get(operations::health),
        )
        .add(
            of(
                "/ready",
                "Whether the node is up to date and works; 503 says why not",
            )
            .gives::<Readiness>()
            .also(503, "It is not, for these reasons."),
            get(operations::ready),
        )
        .add(
            of("/metrics", "Measures for Prometheus").media(crate::metrics::CONTENT_TYPE),
            get(operations::metrics),
        )
}
