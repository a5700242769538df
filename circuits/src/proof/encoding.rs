//! The binary form of one proof.

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_length};
use agon_protocol::limits::MAX_PROOF_BYTES;
use ff::PrimeField;
use group::GroupEncoding;

use super::BatchProof;
use crate::commitment::read_points;
use crate::field::{Point, Scalar};
use crate::inner::InnerProof;
use crate::relations::RelationsProof;

/// Most points, and most scalars: what a blob may hold. The plan says how many there must be.
const MAX_ITEMS: usize = MAX_PROOF_BYTES as usize / 32;

fn encode_points(points: &[Point], out: &mut Vec<u8>) {
    encode_length(points.len(), out);
    for point in points {
        out.extend_from_slice(point.to_bytes().as_ref());
    }
}

fn encode_scalars(scalars: &[Scalar], out: &mut Vec<u8>) {
    encode_length(scalars.len(), out);
    for scalar in scalars {
        out.extend_from_slice(scalar.to_repr().as_ref());
    }
}

fn read_bytes<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8], DecodeError> {
    let count = reader.length(MAX_ITEMS, 32, what)?;
    reader.take(32 * count, what)
}

/// Points other than the identity, which an honest prover never commits to.
fn decode_points(reader: &mut Reader<'_>, what: &'static str) -> Result<Vec<Point>, DecodeError> {
    read_points(read_bytes(reader, what)?).ok_or(DecodeError::Invalid { what })
}

fn decode_point(reader: &mut Reader<'_>, what: &'static str) -> Result<Point, DecodeError> {
    let points = read_points(reader.take(32, what)?);
    let point = points.and_then(|points| points.first().copied());
    point.ok_or(DecodeError::Invalid { what })
}

fn decode_scalars(reader: &mut Reader<'_>, what: &'static str) -> Result<Vec<Scalar>, DecodeError> {
    let (chunks, _) = read_bytes(reader, what)?.as_chunks::<32>();
    let scalar = |bytes: &[u8; 32]| Option::from(Scalar::from_repr(*bytes));
    let scalars: Option<Vec<Scalar>> = chunks.iter().map(scalar).collect();
    scalars.ok_or(DecodeError::Invalid { what })
}

/// What a proof counts, read without any arithmetic on the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProofSizes {
    pub(crate) rows: usize,
    pub(crate) messages: usize,
}

impl ProofSizes {
    /// Reads over an encoded proof's vectors.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let rows = read_bytes(&mut reader, "rows")?.len() / 32;
        reader.take(64, "mask and pads")?;
        let messages = read_bytes(&mut reader, "messages")?.len() / 32;
        Ok(Self { rows, messages })
    }
}

impl Encode for BatchProof {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            rows,
            mask,
            pads,
            messages,
            revealed,
            relations,
            inner,
        } = self;
        encode_points(rows, out);
        for point in [mask, pads] {
            out.extend_from_slice(point.to_bytes().as_ref());
        }
        encode_scalars(messages, out);
        encode_scalars(revealed, out);
        relations.encode(out);
        inner.encode(out);
    }
}

impl Decode for BatchProof {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rows: decode_points(reader, "rows")?,
            mask: decode_point(reader, "mask")?,
            pads: decode_point(reader, "pads")?,
            messages: decode_scalars(reader, "messages")?,
            revealed: decode_scalars(reader, "revealed numbers")?,
            relations: RelationsProof::decode(reader)?,
            inner: InnerProof::decode(reader)?,
        })
    }
}
