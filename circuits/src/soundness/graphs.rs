//! Networks small enough to attack often, with room to lie in.

use crate::argument::tests::graphs::{Builder, Example};
use crate::graph::{Op, Part, Route};

fn requant(low: i64, high: i64, shift: u32, input: usize, saturates: bool) -> Op {
    Op::Requant {
        input,
        shift,
        offset: 1,
        low,
        high,
        saturates,
        table: None,
    }
}

/// Inputs, a dense layer, two requantisations one after the other, the last with `outputs` of range `-100..=100`.
pub(super) fn two_steps(outputs: usize) -> Example {
    let mut b = Builder::new(8, &[3]);
    let y = b.linear(0, outputs, 1);
    let h = b.add(requant(-100, 100, 5, y, true), &[outputs]);
    let output = b.add(requant(-100, 100, 1, h, true), &[outputs]);
    b.graph.output = output;
    Example {
        graph: b.graph,
        parameters: b.parameters,
    }
}

/// Two functions, of tables of one length, of two halves of the inputs.
pub(super) fn two_tables() -> Example {
    let mut b = Builder::new(8, &[4]);
    let halves: Vec<usize> = [0, 2]
        .into_iter()
        .map(|base| {
            let part = Builder::part(0, &[2], base, &[1]);
            b.add(Op::Route(Route { parts: vec![part] }), &[2])
        })
        .collect();
    let first = (0..64).map(|x| x * x % 50).collect();
    let second = (0..64).map(|x| 49 - x * x % 50).collect();
    let first = b.requant(halves[0], 1, 0, 63, Some(first));
    let second = b.requant(halves[1], 1, 0, 63, Some(second));
    let sum = Route {
        parts: [first, second]
            .map(|source| Builder::part(source, &[2], 0, &[1]))
            .to_vec(),
    };
    let y = b.add(Op::Route(sum), &[2]);
    b.finish_within(y, -100, 100)
}

/// The larger of two entries, the root and a quotient of the first two, as logits.
pub(super) fn committed_operations() -> Example {
    let mut b = Builder::new(8, &[4]);
    let pick = |b: &mut Builder, base: usize| {
        let part = Builder::part(0, &[2], base, &[1]);
        b.add(Op::Route(Route { parts: vec![part] }), &[2])
    };
    let (left, right) = (pick(&mut b, 0), pick(&mut b, 2));
    let largest = b.add(
        Op::Max {
            inputs: vec![left, right],
        },
        &[2],
    );
    let root = b.add(Op::Isqrt { input: left }, &[2]);
    let one = b.parameter(&[1], 0);
    b.parameters[one] = vec![1];
    let denominator = b.add(
        Op::Bias {
            input: right,
            bias: one,
        },
        &[2],
    );
    let quotient = b.add(
        Op::Divide {
            numerator: left,
            denominator,
            shift: 1,
            low: 0,
            high: 200,
        },
        &[2],
    );
    let at = |source, start: usize| Part {
        start: vec![start],
        ..Builder::part(source, &[2], 0, &[1])
    };
    let all = Route {
        parts: vec![at(largest, 0), at(root, 2), at(quotient, 4)],
    };
    let y = b.add(Op::Route(all), &[6]);
    b.finish_within(y, 0, 200)
}
