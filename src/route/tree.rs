//! Path patterns as a tree of segments.

use super::{
    Candidates,
    pattern::{PathPattern, Segment},
};
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

    /// Adds the values of all patterns that match `path`.
    pub(super) fn find(&self, path: &NormalizedPath<'_>, found: &mut Candidates) {
        let mut segments = path.segments();
        self.walk(&mut || segments.next().map(Some), true, found);
    }

    /// Adds the values of all patterns that match every path that `pattern` matches. Says how many nodes it went through.
    pub(super) fn find_covering(&self, pattern: &PathPattern, found: &mut Candidates) -> usize {
        let mut segments = pattern.segments.iter().map(|segment| match segment {
            Segment::Literal(literal) => Some(literal.as_str()),
            Segment::Variable(_) => None,
        });
        self.walk(&mut || segments.next(), !pattern.prefix, found)
    }

    /// A segment that is `None` is any one. What `ends` has nothing behind its last one.
    fn walk<'a>(
        &self,
        next_segment: &mut dyn FnMut() -> Option<Option<&'a str>>,
        ends: bool,
        found: &mut Candidates,
    ) -> usize {
        // More than one node only where a literal and a variable both fit.
        let mut nodes = vec![&self.root];
        let mut visited = 1_usize;
        found.add_all(&self.root.prefix);
        while let Some(segment) = next_segment() {
            let mut next = Vec::with_capacity(nodes.len());
            for node in nodes {
                let literal = segment.and_then(|segment| node.literal(segment));
                for child in [literal, node.variable.as_deref()].into_iter().flatten() {
                    found.add_all(&child.prefix);
                    next.push(child);
                }
            }
            if next.is_empty() {
                return visited;
            }
            visited = visited.saturating_add(next.len());
            nodes = next;
        }
        if ends {
            nodes.iter().for_each(|node| found.add_all(&node.exact));
        }
        visited
    }
}
