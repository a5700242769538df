//! `agon validator approve`: one validator's word for a measure.

use std::fmt;

use agon_node::api::types::ValidatorsView;
use agon_protocol::governance::Measure;
use agon_protocol::identity::AccountId;
use agon_protocol::transactions::Action;
use agon_protocol::units::Height;
use clap::Args;
use serde::Serialize;

use super::Words;
use crate::cli::sender::Sender;
use crate::cli::{Failure, Outcome, Session};

#[derive(Debug, Args)]
pub(crate) struct ApproveArguments {
    /// The validator whose power is set; one that is none joins
    #[arg(
        long,
        value_name = "ACCOUNT",
        requires = "power",
        conflicts_with = "upgrade",
        required_unless_present = "upgrade"
    )]
    account: Option<AccountId>,
    /// Its power from the next height on; 0 lets it leave
    #[arg(long, value_name = "POWER", requires = "account")]
    power: Option<u64>,
    /// The next version of the rules
    #[arg(long, value_name = "VERSION", requires = "at")]
    upgrade: Option<u16>,
    /// The first height that the version rules
    #[arg(long, value_name = "HEIGHT", requires = "upgrade")]
    at: Option<u64>,
}

impl ApproveArguments {
    fn measure(&self) -> Option<Measure> {
        match (self.account, self.power, self.upgrade, self.at) {
            (Some(account), Some(power), None, None) => Some(Measure::SetPower { account, power }),
            (None, None, Some(version), Some(height)) => Some(Measure::Upgrade {
                version,
                height: Height::new(height),
            }),
            _ => None,
        }
    }
}

/// Where a measure stands after this approval.
#[derive(Debug, Serialize)]
struct Approved {
    #[serde(flatten)]
    measure: Measure,
    /// Height of the block with the approval.
    included_at: u64,
    in_force: bool,
    /// The power that approves it; absent once it is in force or lapsed.
    approving_power: Option<u64>,
    total_power: u64,
}

impl fmt::Display for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (words, height) = (Words(&self.measure), self.included_at);
        match (self.in_force, self.approving_power) {
            (true, _) => write!(f, "decided at height {height}: {words}"),
            (false, Some(power)) => write!(
                f,
                "approved at height {height}, by {power} of {} so far: {words}",
                self.total_power
            ),
            (false, None) => write!(
                f,
                "approved at height {height}, but the set has changed since: {words}; see `agon validator list`"
            ),
        }
    }
}

pub(super) fn run(arguments: &ApproveArguments, session: &Session) -> Result<Outcome, Failure> {
    let measure = arguments.measure().ok_or_else(|| {
        Failure::new(
            "this names no measure",
            "give --account with --power, or --upgrade with --at",
        )
    })?;
    let sender = Sender::new(session)?;
    let set_version = sender.client.validators()?.set_version;
    let action = Action::Approve {
        measure,
        set_version,
    };
    let included_at = sender.send(&sender.sign(sender.nonce()?, action))?;
    let view = sender.client.validators()?;
    let open = view.pending.iter().find(|open| open.measure == measure);
    session.console.result(&Approved {
        measure,
        included_at,
        in_force: is_in_force(&view, &measure),
        approving_power: open.map(|open| open.approving_power),
        total_power: view.total_power,
    });
    Ok(Outcome::Done)
}

fn is_in_force(view: &ValidatorsView, measure: &Measure) -> bool {
    match measure {
        Measure::SetPower { account, power } => {
            let mut members = view.validators.iter();
            let present = members.find(|member| member.account == *account);
            present.map_or(0, |member| member.power) == *power
        }
        Measure::Upgrade { version, height } => {
            let scheduled = view
                .upgrade
                .is_some_and(|upgrade| upgrade.version == *version && upgrade.height == *height);
            scheduled || view.protocol_version == *version
        }
    }
}
