//! Path patterns as a tree of segments.

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
    /// Ascending by segment.
    literals: Vec<(Box<str>, Node)>,
    variable: Option<Box<Node>>,
    /// What matches a path that ends here.
    exact: Vec<usize>,
    /// What matches a path that ends here or goes on.
    prefix: Vec<usize>,
}

impl Node {
    fn literal(&self, segment: &str) -> Option<&Self> {
        let index = self.position(segment).ok()?;
        self.literals.get(index).map(|(_, node)| node)
    }

    fn position(&self, segment: &str) -> Result<usize, usize> {
        self.literals.binary_search_by(|(literal, _)| (**literal).cmp(segment))
    }
}

impl PathTree {
    pub(super) const fn is_empty(&self) -> bool {
        self.patterns == 0
    }

    /// Adds a pattern.
    pub(super) fn insert(&mut self, pattern: &PathPattern, value: usize) {
        self.patterns = self.patterns.saturating_add(1);
        let mut node = &mut self.root;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Variable(_) => node.variable.get_or_insert_default(),
                Segment::Literal(literal) => {
                    let index = node.position(literal).unwrap_or_else(|index| {
                        node.literals.insert(index, (literal.as_str().into(), Node::default()));
                        index
                    });
                    // The index was just found or filled.
                    let Some((_, child)) = node.literals.get_mut(index) else { return };
                    child
                }
            };
        }
        if pattern.prefix { node.prefix.push(value) } else { node.exact.push(value) }
    }

    /// Hands over the values of all patterns that match `path`, in no order.
    pub(super) fn find<'a>(&'a self, path: &NormalizedPath<'_>, found: impl FnMut(&'a [usize])) {
        self.walk(path.segments().map(Some), true, found);
    }

    /// Hands over the values of all patterns that match every path that `pattern` matches, in no order.
    pub(super) fn find_covering<'a>(&'a self, pattern: &PathPattern, found: impl FnMut(&'a [usize])) {
        let segments = pattern.segments.iter().map(|segment| match segment {
            Segment::Literal(literal) => Some(literal.as_str()),
            Segment::Variable(_) => None,
        });
        self.walk(segments, !pattern.prefix, found);
    }

    /// `None` as a segment is any one. What `ends` has nothing behind its last one.
    fn walk<'a, 's>(
        &'a self,
        segments: impl Iterator<Item = Option<&'s str>>,
        ends: bool,
        mut found: impl FnMut(&'a [usize]),
    ) {
        // More than one node only where a literal and a variable both fit.
        let mut nodes = vec![&self.root];
        found(&self.root.prefix);
        for segment in segments {
            let mut next = Vec::with_capacity(nodes.len());
            for node in nodes {
                for child in
                    [segment.and_then(|segment| node.literal(segment)), node.variable.as_deref()].into_iter().flatten()
                {
                    found(&child.prefix);
                    next.push(child);
                }
            }
            if next.is_empty() {
                return;
            }
            nodes = next;
        }
        if ends {
            nodes.iter().for_each(|node| found(&node.exact));
        }
    }
}
