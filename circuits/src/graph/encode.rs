//! The canonical encoding of a [`Graph`].

use agon_protocol::codec::{Decode, DecodeError, Encode, Reader, encode_length, encode_list};

use super::validate::{MAX_AXES, MAX_NODES, MAX_PARTS, MAX_SUM_AXES, MAX_TABLES};
use super::{Graph, Node, Op, Part, RANGE_BITS, Route, Shape, SumAxis, Window};

/// An index or length; every one of a valid graph is far below `2^32`.
fn index(value: usize, out: &mut Vec<u8>) {
    encode_length(value, out);
}

fn indices(values: &[usize], out: &mut Vec<u8>) {
    encode_length(values.len(), out);
    values.iter().for_each(|value| index(*value, out));
}

fn read_index(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    Ok(u32::decode(reader)? as usize)
}

fn read_indices(
    reader: &mut Reader<'_>,
    limit: usize,
    what: &'static str,
) -> Result<Vec<usize>, DecodeError> {
    let length = reader.length(limit, 4, what)?;
    (0..length).map(|_| read_index(reader)).collect()
}

impl Encode for Shape {
    fn encode(&self, out: &mut Vec<u8>) {
        indices(&self.0, out);
    }
}

impl Decode for Shape {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(read_indices(reader, MAX_AXES, "axes")?))
    }
}

impl Encode for Window {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            stride,
            padding,
            dilation,
        } = self;
        for value in [stride, padding, dilation].into_iter().flatten() {
            index(*value, out);
        }
    }
}

impl Decode for Window {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut pair = || Ok([read_index(reader)?, read_index(reader)?]);
        Ok(Self {
            stride: pair()?,
            padding: pair()?,
            dilation: pair()?,
        })
    }
}

impl Encode for SumAxis {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { length, stride } = self;
        index(*length, out);
        index(*stride, out);
    }
}

impl Decode for SumAxis {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            length: read_index(reader)?,
            stride: read_index(reader)?,
        })
    }
}

impl Encode for Part {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            source,
            start,
            lengths,
            base,
            strides,
            sums,
            coefficient,
        } = self;
        index(*source, out);
        indices(start, out);
        indices(lengths, out);
        index(*base, out);
        indices(strides, out);
        encode_list(sums, out);
        coefficient.encode(out);
    }
}

impl Decode for Part {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            source: read_index(reader)?,
            start: read_indices(reader, MAX_AXES, "start")?,
            lengths: read_indices(reader, MAX_AXES, "lengths")?,
            base: read_index(reader)?,
            strides: read_indices(reader, MAX_AXES, "strides")?,
            sums: reader.list(MAX_SUM_AXES, 8, "sums")?,
            coefficient: i32::decode(reader)?,
        })
    }
}

impl Encode for Op {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Input => out.push(0),
            Self::Linear {
                input,
                weights,
                contract,
            } => {
                out.push(1);
                index(*input, out);
                index(*weights, out);
                index(*contract, out);
            }
            Self::Conv {
                input,
                weights,
                window,
            } => {
                out.push(2);
                index(*input, out);
                index(*weights, out);
                window.encode(out);
            }
            Self::Depthwise {
                input,
                weights,
                window,
            } => {
                out.push(3);
                index(*input, out);
                index(*weights, out);
                window.encode(out);
            }
            Self::Scale {
                input,
                weights,
                axis,
            } => {
                out.push(4);
                index(*input, out);
                index(*weights, out);
                index(*axis, out);
            }
            Self::Bias { input, bias } => {
                out.push(5);
                index(*input, out);
                index(*bias, out);
            }
            Self::Route(Route { parts }) => {
                out.push(6);
                encode_list(parts, out);
            }
            Self::Multiply { left, right } => {
                out.push(7);
                index(*left, out);
                index(*right, out);
            }
            Self::MatMul { left, right } => {
                out.push(8);
                index(*left, out);
                index(*right, out);
            }
            Self::Requant {
                input,
                shift,
                offset,
                low,
                high,
                saturates,
                table,
            } => {
                out.push(9);
                index(*input, out);
                shift.encode(out);
                offset.encode(out);
                low.encode(out);
                high.encode(out);
                saturates.encode(out);
                match table {
                    None => out.push(0),
                    Some(table) => {
                        out.push(1);
                        index(*table, out);
                    }
                }
            }
            Self::Max { inputs } => {
                out.push(10);
                indices(inputs, out);
            }
            Self::Isqrt { input } => {
                out.push(11);
                index(*input, out);
            }
            Self::Divide {
                numerator,
                denominator,
                shift,
                low,
                high,
            } => {
                out.push(12);
                index(*numerator, out);
                index(*denominator, out);
                shift.encode(out);
                low.encode(out);
                high.encode(out);
            }
        }
    }
}

