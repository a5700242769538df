//! Parts of a test set that are proven apart, so that a proof's memory is bounded and machines can share the work.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;

/// Most chunks of one test set.
pub(crate) const MAX_CHUNKS: usize = 1_024;

/// Part `index` of `count` parts of a test set, as equal as they can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    index: u32,
    count: u32,
}

/// What is not a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// Not two numbers.
    #[error("{found:?} is not a chunk; write INDEX/COUNT, such as 3/8 for the third of eight")]
    Text {
        /// What was given.
        found: String,
    },
    /// Numbers that do not go together.
    #[error("there is no chunk {number} of {count}; use 1/N to N/N, with N at most {MAX_CHUNKS}")]
    Range {
        /// Counted from 1.
        number: u64,
        /// How many there should be.
        count: u64,
    },
}

impl Chunk {
    /// The whole test set.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Part `index`, counted from 0, of `count`.
    ///
    /// # Errors
    /// When there is no such part, or more than [`MAX_CHUNKS`].
    pub fn new(index: usize, count: usize) -> Result<Self, ChunkError> {
        match index < count && count <= MAX_CHUNKS {
            true => Ok(Self {
                index: index as u32,
                count: count as u32,
            }),
            false => Err(ChunkError::Range {
                number: index as u64 + 1,
                count: count as u64,
            }),
        }
    }

    /// Counted from 0.
    pub fn index(&self) -> usize {
        self.index as usize
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether this is all there is.
    pub fn is_whole(&self) -> bool {
        self.count == 1
    }

    /// The samples of this part; empty when there are fewer samples than parts.
    pub fn samples(&self, of: usize) -> Range<usize> {
        let start = |index: usize| (index as u64 * of as u64 / u64::from(self.count)) as usize;
        start(self.index())..start(self.index() + 1)
    }
}

/// Counted from 1, as people do.
impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.count)
    }
}

impl FromStr for Chunk {
    type Err = ChunkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unreadable = || ChunkError::Text {
            found: text.chars().take(40).collect(),
        };
        let (number, count) = text.split_once('/').ok_or_else(unreadable)?;
        let number: u32 = number.trim().parse().map_err(|_| unreadable())?;
        let count: u32 = count.trim().parse().map_err(|_| unreadable())?;
        let index = number.checked_sub(1).ok_or(ChunkError::Range {
            number: 0,
            count: u64::from(count),
        })?;
        Self::new(index as usize, count as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_sample_once() {
        for (samples, count) in [(1, 1), (10, 3), (540, 7), (1_000_000, 1_024)] {
            let mut next = 0;
            for index in 0..count {
                let part = Chunk::new(index, count).unwrap().samples(samples);
                assert_eq!(part.start, next);
                assert!(part.len() <= samples.div_ceil(count));
                next = part.end;
            }
            assert_eq!(next, samples);
        }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let chunk = Chunk::new(2, 8).unwrap();
        assert_eq!(chunk.to_string(), "3/8");
        assert_eq!("3/8".parse(), Ok(chunk));
        for text in [
            "", "3", "0/8", "9/8", "-1/8", "1/0", "1/2000", "a/b", "1/2/3",
        ] {
            assert!(text.parse::<Chunk>().is_err(), "{text}");
        }
    }
}
