//! The `.npy` format: a magic number, a Python dictionary as text, then the elements.
//!
//! The header is read by a small scanner of our own: libraries parse it as a general Python expression, which recurses as
//! deep as the input says and allocates what the input asks for. Elements are read as they come, so that a header that
//! promises more than the stream holds costs nothing.

use std::io::Read;

use agon_protocol::limits::MAX_CELLS;
use thiserror::Error;

/// Longest header text that is read; numpy writes about 100 bytes.
const MAX_HEADER_BYTES: usize = 4_096;
/// Most dimensions of an array.
const MAX_RANK: usize = 8;

/// Why bytes are not an array of numbers.
#[derive(Debug, Error)]
pub enum NpyError {
    /// Not the format at all.
    #[error("not in .npy format ({reason}); save the file again with numpy.savez")]
    Header {
        /// What is wrong.
        reason: &'static str,
    },
    /// Elements that are not plain numbers.
    #[error(
        "dtype {found:?} is not supported; convert it with .astype('float32') (features) or .astype('int64') (labels)"
    )]
    Dtype {
        /// The dtype of the header.
        found: String,
    },
    /// Too many elements.
    #[error("shape {shape:?} has more than {MAX_CELLS} elements; keep fewer rows")]
    TooLarge {
        /// The shape of the header.
        shape: Vec<u64>,
    },
    /// An array without elements.
    #[error("shape {shape:?} has no elements; check the export")]
    Empty {
        /// The shape of the header.
        shape: Vec<u64>,
    },
    /// An array of another rank than needed.
    #[error("shape {shape:?} does not fit; {expected}")]
    Rank {
        /// The shape of the header.
        shape: Vec<u64>,
        /// What would fit.
        expected: &'static str,
    },
    /// The stream ends, or cannot be decompressed.
    #[error(
        "its elements cannot be read ({reason}); the file is damaged or cut off, copy it again"
    )]
    Read {
        /// The reader's words.
        reason: String,
    },
    /// Bytes are left after the last element.
    #[error("bytes are left after its last element; the file is damaged, save it again")]
    Trailing,
}

/// An array of numbers in C order.
#[derive(Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Float,
    Signed,
    Unsigned,
    Bool,
}

#[derive(Debug, PartialEq)]
struct Header {
    kind: Kind,
    item_bytes: usize,
    big_endian: bool,
    fortran: bool,
    shape: Vec<u64>,
}

/// Reads one array to the end of the stream.
pub(super) fn read(mut reader: impl Read) -> Result<Array, NpyError> {
    let header = read_header(&mut reader)?;
    let shape = header.shape;
    let count = shape
        .iter()
        .try_fold(1u64, |product, size| product.checked_mul(*size));
    let count = match count {
        Some(count) if count <= MAX_CELLS as u64 => count as usize,
        _ if shape.contains(&0) => 0,
        _ => return Err(NpyError::TooLarge { shape }),
    };
    if count == 0 {
        return Err(NpyError::Empty { shape });
    }
    let mut values = Vec::new();
    let mut chunk = vec![0; 8_192 * header.item_bytes];
    while values.len() < count {
        let bytes = (count - values.len()).min(8_192) * header.item_bytes;
        let chunk = &mut chunk[..bytes];
        reader.read_exact(chunk).map_err(read_error)?;
        let items = chunk.chunks_exact(header.item_bytes);
        values.extend(items.map(|item| number(header.kind, item, header.big_endian)));
    }
    // also makes the archive reader verify its checksum
    match reader.read(&mut [0]).map_err(read_error)? {
        0 => {}
        _ => return Err(NpyError::Trailing),
    }
    let shape: Vec<usize> = shape.iter().map(|size| *size as usize).collect();
    if header.fortran {
        values = to_c_order(&shape, &values);
    }
    Ok(Array { shape, values })
}

fn read_error(error: std::io::Error) -> NpyError {
    NpyError::Read {
        reason: error.to_string(),
    }
}

