//! The specification of a competition: everything that competitors rely on, fixed by the transaction that opens it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader, encode_bytes, encode_list};
use crate::digest::{BlobId, DataDigest, KeyCommitment, SpecDigest};
use crate::genesis::Parameters;
use crate::limits::{
    MAX_CELLS, MAX_CLASSES, MAX_DATA_BLOB_BYTES, MAX_DESCRIPTION_BYTES, MAX_PARAMETERS,
    MAX_PAYOUTS, MAX_SAMPLES, MAX_TARGET_EXPONENT, MAX_TITLE_BYTES, PAYOUT_TOTAL,
};
use crate::metric::{Metric, Threshold};
use crate::statement::{InputEncoding, Task};
use crate::units::{Amount, TimeMs};

/// Names a blob and states its length, so that nobody starts to fetch more than was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// BLAKE3 hash of the bytes.
    pub id: BlobId,
    /// Number of bytes.
    pub length: u64,
}

impl Encode for BlobRef {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { id, length } = self;
        id.encode(out);
        length.encode(out);
    }
}

impl Decode for BlobRef {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: BlobId::decode(reader)?,
            length: u64::decode(reader)?,
        })
    }
}

/// The terms of a competition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompetitionSpec {
    /// One line.
    pub title: String,
    /// Text for people; line breaks are allowed.
    pub description: String,
    /// How real-valued features become the integers that models read.
    pub encoding: InputEncoding,
    /// What a model is asked: a class, or a value.
    pub task: Task,
    /// Samples of the test set.
    pub samples: u32,
    /// What decides.
    pub metric: Metric,
    /// The most weights and biases a model may have.
    pub max_parameters: u64,
    /// Training data, if the host gives any.
    pub training_data: Option<BlobRef>,
    /// The encrypted test set.
    pub sealed_data: BlobRef,
    /// Digest of the test set's canonical encoding ([`crate::statement::Dataset::digest`]).
    pub data_digest: DataDigest,
    /// Commitment to the key of the test set.
    pub key_commitment: KeyCommitment,
    /// Registrations are taken from this time on.
    pub opens_at: TimeMs,
    /// Registrations and withdrawals are taken before this time; the key may be released from it on.
    pub register_until: TimeMs,
    /// The key must be released before this time.
    pub key_until: TimeMs,
    /// Proofs are taken before this time; the first block at or after it settles.
    pub prove_until: TimeMs,
    /// The prize in basis points, first rank first; adds up to 10,000.
    pub payouts: Vec<u16>,
    /// What a registration locks until the end; lost on an invalid proof.
    pub deposit: Amount,
    /// How many proofs one registration may submit.
    pub submissions_per_registration: u8,
    /// How many registrations one account may hold at a time.
    pub registrations_per_account: u8,
    /// The least score that earns a rank.
    pub minimum: Threshold,
}

impl CompetitionSpec {
    /// Features of a sample.
    pub fn width(&self) -> u32 {
        u32::try_from(self.encoding.width()).unwrap_or(u32::MAX)
    }

    /// The digest of the canonical encoding.
    pub fn digest(&self) -> SpecDigest {
        SpecDigest::of(&self.to_bytes())
    }

    /// Checks every rule on a specification that is opened in a block with time `time`.
    pub fn validate(&self, parameters: &Parameters, time: TimeMs) -> Result<(), SpecError> {
        self.check_text()?;
        self.check_task(parameters)?;
        self.check_metric()?;
        self.check_blobs()?;
        self.check_times(parameters, time)?;
        self.check_payouts()?;
        self.check_quotas()
    }

    /// # Rule OPEN-1
    /// The title has 1 to 120 bytes and no control character; the description has at most 8,192 bytes and no control
    /// character except line feed and tab.
    fn check_text(&self) -> Result<(), SpecError> {
        if self.title.is_empty() || self.title.len() > MAX_TITLE_BYTES {
            return Err(SpecError::Title {
                found: self.title.len(),
            });
        }
        if self.description.len() > MAX_DESCRIPTION_BYTES {
            return Err(SpecError::Description {
                found: self.description.len(),
            });
        }
        let layout = |c: char| c == '\n' || c == '\t';
        if self.title.chars().any(char::is_control) {
            return Err(SpecError::ControlCharacter { what: "title" });
        }
        if self
            .description
            .chars()
            .any(|c| c.is_control() && !layout(c))
        {
            return Err(SpecError::ControlCharacter {
                what: "description",
            });
        }
        Ok(())
    }