impl Decode for Op {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            0 => Self::Input,
            1 => Self::Linear {
                input: read_index(reader)?,
                weights: read_index(reader)?,
                contract: read_index(reader)?,
            },
            2 => Self::Conv {
                input: read_index(reader)?,
                weights: read_index(reader)?,
                window: Window::decode(reader)?,
            },
            3 => Self::Depthwise {
                input: read_index(reader)?,
                weights: read_index(reader)?,
                window: Window::decode(reader)?,
            },
            4 => Self::Scale {
                input: read_index(reader)?,
                weights: read_index(reader)?,
                axis: read_index(reader)?,
            },
            5 => Self::Bias {
                input: read_index(reader)?,
                bias: read_index(reader)?,
            },
            6 => Self::Route(Route {
                // the lists of a part are empty only in a graph that is refused later
                parts: reader.list(MAX_PARTS, 28, "parts")?,
            }),
            7 => Self::Multiply {
                left: read_index(reader)?,
                right: read_index(reader)?,
            },
            8 => Self::MatMul {
                left: read_index(reader)?,
                right: read_index(reader)?,
            },
            9 => Self::Requant {
                input: read_index(reader)?,
                shift: u32::decode(reader)?,
                offset: i64::decode(reader)?,
                low: i64::decode(reader)?,
                high: i64::decode(reader)?,
                saturates: bool::decode(reader)?,
                table: Option::<u32>::decode(reader)?.map(|table| table as usize),
            },
            10 => Self::Max {
                inputs: read_indices(reader, MAX_NODES, "inputs of a maximum")?,
            },
            11 => Self::Isqrt {
                input: read_index(reader)?,
            },
            12 => Self::Divide {
                numerator: read_index(reader)?,
                denominator: read_index(reader)?,
                shift: u32::decode(reader)?,
                low: i64::decode(reader)?,
                high: i64::decode(reader)?,
            },
            _ => return Err(DecodeError::Invalid { what: "operation" }),
        })
    }
}

impl Encode for Node {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { op, shape } = self;
        op.encode(out);
        shape.encode(out);
    }
}

impl Decode for Node {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            op: Op::decode(reader)?,
            shape: Shape::decode(reader)?,
        })
    }
}

impl Encode for Graph {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            range_bits,
            nodes,
            parameters,
            tables,
            output,
        } = self;
        range_bits.encode(out);
        encode_list(nodes, out);
        encode_list(parameters, out);
        encode_length(tables.len(), out);
        tables.iter().for_each(|table| encode_list(table, out));
        index(*output, out);
    }
}

impl Decode for Graph {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let range_bits = u32::decode(reader)?;
        let nodes = reader.list(MAX_NODES, 5, "nodes")?;
        let parameters = reader.list(MAX_NODES, 4, "parameters")?;
        let count = reader.length(MAX_TABLES, 4, "tables")?;
        let tables = (0..count)
            .map(|_| reader.list(1 << RANGE_BITS.end(), 4, "table"))
            .collect::<Result<_, _>>()?;
        let graph = Self {
            range_bits,
            nodes,
            parameters,
            tables,
            output: read_index(reader)?,
        };
        match graph.validate() {
            Ok(()) => Ok(graph),
            Err(_) => Err(DecodeError::Invalid { what: "graph" }),
        }
    }
}
