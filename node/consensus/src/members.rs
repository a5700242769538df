//! The validators of one height, as the driver asks for them.

use std::sync::Arc;

use crate::application::Application;
use crate::certificate::Validator;
use crate::context::{EngineValidator, ValidatorSet};
use crate::signing::Keys;

/// The validators of a height: as the ledger names them, and as the engine wants them.
#[derive(Debug, Clone)]
pub(crate) struct Members {
    pub(crate) validators: Vec<Validator>,
    pub(crate) set: ValidatorSet,
}

impl Members {
    /// Those of the height after the ledger's tip.
    pub(crate) fn of(application: &dyn Application) -> Self {
        let validators = application.validators();
        let members = validators.iter().map(|validator| EngineValidator {
            address: validator.account.into(),
            power: validator.power,
        });
        let set = ValidatorSet(Arc::new(members.collect()));
        Self { validators, set }
    }

    pub(crate) fn has(&self, keys: &Keys) -> bool {
        self.validators
            .iter()
            .any(|validator| keys.address() == validator.account.into())
    }

    /// Whether nobody else votes.
    pub(crate) fn is_alone(&self, keys: &Keys) -> bool {
        self.validators.len() == 1 && self.has(keys)
    }

    pub(crate) fn power(&self) -> u128 {
        self.validators
            .iter()
            .map(|validator| u128::from(validator.power))
            .sum()
    }
}
