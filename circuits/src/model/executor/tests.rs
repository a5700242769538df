use std::collections::BTreeSet;

use agon_protocol::codec::{Decode, Encode};
use agon_protocol::statement::{Dataset, FeatureEncoding, InputEncoding};
use proptest::prelude::*;

use super::random_graph::{Case, case, cases};
use super::{BoundsError, InputError, IntegerModel, RunError, naive};
use crate::graph::{Graph, GraphError, Node, Op, Part, Route, Shape, SumAxis};

fn kind(op: &Op) -> &'static str {
    match op {
        Op::Input => "input",
        Op::Linear { .. } => "linear",
        Op::Conv { .. } => "conv",
        Op::Depthwise { .. } => "depthwise",
        Op::Scale { .. } => "scale",
        Op::Bias { .. } => "bias",
        Op::Route(_) => "route",
        Op::Multiply { .. } => "multiply",
        Op::MatMul { .. } => "matmul",
        Op::Requant { table: None, .. } => "requant",
        Op::Requant { .. } => "table",
        Op::Max { .. } => "max",
        Op::Isqrt { .. } => "isqrt",
        Op::Divide { .. } => "divide",
    }
}

#[test]
fn random_graphs_hold_every_operation() {
    let kinds: BTreeSet<&str> = (0..200)
        .flat_map(|seed| {
            case(seed)
                .graph
                .nodes
                .iter()
                .map(|n| kind(&n.op))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(kinds.len(), 14, "{kinds:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_executor_agrees_with_the_naive_interpreter_and_stays_within_its_intervals(case in cases()) {
        let model = case.model();
        let intervals = model.intervals().unwrap();
        for inputs in &case.inputs {
            let values = model.run(inputs).unwrap();
            let slow = naive::run(&case.graph, &case.parameters, inputs).unwrap();
            for node in 0..values.len() {
                let wide: Vec<i128> = values[node].iter().map(|v| i128::from(*v)).collect();
                prop_assert_eq!(&wide, &slow[node], "node {} {:?}", node, case.graph.nodes[node].op);
                for (value, interval) in values[node].iter().zip(&intervals[node]) {
                    prop_assert!(interval.low <= *value && *value <= interval.high, "node {}", node);
                }
            }
        }
    }

    #[test]
    fn graphs_and_models_round_trip(case in cases()) {
        let bytes = case.graph.to_bytes();
        prop_assert_eq!(&Graph::from_bytes(&bytes).unwrap(), &case.graph);
        let model = case.model();
        prop_assert_eq!(&IntegerModel::from_bytes(&model.to_bytes()).unwrap(), &model);
    }

    #[test]
    fn broken_encodings_are_refused_or_canonical(case in cases(), at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>()) {
        let mut bytes = case.graph.to_bytes();
        let place = at.index(bytes.len());
        if cut {
            prop_assert!(Graph::from_bytes(&bytes[..place]).is_err());
        } else {
            bytes[place] ^= flip;
            if let Ok(graph) = Graph::from_bytes(&bytes) {
                prop_assert_eq!(graph.to_bytes(), bytes);
                prop_assert_eq!(graph.validate(), Ok(()));
            }
        }
        let mut bytes = case.model().to_bytes();
        let place = at.index(bytes.len());
        if cut {
            prop_assert!(IntegerModel::from_bytes(&bytes[..place]).is_err());
        } else {
            bytes[place] ^= flip;
            if let Ok(model) = IntegerModel::from_bytes(&bytes) {
                prop_assert_eq!(model.to_bytes(), bytes);
            }
        }
    }
}

/// Two features, a sum and a difference, and their larger half.
fn small() -> Case {
    let route = |coefficient| Part {
        source: 0,
        start: vec![0],
        lengths: vec![2],
        base: 0,
        strides: vec![1],
        sums: vec![],
        coefficient,
    };
    let nodes = vec![
        (Op::Input, vec![2]),
        (
            Op::Linear {
                input: 0,
                weights: 0,
                contract: 1,
            },
            vec![2],
        ),
        (
            Op::Route(Route {
                parts: vec![route(1)],
            }),
            vec![2],
        ),
        (Op::Bias { input: 1, bias: 1 }, vec![2]),
        (Op::Max { inputs: vec![2, 3] }, vec![2]),
        (
            Op::Requant {
                input: 4,
                shift: 1,
                offset: 1,
                low: -10,
                high: 100,
                saturates: true,
                table: None,
            },
            vec![2],
        ),
    ];
    Case {
        graph: Graph {
            range_bits: 8,
            nodes: nodes
                .into_iter()
                .map(|(op, shape)| Node {
                    op,
                    shape: Shape(shape),
                })
                .collect(),
            parameters: vec![Shape(vec![2, 2]), Shape(vec![1])],
            tables: vec![],
            output: 5,
        },
        parameters: vec![vec![1, 1, 1, -1], vec![3]],
        encoding: InputEncoding {
            features: vec![
                FeatureEncoding {
                    exponent: 0,
                    offset: 0,
                    max: 200
                };
                2
            ],
        },
        inputs: vec![],
    }
}

#[test]
fn a_small_model_runs() {
    let model = small().model();
    assert_eq!(model.outputs(&[7, 5]).unwrap(), [8, 3]);
    assert_eq!(model.predict(&[7, 5]).unwrap(), 0);
    assert!(!format!("{model:?}").contains("-1"), "{model:?}");
    let data = Dataset::new(2, 2, vec![7, 5, 0, 0, 0, 90], vec![0, 1, 1]).unwrap();
    assert_eq!(model.accepts(&data), Ok(()));
    assert_eq!(model.predictions(&data).unwrap(), [0, 0, 0]);
    assert_eq!(model.correct(&data).unwrap(), 1);
}

#[test]
fn samples_outside_are_refused_by_name() {
    let model = small().model();
    let data = Dataset::new(2, 2, vec![7, 5, 1, 201], vec![0, 1]).unwrap();
    let error = InputError::Range {
        sample: 1,
        feature: 1,
        input: 201,
        max: 200,
    };
    assert_eq!(model.accepts(&data), Err(error.clone()));
    assert_eq!(model.predictions(&data), Err(RunError::Input(error)));
    assert!(matches!(
        model.run(&[1]),
        Err(RunError::Input(InputError::Width { .. }))
    ));
    // the second maximum's members are too far apart: 200 against 0 - 200 + 3
    let data = Dataset::new(2, 2, vec![7, 5, 0, 200], vec![0, 1]).unwrap();
    let error = model.predictions(&data).unwrap_err();
    let RunError::Value {
        sample: 1,
        node: 4,
        entry: 1,
        value: 397,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert!(error.to_string().contains("sample 1, node 4"), "{error}");
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let refuse = |change: fn(&mut Case)| {
        let mut case = small();
        change(&mut case);
        IntegerModel::new(case.graph, case.parameters, &case.encoding).unwrap_err()
    };
    assert!(matches!(
        refuse(|c| c.parameters[0][2] = (1 << 23) + 1),
        BoundsError::Number {
            parameter: 0,
            entry: 2,
            ..
        }
    ));
    assert!(matches!(
        refuse(|c| c.parameters[1][0] = (1 << 52) + 1),
        BoundsError::Number { parameter: 1, .. }
    ));
    assert!(matches!(
        refuse(|c| c.parameters[1].push(0)),
        BoundsError::Shape { parameter: 1, .. }
    ));
    assert!(matches!(
        refuse(|c| {
            c.parameters.pop();
        }),
        BoundsError::Parameters { .. }
    ));
    assert!(matches!(
        refuse(|c| {
            c.encoding.features.pop();
        }),
        BoundsError::Width { .. }
    ));
    assert!(matches!(
        refuse(|c| c.encoding.features[1].max = 5_000),
        BoundsError::InputRange { feature: 1, .. }
    ));
    assert!(matches!(
        refuse(|c| c.parameters[0][0] = 9),
        BoundsError::Overflow {
            node: 5,
            entry: 0,
            ..
        }
    ));
    assert!(matches!(
        refuse(
            |c| if let Op::Requant { saturates, .. } = &mut c.graph.nodes[5].op {
                *saturates = false
            }
        ),
        BoundsError::Overflow { node: 5, .. }
    ));
    assert!(matches!(
        refuse(|c| c.graph.output = 4),
        BoundsError::Graph(GraphError::Graph { .. })
    ));
}

#[test]
fn hostile_graphs_are_refused() {
    let refuse = |change: fn(&mut Graph)| {
        let mut graph = small().graph;
        assert_eq!(graph.validate(), Ok(()));
        change(&mut graph);
        let error = graph.validate();
        assert!(error.is_err(), "{graph:?}");
    };
    fn part(graph: &mut Graph) -> &mut Part {
        match &mut graph.nodes[2].op {
            Op::Route(route) => &mut route.parts[0],
            _ => unreachable!(),
        }
    }
    refuse(|g| part(g).source = 2);
    refuse(|g| part(g).source = usize::MAX);
    refuse(|g| part(g).coefficient = 0);
    refuse(|g| part(g).start = vec![1]);
    refuse(|g| part(g).start = vec![usize::MAX]);
    refuse(|g| part(g).start = vec![]);
    refuse(|g| part(g).lengths = vec![0]);
    refuse(|g| part(g).lengths = vec![usize::MAX]);
    refuse(|g| part(g).strides = vec![2]);
    refuse(|g| part(g).strides = vec![usize::MAX]);
    refuse(|g| part(g).base = 1);
    refuse(|g| part(g).base = usize::MAX);
    refuse(|g| {
        part(g).sums = vec![SumAxis {
            length: 0,
            stride: 0,
        }]
    });
    refuse(|g| {
        part(g).sums = vec![SumAxis {
            length: 2,
            stride: 1,
        }]
    });
    refuse(|g| {
        part(g).sums = vec![SumAxis {
            length: 1 << 24,
            stride: 0,
        }]
    });
    refuse(|g| {
        part(g).sums = vec![
            SumAxis {
                length: 1 << 13,
                stride: 0
            };
            5
        ]
    });
    refuse(|g| {
        part(g).sums = vec![
            SumAxis {
                length: 1,
                stride: 0
            };
            9
        ]
    });
    refuse(|g| g.nodes[2].op = Op::Route(Route { parts: vec![] }));
    refuse(|g| g.nodes[2].op = Op::Input);
    refuse(|g| g.nodes[0].shape = Shape(vec![]));
    refuse(|g| g.nodes[0].shape = Shape(vec![1; 6]));
    refuse(|g| g.nodes[0].shape = Shape(vec![0]));
    refuse(|g| g.nodes[0].shape = Shape(vec![1 << 17]));
    refuse(|g| g.nodes[0].shape = Shape(vec![usize::MAX, usize::MAX]));
    refuse(|g| g.nodes[4].op = Op::Max { inputs: vec![3] });
    refuse(|g| g.nodes[4].op = Op::Max { inputs: vec![2, 2] });
    refuse(|g| g.nodes[5].op = Op::Isqrt { input: 4 });
    refuse(|g| {
        g.nodes[1].op = Op::Linear {
            input: 0,
            weights: 0,
            contract: 2,
        }
    });
    refuse(|g| {
        g.nodes[1].op = Op::Linear {
            input: 0,
            weights: 0,
            contract: 0,
        }
    });
    refuse(|g| {
        g.nodes[1].op = Op::Linear {
            input: 0,
            weights: 2,
            contract: 1,
        }
    });
    refuse(|g| g.nodes[3].op = Op::Bias { input: 1, bias: 0 });
    refuse(|g| g.parameters[0] = Shape(vec![2, 3]));
    refuse(|g| g.parameters[0] = Shape(vec![usize::MAX, 2]));
    refuse(|g| g.parameters.push(Shape(vec![1])));
    refuse(|g| g.tables.push(vec![0; 3]));
    refuse(|g| g.range_bits = 7);
    refuse(|g| g.range_bits = 200);
    refuse(|g| g.output = usize::MAX);
    refuse(|g| g.nodes.clear());
    fn requant(
        graph: &mut Graph,
        change: fn(&mut u32, &mut i64, &mut i64, &mut i64, &mut Option<usize>),
    ) {
        match &mut graph.nodes[5].op {
            Op::Requant {
                shift,
                offset,
                low,
                high,
                table,
                ..
            } => change(shift, offset, low, high, table),
            _ => unreachable!(),
        }
    }
    refuse(|g| requant(g, |shift, _, _, _, _| *shift = 9));
    refuse(|g| requant(g, |_, offset, _, _, _| *offset = i64::MIN));
    refuse(|g| requant(g, |_, _, low, _, _| *low = 1));
    refuse(|g| requant(g, |_, _, low, _, _| *low = i64::MIN));
    refuse(|g| requant(g, |_, _, _, high, _| *high = -1));
    refuse(|g| requant(g, |_, _, _, high, _| *high = 246));
    refuse(|g| requant(g, |_, _, low, high, _| (*low, *high) = (0, 0)));
    refuse(|g| requant(g, |_, _, _, _, table| *table = Some(0)));
    refuse(|g| {
        g.tables.push(vec![0; 110]);
        requant(g, |_, _, _, _, table| *table = Some(0));
    });
}

#[test]
fn a_table_may_have_two_users() {
    let mut case = small();
    case.graph.tables.push((0..111).collect());
    let requant = |input| Op::Requant {
        input,
        shift: 1,
        offset: 1,
        low: -10,
        high: 100,
        saturates: true,
        table: Some(0),
    };
    case.graph.nodes[5].op = requant(4);
    case.graph.nodes.push(Node {
        op: requant(5),
        shape: Shape(vec![2]),
    });
    case.graph.output = 6;
    assert_eq!(case.model().outputs(&[7, 5]).unwrap(), [19, 17]);
}