fn read_header(reader: &mut impl Read) -> Result<Header, NpyError> {
    let broken = |reason| NpyError::Header { reason };
    let mut prefix = [0; 8];
    reader.read_exact(&mut prefix).map_err(read_error)?;
    let [magic @ .., major, _minor] = prefix;
    if &magic != b"\x93NUMPY" {
        return Err(broken("the magic number is missing"));
    }
    let mut length = [0; 4];
    match major {
        1 => reader.read_exact(&mut length[..2]).map_err(read_error)?,
        2 | 3 => reader.read_exact(&mut length).map_err(read_error)?,
        _ => return Err(broken("the version is unknown")),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER_BYTES {
        return Err(broken("the header is too long"));
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text).map_err(read_error)?;
    let text = std::str::from_utf8(&text).map_err(|_| broken("the header is not text"))?;
    parse_header(text)
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (540, 64), }`.
fn parse_header(text: &str) -> Result<Header, NpyError> {
    let broken = |reason| NpyError::Header { reason };
    let value = |key: &str| {
        let (_, rest) = text.split_once(&format!("'{key}'"))?;
        rest.trim_start().strip_prefix(':').map(str::trim_start)
    };
    let descr = value("descr").ok_or(broken("the dtype is missing"))?;
    let dtype = match descr
        .strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''))
    {
        Some((dtype, _)) => dtype.to_owned(),
        None => {
            return Err(NpyError::Dtype {
                found: descr.chars().take(40).collect(),
            });
        }
    };
    let order = value("fortran_order").ok_or(broken("the element order is missing"))?;
    let fortran = match (order.starts_with("True"), order.starts_with("False")) {
        (true, _) => true,
        (_, true) => false,
        _ => return Err(broken("the element order is neither True nor False")),
    };
    let shape = value("shape").and_then(|rest| rest.strip_prefix('('));
    let (shape, _) = shape
        .and_then(|rest| rest.split_once(')'))
        .ok_or(broken("the shape is missing"))?;
    let shape = shape.trim().trim_end_matches(',');
    let sizes = shape.split(',').filter(|size| !size.trim().is_empty());
    let shape: Vec<u64> = sizes
        .map(|size| size.trim().trim_end_matches('L').parse().ok())
        .collect::<Option<_>>()
        .ok_or(broken("the shape is not a tuple of numbers"))?;
    if shape.len() > MAX_RANK {
        return Err(broken("the shape has too many dimensions"));
    }
    let (kind, item_bytes) = kind(&dtype).ok_or(NpyError::Dtype {
        found: dtype.clone(),
    })?;
    Ok(Header {
        kind,
        item_bytes,
        big_endian: dtype.starts_with('>'),
        fortran,
        shape,
    })
}

/// The kind and size of a dtype such as `<f4`.
fn kind(dtype: &str) -> Option<(Kind, usize)> {
    let rest = dtype.strip_prefix(['<', '>', '|', '=']).unwrap_or(dtype);
    Some(match rest {
        "f4" => (Kind::Float, 4),
        "f8" => (Kind::Float, 8),
        "i1" => (Kind::Signed, 1),
        "i2" => (Kind::Signed, 2),
        "i4" => (Kind::Signed, 4),
        "i8" => (Kind::Signed, 8),
        "u1" => (Kind::Unsigned, 1),
        "u2" => (Kind::Unsigned, 2),
        "u4" => (Kind::Unsigned, 4),
        "u8" => (Kind::Unsigned, 8),
        "b1" => (Kind::Bool, 1),
        _ => return None,
    })
}

fn number(kind: Kind, item: &[u8], big_endian: bool) -> f64 {
    let mut bits = 0u64;
    for index in 0..item.len() {
        let byte = item[if big_endian {
            index
        } else {
            item.len() - 1 - index
        }];
        bits = bits << 8 | u64::from(byte);
    }
    match (kind, item.len()) {
        (Kind::Float, 4) => f64::from(f32::from_bits(bits as u32)),
        (Kind::Float, _) => f64::from_bits(bits),
        (Kind::Signed, bytes) => {
            let unused = 64 - 8 * bytes as u32;
            (((bits << unused) as i64) >> unused) as f64
        }
        (Kind::Unsigned, _) => bits as f64,
        (Kind::Bool, _) => f64::from(u8::from(bits != 0)),
    }
}

/// Reorders elements stored with the first index fastest to the last index fastest.
fn to_c_order(shape: &[usize], stored: &[f64]) -> Vec<f64> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for size in shape {
        strides.push(stride);
        stride *= size;
    }
    let mut index = vec![0; shape.len()];
    let mut position = 0;
    let mut ordered = Vec::with_capacity(stored.len());
    for _ in 0..stored.len() {
        ordered.push(stored[position]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            position += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            position -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn reads_every_dtype_in_both_byte_orders() {
        let cases: [(&str, &[u8], f64); 9] = [
            ("<f4", &1.5f32.to_le_bytes(), 1.5),
            (">f4", &1.5f32.to_be_bytes(), 1.5),
            ("<f8", &(-2.25f64).to_le_bytes(), -2.25),
            ("|i1", &[0xff], -1.0),
            ("<i2", &(-300i16).to_le_bytes(), -300.0),
            (">i8", &(-5i64).to_be_bytes(), -5.0),
            ("|u1", &[200], 200.0),
            ("<u8", &7u64.to_le_bytes(), 7.0),
            ("|b1", &[1], 1.0),
        ];
        for (dtype, data, expected) in cases {
            let header =
                format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': (1,), }}\n");
            let array = read(npy(&header, data).as_slice()).unwrap();
            assert_eq!(
                array,
                Array {
                    shape: vec![1],
                    values: vec![expected]
                },
                "{dtype}"
            );
        }
    }

    #[test]
    fn fortran_order_is_turned_into_c_order() {
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 2), }";
        let element = |stored: u8| (stored % 2) * 6 + (stored / 2 % 3) * 2 + stored / 6;
        let stored: Vec<u8> = (0..12).map(element).collect();
        let array = read(npy(header, &stored).as_slice()).unwrap();
        assert_eq!(array.values, (0..12).map(f64::from).collect::<Vec<_>>());
    }

    #[test]
    fn refuses_a_shape_that_promises_more_than_there_is() {
        for shape in [
            "(4000000000, 4000000000)",
            "(18446744073709551615, 2)",
            "(300000000,)",
        ] {
            let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
            assert!(matches!(
                read(npy(&header, &[]).as_slice()),
                Err(NpyError::TooLarge { .. })
            ));
        }
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (200000000,), }";
        assert!(matches!(
            read(npy(header, &[0; 16]).as_slice()),
            Err(NpyError::Read { .. })
        ));
    }

    #[test]
    fn refuses_objects_strings_and_records_by_dtype() {
        for dtype in [
            "'|O'",
            "'<U3'",
            "'<c8'",
            "'<M8[ns]'",
            "[('a', '<f4')]",
            "'<f2'",
        ] {
            let header = format!("{{'descr': {dtype}, 'fortran_order': False, 'shape': (1,), }}");
            assert!(
                matches!(
                    read(npy(&header, &[0; 16]).as_slice()),
                    Err(NpyError::Dtype { .. })
                ),
                "{dtype}"
            );
        }
    }

    #[test]
    fn refuses_empty_arrays_broken_headers_and_trailing_bytes() {
        let empty = "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }";
        assert!(matches!(
            read(npy(empty, &[]).as_slice()),
            Err(NpyError::Empty { .. })
        ));
        let good = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
        assert!(matches!(
            read(npy(good, &[1, 2, 3]).as_slice()),
            Err(NpyError::Trailing)
        ));
        for header in [
            "",
            "{}",
            "((((((((((",
            "{'descr': '<f4'}",
            "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
        ] {
            assert!(
                matches!(
                    read(npy(header, &[0; 4]).as_slice()),
                    Err(NpyError::Header { .. })
                ),
                "{header}"
            );
        }
    }
}
