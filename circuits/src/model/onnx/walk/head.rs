//! The end of a model: scores of one axis, and what they mean.

use agon_protocol::limits::MAX_CLASSES;

use super::{Builder, ImportError, Step, View};
use crate::graph::NodeId;
use crate::model::float_graph::{FloatOp, Function, Head};
use crate::model::onnx::pointwise;

/// The node of the scores. What is left of a tail that keeps their order is cut.
pub(super) fn finish(
    builder: &mut Builder,
    view: &View,
    classifies: bool,
) -> Result<(NodeId, Head), ImportError> {
    let (mut view, mut classifies) = (view.clone(), classifies);
    while let Some(input) = before_tail(builder, &view, classifies)? {
        view.node = input;
        view.factor = 1.0;
        classifies = true;
    }
    if let Some(logit) = complement(builder, &view) {
        view = View::whole(logit, &[1]);
        classifies = true;
    }
    let outputs = view.size();
    if outputs > MAX_CLASSES {
        return Err(ImportError::NotClassifier {
            reason: format!(
                "it has {outputs} outputs, at most {MAX_CLASSES} classes are supported"
            ),
        });
    }
    let view = builder.settled(&view)?;
    let view = builder.plain(&view)?;
    let node = builder.entries(&view, &[outputs])?;
    let head = match (outputs, classifies) {
        (1, true) => Head::Logit,
        (1, false) => Head::Single,
        _ => Head::Classes,
    };
    Ok((node, head))
}

/// The scores that an increasing function was applied to.
fn before_tail(builder: &mut Builder, view: &View, classifies: bool) -> Step<NodeId> {
    let whole = view.factor > 0.0 && view.node_order(builder.size(view.node)).is_some();
    if !whole {
        return Ok(None);
    }
    if let Some(FloatOp::Route { route, factor }) = &builder.drafts[view.node].op {
        // the same function of each score by itself
        let (mut parts, factor) = (route.parts.clone(), *factor);
        let mut terms = 0;
        for part in &mut parts {
            match before_function(builder, part.source, classifies) {
                Some(input) if part.sums.is_empty() && part.coefficient == 1 => part.source = input,
                _ => return Ok(None),
            }
            terms += part.terms();
        }
        if factor <= 0.0 || terms != view.size() {
            return Ok(None);
        }
        let shape = builder.shape(view.node).to_vec();
        return Ok(Some(builder.route(parts, 1.0, &shape)?));
    }
    Ok(
        before_function(builder, view.node, classifies && view.size() > 1)
            .filter(|input| builder.shape(*input).last() == builder.shape(view.node).last()),
    )
}

fn before_function(builder: &Builder, node: NodeId, classifies: bool) -> Option<NodeId> {
    match builder.drafts[node].op.as_ref()? {
        FloatOp::Apply {
            input,
            function: Function::Sigmoid,
        } => Some(*input),
        FloatOp::Apply {
            input,
            function: Function::Exp,
        } if classifies => Some(*input),
        FloatOp::Softmax { input }
            if builder.shape(*input).last() == Some(&builder.size(*input)) =>
        {
            Some(*input)
        }
        _ => None,
    }
}

/// The logit `y` of two shares `1 - sigmoid(y)` and `sigmoid(y)`.
fn complement(builder: &Builder, view: &View) -> Option<NodeId> {
    if view.size() != 2 || !view.is_whole(builder.size(view.node)) || view.factor < 0.0 {
        return None;
    }
    // both may be added to: 1 - p is often -p and a bias on the pair
    let (mut node, mut shifts) = (view.node, [0.0, 0.0]);
    if let FloatOp::Bias { input, bias } = builder.drafts[node].op.as_ref()? {
        for (index, shift) in shifts.iter_mut().enumerate() {
            *shift = bias.values[index % bias.values.len()];
        }
        node = *input;
    }
    let FloatOp::Route { route, factor } = builder.drafts[node].op.as_ref()? else {
        return None;
    };
    let mut parts: Vec<_> = route.parts.iter().collect();
    parts.sort_by_key(|part| part.start.last().copied());
    let [first, second] = parts.as_slice() else {
        return None;
    };
    let samples = [(first, shifts[0]), (second, shifts[1])].map(|(part, shift)| {
        let single = part.terms() == 1 && builder.size(part.source) == 1;
        let source = View {
            factor: factor * f64::from(part.coefficient),
            ..View::whole(part.source, &[1])
        };
        match single {
            true => builder
                .samples(&source)
                .into_iter()
                .map(|(root, values)| {
                    (root, pointwise::map(&values, |x| (x + shift) * view.factor))
                })
                .collect(),
            false => Vec::new(),
        }
    });
    let sigmoid = pointwise::map(&pointwise::identity(), |x| Function::Sigmoid.eval(x));
    let rest = pointwise::map(&sigmoid, |share| 1.0 - share);
    let [first, second] = samples;
    second
        .iter()
        .filter(|(_, values)| pointwise::agree(values, &sigmoid))
        .find(|(root, _)| {
            first
                .iter()
                .any(|(other, values)| other == root && pointwise::agree(values, &rest))
        })
        .map(|(root, _)| *root)
}
