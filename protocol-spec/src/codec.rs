//! The canonical binary encoding: one byte string per value, one value per byte string.
//!
//! Integers are little-endian and of fixed width; a sequence is its length as `u32` and then its items; an enum is a tag
//! byte and then its fields. A decoder states the largest length it accepts, and that limit is checked against
//! the bytes that are left before anything is allocated, so a short hostile message cannot ask for much memory.

use thiserror::Error;

/// Why bytes are not the encoding of a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ends inside `what`.
    #[error("the input ends inside {what}")]
    Truncated {
        /// The field that was being read.
        what: &'static str,
    },
    /// Bytes are left after a complete value.
    #[error("{count} bytes are left after the value")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A length above its limit.
    #[error("{what} has length {found}, the limit is {limit}")]
    TooLong {
        /// The field.
        what: &'static str,
        /// The length the input states.
        found: u64,
        /// The largest accepted.
        limit: u64,
    },
    /// A byte or number that no value of the type encodes to.
    #[error("{what} is not canonical")]
    Invalid {
        /// The field.
        what: &'static str,
    },
}

/// A cursor over the bytes of one message.
#[derive(Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// How many bytes are not read yet.
    pub fn remaining(&self) -> usize {
        self.left.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self
            .left
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated { what })?;
        self.left = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self
            .left
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated { what })?;
        self.left = tail;
        Ok(*head)
    }

    /// A length prefix, refused above `limit`, or when fewer than `length * item_size` bytes are left.
    pub fn length(
        &mut self,
        limit: usize,
        item_size: usize,
        what: &'static str,
    ) -> Result<usize, DecodeError> {
        let found = u64::from(u32::from_le_bytes(self.array(what)?));
        if found > limit as u64 {
            return Err(DecodeError::TooLong {
                what,
                found,
                limit: limit as u64,
            });
        }
        if found.saturating_mul(item_size as u64) > self.left.len() as u64 {
            return Err(DecodeError::Truncated { what });
        }
        Ok(found as usize)
    }

    /// A length-prefixed byte string of at most `limit` bytes.
    pub fn bytes(&mut self, limit: usize, what: &'static str) -> Result<Vec<u8>, DecodeError> {
        let length = self.length(limit, 1, what)?;
        Ok(self.take(length, what)?.to_vec())
    }

    /// A length-prefixed UTF-8 string of at most `limit` bytes.
    pub fn text(&mut self, limit: usize, what: &'static str) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes(limit, what)?).map_err(|_| DecodeError::Invalid { what })
    }

    /// A sequence of at most `limit` items, each of at least `min_item_size` bytes (so that the
    /// allocation is bounded by the input).
    pub fn list<T: Decode>(
        &mut self,
        limit: usize,
        min_item_size: usize,
        what: &'static str,
    ) -> Result<Vec<T>, DecodeError> {
        let length = self.length(limit, min_item_size, what)?;
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(T::decode(self)?);
        }
        Ok(items)
    }

    /// Fails when bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left.len() {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }
}

/// A value with a canonical encoding.
///
/// # Rule ENC-1
/// Integers are little-endian and of fixed width, a digest or key is its 32 bytes, a signature its 64 bytes, a text or
/// sequence is its length as `u32` and then its bytes or items, an option is the byte 0, or 1 and the value, an enum is a
/// tag byte and its fields, a record is its fields in order.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The encoding as a new byte string.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A value that can be read back from its canonical encoding.
///
/// # Rule ENC-2
/// Whatever a decoder accepts encodes to the same bytes again; unknown tags, bytes that are not UTF-8, bytes that are
/// missing and bytes that are left over are refused.
///
/// # Rule ENC-3
/// A decoder checks a length against its limit and against the bytes that are left before it allocates.
pub trait Decode: Sized {
    /// Reads one value and leaves the cursor behind it.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads a value that must fill `bytes` exactly.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// Writes the length prefix of a sequence.
///
/// # Panics
/// When `length` does not fit a `u32`: every sequence of the protocol is limited far below (see [`crate::limits`]).
pub fn encode_length(length: usize, out: &mut Vec<u8>) {
    u32::try_from(length)
        .expect("sequences are limited far below 2^32 items")
        .encode(out);
}

/// Writes a length-prefixed byte string.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    encode_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Writes a length-prefixed sequence.
pub fn encode_list<T: Encode>(items: &[T], out: &mut Vec<u8>) {
    encode_length(items.len(), out);
    for item in items {
        item.encode(out);
    }
}

macro_rules! fixed_width {
    ($($t:ty),*) => {$(
        impl Encode for $t {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
        impl Decode for $t {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(<$t>::from_le_bytes(reader.array(stringify!($t))?))
            }
        }
    )*};
}
fixed_width!(u8, u16, u32, u64, u128, i8, i16, i32, i64);

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Decode for bool {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid { what: "bool" }),
        }
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array("bytes")
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.encode(out);
            }
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(None),
            1 => Ok(Some(T::decode(reader)?)),
            _ => Err(DecodeError::Invalid { what: "option" }),
        }
    }
}