    /// # Rule OPEN-2
    /// There are 1 to 65,536 features, 2 to 1,024 classes or else values in steps of 2^-256 to 2^256, at least the
    /// network's `min_samples` and at most 1,000,000 samples, at most 2^28 cells, and 1 to 2^27 parameters.
    fn check_task(&self, parameters: &Parameters) -> Result<(), SpecError> {
        let within = |what, found: u64, least: u64, most: u64| match (least..=most).contains(&found)
        {
            true => Ok(()),
            false => Err(SpecError::Task {
                what,
                found,
                least,
                most,
            }),
        };
        let (width, samples) = (self.encoding.width() as u64, u64::from(self.samples));
        let most_features = crate::limits::MAX_FEATURES as u64;
        within("the number of features", width, 1, most_features)?;
        match self.task {
            Task::Classification { classes } => within(
                "the number of classes",
                u64::from(classes),
                2,
                MAX_CLASSES as u64,
            )?,
            Task::Regression { exponent } => {
                if exponent.unsigned_abs() > MAX_TARGET_EXPONENT.unsigned_abs() {
                    return Err(SpecError::TargetStep { found: exponent });
                }
            }
        }
        let least_samples = u64::from(parameters.min_samples);
        within(
            "the number of samples",
            samples,
            least_samples,
            MAX_SAMPLES as u64,
        )?;
        within(
            "samples times features",
            samples * width,
            1,
            MAX_CELLS as u64,
        )?;
        within("max_parameters", self.max_parameters, 1, MAX_PARAMETERS)
    }

    /// # Rule OPEN-9
    /// The metric fits the task: accuracy, top-k with k from 1 to one less than the number of classes, balanced accuracy
    /// or macro F1 for classes; MSE, RMSE, MAE or R² for values. The minimum is none, or stated in the metric's terms: for
    /// classes a share of at most 1,000,000 millionths, for values a largest sum of errors of at most 2^100.
    fn check_metric(&self) -> Result<(), SpecError> {
        let metric = self.metric;
        if !metric.fits(&self.task) {
            return Err(SpecError::Metric {
                metric,
                task: self.task,
            });
        }
        match self.minimum.fits(&metric) {
            true => Ok(()),
            false => Err(SpecError::Minimum { metric }),
        }
    }

    /// # Rule OPEN-3
    /// Training data and sealed test set have 1 byte to 1 GiB each.
    fn check_blobs(&self) -> Result<(), SpecError> {
        let named = [
            ("sealed_data", Some(self.sealed_data)),
            ("training_data", self.training_data),
        ];
        for (what, blob) in named {
            let Some(BlobRef { id: _, length }) = blob else {
                continue;
            };
            if length == 0 || length > MAX_DATA_BLOB_BYTES {
                return Err(SpecError::Blob { what, length });
            }
        }
        Ok(())
    }

    /// # Rule OPEN-4
    /// Registration, key release and proving each last at least the network's `min_window_ms`, where registration counts
    /// from the later of `opens_at` and the block's time, and the competition ends at most `max_duration_ms` after the
    /// block's time.
    fn check_times(&self, parameters: &Parameters, time: TimeMs) -> Result<(), SpecError> {
        let windows = [
            (
                "register_until",
                self.opens_at.max(time),
                self.register_until,
            ),
            ("key_until", self.register_until, self.key_until),
            ("prove_until", self.key_until, self.prove_until),
        ];
        for (what, from, until) in windows {
            if until.since(from) < parameters.min_window_ms || until <= from {
                return Err(SpecError::Window {
                    what,
                    from,
                    until,
                    least_ms: parameters.min_window_ms,
                });
            }
        }
        if self.prove_until.since(time) > parameters.max_duration_ms {
            let latest = time.saturating_add(parameters.max_duration_ms);
            return Err(SpecError::TooLate {
                prove_until: self.prove_until,
                latest,
            });
        }
        Ok(())
    }

