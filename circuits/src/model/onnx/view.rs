//! Strided views: a tensor of the file as an arrangement of the entries of one node.
//!
//! Reshaping, transposing, slicing and repeating only change the view. A [`Route`](crate::graph::Route) is made when an
//! operation needs the entries in another order than the node has them; until then chains of such moves cost nothing.

use crate::graph::{NodeId, Part};

/// One axis of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Axis {
    pub(super) length: usize,
    /// Distance in the node between neighbours; 0 repeats an entry, and always for axes of length 1.
    pub(super) stride: usize,
}

impl Axis {
    pub(super) fn new(length: usize, stride: usize) -> Self {
        let stride = if length == 1 { 0 } else { stride };
        Self { length, stride }
    }
}

/// Which entries of a node, and times what.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub(super) node: NodeId,
    /// The first entry.
    pub(super) base: usize,
    pub(super) axes: Vec<Axis>,
    /// Every entry is multiplied by this, not 0.
    pub(super) factor: f64,
}

/// The distances between neighbours of a row-major tensor.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Without the axes of length 1, but with at least one axis.
pub(super) fn squeezed(shape: &[usize]) -> Vec<usize> {
    let mut squeezed: Vec<usize> = shape.iter().copied().filter(|axis| *axis != 1).collect();
    if squeezed.is_empty() {
        squeezed.push(1);
    }
    squeezed
}

