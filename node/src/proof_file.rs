//! The files of proofs outside a competition: what their inputs and targets mean, and what they hold.
//!
//! Every file is eight bytes that name its kind, the public encoding of the inputs, the task, and the content. Encoding and
//! task travel with a proof, so that whoever verifies may hold the test part alone; they are bound to the proof through the
//! context, in the place of the competition's id.

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader};
use agon_protocol::digest::CompetitionId;
use agon_protocol::statement::{Context, InputEncoding, Task};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A proof, for everybody.
    Proof,
    /// A committed model with its secrets.
    Model,
    /// The proof of a chunk with its secrets.
    Chunk,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Proof => b"AGON.prf",
            Self::Model => b"AGON.mdl",
            Self::Chunk => b"AGON.chk",
        }
    }

    /// Whether a file is of this kind.
    pub fn is(self, bytes: &[u8]) -> bool {
        bytes.starts_with(self.magic())
    }
}

/// What comes before the content: how real numbers became integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// From real numbers to the integers that are scored.
    pub encoding: InputEncoding,
    /// What is asked: a class or a value.
    pub task: Task,
}

impl Head {
    /// The context of every proof outside a competition.
    pub fn context(&self) -> Context {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        Context {
            competition: CompetitionId::of(&bytes),
            ..agon_circuits::standalone_context()
        }
    }

    /// A file of this kind.
    pub fn write(&self, kind: Kind, content: &impl Encode) -> Vec<u8> {
        let mut bytes = kind.magic().to_vec();
        self.encode(&mut bytes);
        content.encode(&mut bytes);
        bytes
    }

    /// The head and the content of a file that must be of this kind; the content is not looked at.
    ///
    /// # Errors
    /// When the file is of another kind, or its head is cut short or outside the protocol's limits.
    pub fn read(kind: Kind, bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.array::<8>("magic")? != *kind.magic() {
            return Err(DecodeError::Invalid {
                what: match kind {
                    Kind::Proof => "magic: this is no proof of `agon prove` or `agon join`",
                    Kind::Model => "magic: this is no model of `agon model commit`",
                    Kind::Chunk => "magic: this is no chunk of `agon prove --chunk`",
                },
            });
        }
        let head = Self::decode(&mut reader)?;
        let rest = reader.remaining();
        Ok((head, reader.take(rest, "content")?))
    }
}

impl Encode for Head {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { encoding, task } = self;
        encoding.encode(out);
        task.encode(out);
    }
}

impl Decode for Head {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            encoding: InputEncoding::decode(reader)?,
            task: Task::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agon_protocol::statement::FeatureEncoding;

    fn head(exponent: i16) -> Head {
        let feature = FeatureEncoding {
            exponent: -3,
            offset: -7,
            max: 255,
        };
        Head {
            encoding: InputEncoding {
                features: vec![feature; 2],
            },
            task: Task::Regression { exponent },
        }
    }

    #[test]
    fn a_file_reads_back_and_only_as_what_it_is() {
        let bytes = head(-2).write(Kind::Chunk, &7u32);
        let (found, content) = Head::read(Kind::Chunk, &bytes).unwrap();
        assert_eq!((found, content), (head(-2), &[7, 0, 0, 0][..]));
        assert!(Kind::Chunk.is(&bytes) && !Kind::Proof.is(&bytes));
        for kind in [Kind::Proof, Kind::Model] {
            assert!(Head::read(kind, &bytes).is_err(), "{kind:?}");
        }
        for end in 0..bytes.len() - 4 {
            assert!(Head::read(Kind::Chunk, &bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn another_step_is_another_context() {
        assert_ne!(head(-2).context(), head(-3).context());
    }
}