    /// # Rule OPEN-5
    /// The payout table has 1 to 64 entries, none of them 0, none above the one before, and they add up to 10,000.
    fn check_payouts(&self) -> Result<(), SpecError> {
        let count = self.payouts.len();
        if count == 0 || count > MAX_PAYOUTS {
            return Err(SpecError::PayoutCount { count });
        }
        let falling = self.payouts.windows(2).all(|pair| pair[0] >= pair[1]);
        if !falling || self.payouts.contains(&0) {
            return Err(SpecError::PayoutOrder);
        }
        let total: u32 = self.payouts.iter().map(|share| u32::from(*share)).sum();
        if total != PAYOUT_TOTAL {
            return Err(SpecError::PayoutTotal { total });
        }
        Ok(())
    }

    /// # Rule OPEN-6
    /// A registration may submit at least one proof, and an account may hold at least one registration.
    fn check_quotas(&self) -> Result<(), SpecError> {
        if self.submissions_per_registration == 0 {
            return Err(SpecError::Quota {
                what: "submissions_per_registration",
            });
        }
        if self.registrations_per_account == 0 {
            return Err(SpecError::Quota {
                what: "registrations_per_account",
            });
        }
        Ok(())
    }
}

impl Encode for CompetitionSpec {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            title,
            description,
            encoding,
            task,
            samples,
            metric,
            max_parameters,
            training_data,
            sealed_data,
            data_digest,
            key_commitment,
            opens_at,
            register_until,
            key_until,
            prove_until,
            payouts,
            deposit,
            submissions_per_registration,
            registrations_per_account,
            minimum,
        } = self;
        encode_bytes(title.as_bytes(), out);
        encode_bytes(description.as_bytes(), out);
        encoding.encode(out);
        task.encode(out);
        samples.encode(out);
        metric.encode(out);
        max_parameters.encode(out);
        training_data.encode(out);
        sealed_data.encode(out);
        data_digest.encode(out);
        key_commitment.encode(out);
        opens_at.encode(out);
        register_until.encode(out);
        key_until.encode(out);
        prove_until.encode(out);
        encode_list(payouts, out);
        deposit.encode(out);
        submissions_per_registration.encode(out);
        registrations_per_account.encode(out);
        minimum.encode(out);
    }
}

impl Decode for CompetitionSpec {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            title: reader.text(MAX_TITLE_BYTES, "title")?,
            description: reader.text(MAX_DESCRIPTION_BYTES, "description")?,
            encoding: InputEncoding::decode(reader)?,
            task: Task::decode(reader)?,
            samples: u32::decode(reader)?,
            metric: Metric::decode(reader)?,
            max_parameters: u64::decode(reader)?,
            training_data: Option::decode(reader)?,
            sealed_data: BlobRef::decode(reader)?,
            data_digest: DataDigest::decode(reader)?,
            key_commitment: KeyCommitment::decode(reader)?,
            opens_at: TimeMs::decode(reader)?,
            register_until: TimeMs::decode(reader)?,
            key_until: TimeMs::decode(reader)?,
            prove_until: TimeMs::decode(reader)?,
            payouts: reader.list(MAX_PAYOUTS, 2, "payouts")?,
            deposit: Amount::decode(reader)?,
            submissions_per_registration: u8::decode(reader)?,
            registrations_per_account: u8::decode(reader)?,
            minimum: Threshold::decode(reader)?,
        })
    }
}

