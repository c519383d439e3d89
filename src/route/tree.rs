//! Path patterns as a tree of segments.

use std::collections::HashMap;

use super::pattern::{PathPattern, Segment};
use crate::path::NormalizedPath;

/// Finds the patterns that match a path in one walk along its segments. The work is bounded by the number of patterns,
/// whatever the path.
#[derive(Debug, Clone, Default)]
pub(super) struct PathTree {
    root: Node,
    patterns: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    variable: Option<Box<Node>>,
    /// What matches a path that ends here.
    exact: Vec<usize>,
    /// What matches a path that ends here or goes on.
    prefix: Vec<usize>,
}

impl PathTree {
    pub(super) const fn is_empty(&self) -> bool {
        self.patterns == 0
    }

    pub(super) fn insert(&mut self, pattern: &PathPattern, value: usize) {
        let mut node = &mut self.root;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(literal) => node.literals.entry(literal.as_str().into()).or_default(),
                Segment::Variable => node.variable.get_or_insert_default(),
            };
        }
        if pattern.prefix {
            node.prefix.push(value)
        } else {
            node.exact.push(value)
        }
        self.patterns = self.patterns.saturating_add(1);
    }

    /// Adds the values of all patterns that match `path`, in no order.
    pub(super) fn find(&self, path: &NormalizedPath<'_>, values: &mut Vec<usize>) {
        // More than one node only where a literal and a variable both fit.
        let mut nodes = vec![&self.root];
        values.extend_from_slice(&self.root.prefix);
        for segment in path.segments() {
            let mut next = Vec::with_capacity(nodes.len());
            for node in nodes {
                let fitting = node.literals.get(segment).into_iter().chain(node.variable.as_deref());
                for child in fitting {
                    values.extend_from_slice(&child.prefix);
                    next.push(child);
                }
            }
            if next.is_empty() {
                return;
            }
            nodes = next;
        }
        for node in nodes {
            values.extend_from_slice(&node.exact);
        }
    }
}
