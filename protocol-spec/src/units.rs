//! Heights, times and amounts: plain numbers that must not be mixed up, with arithmetic that cannot wrap.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, DecodeError, Encode, Reader};

/// Declares a newtype over `u64`: serde as a plain number, 8 bytes in the canonical encoding.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Nought.
            pub const ZERO: Self = Self(0);

            /// Wraps a number.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                let Self(value) = self;
                value.encode(out);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                u64::decode(reader).map(Self)
            }
        }
    };
}

number!(
    /// How many blocks a state has seen: the genesis has height 0, the first block height 1.
    Height
);
number!(
    /// Milliseconds since the Unix epoch, as blocks state them. Nothing in this crate reads a clock.
    TimeMs
);
number!(
    /// Money, in the smallest unit.
    Amount
);

impl Height {
    /// The height of the next block, if there is one.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

impl TimeMs {
    /// The time `duration_ms` later, if it can be written down.
    pub const fn checked_add(self, duration_ms: u64) -> Option<Self> {
        match self.0.checked_add(duration_ms) {
            Some(time) => Some(Self(time)),
            None => None,
        }
    }

    /// The time `duration_ms` earlier, at the earliest the epoch.
    pub const fn saturating_sub(self, duration_ms: u64) -> Self {
        Self(self.0.saturating_sub(duration_ms))
    }

    /// The time `duration_ms` later, at the latest the end of time.
    pub const fn saturating_add(self, duration_ms: u64) -> Self {
        Self(self.0.saturating_add(duration_ms))
    }

    /// Milliseconds from `earlier` to this time, 0 when it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Amount {
    /// The sum, unless it overflows.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, unless `other` is larger.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// The sum of many amounts, unless it overflows.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut total = Self::ZERO;
        for amount in amounts {
            total = total.checked_add(amount)?;
        }
        Some(total)
    }

    /// This amount times `numerator / denominator`, rounded down; `None` when the denominator is 0 or the fraction is
    /// above 1, so that a part is never more than the whole.
    pub fn fraction(self, numerator: u32, denominator: u32) -> Option<Self> {
        if denominator == 0 || numerator > denominator {
            return None;
        }
        let part = u128::from(self.0) * u128::from(numerator) / u128::from(denominator);
        u64::try_from(part).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_never_wrap() {
        let most = Amount::new(u64::MAX);
        assert_eq!(most.checked_add(Amount::new(1)), None);
        assert_eq!(Amount::ZERO.checked_sub(Amount::new(1)), None);
        assert_eq!(Amount::checked_sum([most, Amount::new(1)]), None);
        assert_eq!(Height::new(u64::MAX).next(), None);
        assert_eq!(TimeMs::new(u64::MAX).checked_add(1), None);
    }

    #[test]
    fn a_fraction_is_rounded_down_and_never_above_the_whole() {
        let most = Amount::new(u64::MAX);
        assert_eq!(most.fraction(10_000, 10_000), Some(most));
        assert_eq!(
            Amount::new(999).fraction(3_333, 10_000),
            Some(Amount::new(332))
        );
        assert_eq!(most.fraction(2, 1), None);
        assert_eq!(most.fraction(0, 0), None);
    }

    #[test]
    fn numbers_are_plain_in_json_and_eight_bytes_on_the_wire() {
        assert_eq!(serde_json::to_string(&Amount::new(7)).unwrap(), "7");
        assert_eq!(TimeMs::new(258).to_bytes(), [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!("12".parse(), Ok(Height::new(12)));
    }
}
