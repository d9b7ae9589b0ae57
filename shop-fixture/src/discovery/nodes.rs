//! Owns which registry node a process asks: its own one for what it says about itself, each in turn for lookups, and the
//! others when one does not answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::runtime::Rt;

/// The registry nodes as this process knows them.
#[derive(Debug)]
pub struct Nodes {
    urls: Vec<String>,
    /// The node that is told about this process first.
    home: usize,
    turn: AtomicUsize,
}

/// One registry node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub number: usize,
    pub url: String,
}

impl Nodes {
    /// `spread` decides on the home node, so that not all processes have the same.
    #[must_use]
    pub fn new(urls: Vec<String>, spread: usize) -> Self {
        Self {
            home: spread % urls.len().max(1),
            turn: AtomicUsize::new(spread),
            urls,
        }
    }

    /// Nodes in the order in which they are to be told something.
    #[must_use]
    pub fn for_telling(&self, rt: &Rt) -> Vec<Node> {
        self.known(rt, self.home)
    }

    /// Nodes in the order in which they are to be asked: another one comes first each time.
    #[must_use]
    pub fn for_asking(&self, rt: &Rt) -> Vec<Node> {
        self.known(rt, self.turn.fetch_add(1, Ordering::Relaxed))
    }

    fn known(&self, rt: &Rt, first: usize) -> Vec<Node> {
        if rt.faults.is_on("registry_first_only") {
            return self.from(0).into_iter().take(1).collect();
        }
        self.from(first)
    }

    fn from(&self, first: usize) -> Vec<Node> {
        let count = self.urls.len();
        (0..count)
            .map(|step| first.wrapping_add(step) % count)
            .map(|number| Node {
                number,
                url: self.urls[number].clone(),
            })
            .collect()
    }
}

/// Whether calls of this process to a registry node are cut off now.
#[must_use]
pub fn is_cut_off(rt: &Rt, node: &Node) -> bool {
    let meant = rt.faults.find("partition").is_some_and(|params| {
        params["node"]
            .as_u64()
            .is_none_or(|cut| cut == node.number as u64)
    });
    meant && crate::faults::is_cut_off(rt, crate::catalog::REGISTRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(nodes: &Nodes, first: usize) -> Vec<usize> {
        nodes.from(first).iter().map(|node| node.number).collect()
    }

    #[test]
    fn every_node_comes_once_beginning_with_the_first_asked_for() {
        let urls = ["a", "b", "c"].map(str::to_owned).to_vec();
        let nodes = Nodes::new(urls, 4);
        assert_eq!(nodes.home, 1);
        assert_eq!(numbers(&nodes, 4), [1, 2, 0]);
        assert_eq!(numbers(&nodes, usize::MAX).len(), 3);
        assert_eq!(numbers(&Nodes::new(Vec::new(), 7), 2), [0_usize; 0]);
    }
}