/// Why a specification cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    /// Rule OPEN-1.
    #[error("the title has {found} bytes, give it 1 to {MAX_TITLE_BYTES}")]
    Title {
        /// Bytes found.
        found: usize,
    },
    /// Rule OPEN-1.
    #[error("the description has {found} bytes, shorten it to {MAX_DESCRIPTION_BYTES}")]
    Description {
        /// Bytes found.
        found: usize,
    },
    /// Rule OPEN-1.
    #[error("the {what} has a control character, remove it")]
    ControlCharacter {
        /// The text.
        what: &'static str,
    },
    /// Rule OPEN-2.
    #[error("{what} is {found}, it must be between {least} and {most}")]
    Task {
        /// What is counted.
        what: &'static str,
        /// The count.
        found: u64,
        /// The smallest accepted.
        least: u64,
        /// The largest accepted.
        most: u64,
    },
    /// Rule OPEN-2.
    #[error(
        "the target step is 2^{found}, its exponent must lie between -{MAX_TARGET_EXPONENT} and {MAX_TARGET_EXPONENT}"
    )]
    TargetStep {
        /// The exponent.
        found: i16,
    },
    /// Rule OPEN-9.
    #[error("{}", explain_metric(metric, task))]
    Metric {
        /// The metric.
        metric: Metric,
        /// The task.
        task: Task,
    },
    /// Rule OPEN-9.
    #[error(
        "the minimum is not one for {metric}: give a share of at most 1 for a metric of classes, and a largest sum of \
         errors for a metric of values"
    )]
    Minimum {
        /// The metric.
        metric: Metric,
    },
    /// Rule OPEN-3.
    #[error("{what} has {length} bytes, it must have 1 to {MAX_DATA_BLOB_BYTES}")]
    Blob {
        /// The blob.
        what: &'static str,
        /// Its stated length.
        length: u64,
    },
    /// Rule OPEN-4.
    #[error("{what} is {until}, it must be at least {least_ms} ms, and 1 ms, after {from}")]
    Window {
        /// The deadline.
        what: &'static str,
        /// Start of its window.
        from: TimeMs,
        /// The deadline's time.
        until: TimeMs,
        /// Shortest window.
        least_ms: u64,
    },
    /// Rule OPEN-4.
    #[error("prove_until is {prove_until}, the latest allowed here is {latest}")]
    TooLate {
        /// The deadline.
        prove_until: TimeMs,
        /// The latest accepted.
        latest: TimeMs,
    },
    /// Rule OPEN-5.
    #[error("the payout table has {count} entries, give it 1 to {MAX_PAYOUTS}")]
    PayoutCount {
        /// Entries found.
        count: usize,
    },
    /// Rule OPEN-5.
    #[error("the payout table must not rise and must not hold 0")]
    PayoutOrder,
    /// Rule OPEN-5.
    #[error("the payout table adds up to {total} basis points, it must add up to {PAYOUT_TOTAL}")]
    PayoutTotal {
        /// The sum found.
        total: u32,
    },
    /// Rule OPEN-6.
    #[error("{what} is 0, allow at least 1")]
    Quota {
        /// The quota.
        what: &'static str,
    },
}

fn explain_metric(metric: &Metric, task: &Task) -> String {
    match task {
        Task::Regression { .. } => {
            format!("{metric} scores classes, and the targets are values: use mse, rmse, mae or r2")
        }
        Task::Classification { classes } if metric.is_of_classes() => {
            format!("{metric} always hits one of {classes} classes: use a k from 1 to one less")
        }
        Task::Classification { .. } => format!(
            "{metric} scores values, and the targets are classes: use accuracy, top-K, balanced-accuracy or macro-f1"
        ),
    }
}

impl SpecError {
    /// The rule that is broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Title { .. } | Self::Description { .. } | Self::ControlCharacter { .. } => {
                "OPEN-1"
            }
            Self::Task { .. } | Self::TargetStep { .. } => "OPEN-2",
            Self::Metric { .. } | Self::Minimum { .. } => "OPEN-9",
            Self::Blob { .. } => "OPEN-3",
            Self::Window { .. } | Self::TooLate { .. } => "OPEN-4",
            Self::PayoutCount { .. } | Self::PayoutOrder | Self::PayoutTotal { .. } => "OPEN-5",
            Self::Quota { .. } => "OPEN-6",
        }
    }
}