impl View {
    /// All of a node, row-major, as a tensor of `shape`.
    pub(super) fn whole(node: NodeId, shape: &[usize]) -> Self {
        let axes = shape.iter().zip(strides(shape));
        Self {
            node,
            base: 0,
            axes: axes
                .map(|(length, stride)| Axis::new(*length, stride))
                .collect(),
            factor: 1.0,
        }
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.length).collect()
    }

    pub(super) fn size(&self) -> usize {
        self.axes.iter().map(|axis| axis.length).product()
    }

    pub(super) fn with_axes(&self, axes: Vec<Axis>) -> Self {
        Self {
            axes,
            ..self.clone()
        }
    }

    pub(super) fn scaled(mut self, factor: f64) -> Self {
        self.factor *= factor;
        self
    }

    /// The axes in another order.
    pub(super) fn permuted(&self, order: &[usize]) -> Self {
        self.with_axes(order.iter().map(|axis| self.axes[*axis]).collect())
    }

    /// Every `step`-th entry along an axis.
    pub(super) fn sliced(&self, axis: usize, start: usize, length: usize, step: usize) -> Self {
        let mut view = self.clone();
        let stride = self.axes[axis].stride;
        view.base += start * stride;
        view.axes[axis] = Axis::new(length, stride * step);
        view
    }

    /// Repeated along axes of length 1, up to `shape`.
    pub(super) fn broadcast(&self, shape: &[usize]) -> Option<Self> {
        let missing = shape.len().checked_sub(self.axes.len())?;
        let axes = shape.iter().enumerate().map(|(index, length)| {
            match index.checked_sub(missing).map(|own| self.axes[own]) {
                Some(axis) if axis.length == *length => Some(axis),
                Some(axis) if axis.length != 1 => None,
                _ => Some(Axis::new(*length, 0)),
            }
        });
        Some(self.with_axes(axes.collect::<Option<_>>()?))
    }

    /// The same entries in the same order as a tensor of another shape, when strides can say it.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        if shape.iter().product::<usize>() != self.size() {
            return None;
        }
        let own: Vec<Axis> = self
            .axes
            .iter()
            .copied()
            .filter(|axis| axis.length > 1)
            .collect();
        let mut axes = vec![Axis::new(1, 0); shape.len()];
        let (mut from, mut to) = (0, 0);
        while from < own.len() {
            // the shortest runs of axes, here and there, with as many entries
            let (first_from, first_to) = (from, to);
            let (mut here, mut there) = (own[from].length, *shape.get(to)?);
            (from, to) = (from + 1, to + 1);
            while here != there {
                if here < there {
                    here *= own.get(from)?.length;
                    from += 1;
                } else {
                    there *= shape.get(to)?;
                    to += 1;
                }
            }
            let run = &own[first_from..from];
            let contiguous = run
                .windows(2)
                .all(|pair| pair[0].stride == pair[1].stride * pair[1].length);
            if !contiguous {
                return None;
            }
            let mut stride = run.last()?.stride;
            for index in (first_to..to).rev() {
                axes[index] = Axis::new(shape[index], stride);
                stride *= shape[index];
            }
        }
        Some(self.with_axes(axes))
    }

    /// The order of the axes in which the entries come as the node has them, when every entry comes exactly once.
    pub(super) fn node_order(&self, size: usize) -> Option<Vec<usize>> {
        if self.base != 0 {
            return None;
        }
        let mut order: Vec<usize> = (0..self.axes.len()).collect();
        order.sort_by_key(|axis| std::cmp::Reverse(self.axes[*axis].stride));
        let mut below = 1;
        for axis in order.iter().rev().map(|axis| self.axes[*axis]) {
            if axis.length == 1 {
                continue;
            }
            if axis.stride != below {
                return None;
            }
            below *= axis.length;
        }
        (below == size).then_some(order)
    }

    /// Whether it is all of a node of `size` entries, in the node's order.
    pub(super) fn is_whole(&self, size: usize) -> bool {
        self.reshaped(&[self.size()]).is_some_and(|flat| {
            flat.base == 0 && self.size() == size && (size == 1 || flat.axes[0].stride == 1)
        })
    }

    /// Whether every entry of the node appears at least once, and no axis skips any.
    pub(super) fn covers(&self, size: usize) -> bool {
        let moving: Vec<Axis> = self
            .axes
            .iter()
            .copied()
            .filter(|axis| axis.stride > 0)
            .collect();
        self.with_axes(moving).node_order(size).is_some()
    }

    /// `other`, a view of the same shape, arranged as the node of this one is: entry `e` of the result goes with entry
    /// `e` of this view's node.
    pub(super) fn beside(&self, other: &Self, node_shape: &[usize]) -> Option<Self> {
        let order = self.node_order(node_shape.iter().product())?;
        other.permuted(&order).reshaped(node_shape)
    }

    /// This view of the node, seen through `inner`, a view of another node with this node's shape.
    pub(super) fn through(&self, inner: &Self) -> Option<Self> {
        let order = self.node_order(inner.size())?;
        let lengths: Vec<usize> = order.iter().map(|axis| self.axes[*axis].length).collect();
        let split = inner.reshaped(&lengths)?;
        let mut axes = self.axes.clone();
        for (axis, place) in split.axes.iter().zip(&order) {
            axes[*place] = *axis;
        }
        let factor = self.factor * inner.factor;
        Some(Self {
            axes,
            factor,
            ..inner.clone()
        })
    }

    /// The axis of a node of `shape` that an axis of this view runs along, exactly.
    pub(super) fn node_axis(&self, axis: usize, shape: &[usize]) -> Option<usize> {
        let own = self.axes[axis];
        let mut axes = shape.iter().zip(strides(shape));
        axes.position(|(length, stride)| *length > 1 && Axis::new(*length, stride) == own)
    }

    /// Where each entry is in the node, row-major.
    pub(super) fn places(&self) -> Vec<usize> {
        let mut places = vec![self.base];
        for axis in &self.axes {
            places = places
                .iter()
                .flat_map(|place| (0..axis.length).map(move |index| place + index * axis.stride))
                .collect();
        }
        places
    }

    /// As a box of outputs that begins at `start`.
    pub(super) fn part(&self, start: Vec<usize>, coefficient: i32) -> Part {
        Part {
            source: self.node,
            start,
            lengths: self.shape(),
            base: self.base,
            strides: self.axes.iter().map(|axis| axis.stride).collect(),
            sums: vec![],
            coefficient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(view: &View) -> Vec<usize> {
        view.places()
    }

    #[test]
    fn reshapes_what_strides_can_say_and_nothing_else() {
        let view = View::whole(0, &[2, 3, 4]);
        assert_eq!(
            entries(&view.reshaped(&[6, 1, 4]).unwrap()),
            (0..24).collect::<Vec<_>>()
        );
        let turned = view.permuted(&[1, 0, 2]);
        assert_eq!(turned.reshaped(&[6, 4]), None);
        let split = turned.reshaped(&[3, 2, 2, 2]).unwrap();
        assert_eq!(entries(&split), entries(&turned));
        assert!(!turned.is_whole(24) && view.is_whole(24));
    }

    #[test]
    fn finds_the_order_of_the_node() {
        let view = View::whole(0, &[2, 3, 4]).permuted(&[2, 0, 1]);
        assert_eq!(view.node_order(24), Some(vec![1, 2, 0]));
        assert_eq!(view.sliced(0, 1, 2, 1).node_order(24), None);
        let other = View::whole(1, &[4, 2, 3]);
        let beside = view.beside(&other, &[2, 3, 4]).unwrap();
        // entry (c, a, b) of both views
        assert_eq!(entries(&beside)[1], 6);
        let inner = View::whole(5, &[2, 3, 4]);
        assert_eq!(view.through(&inner).unwrap().axes, view.axes);
    }
}
