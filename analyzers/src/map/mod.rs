//! The service map: who calls whom, how often, how fast, how well; by service, operation, version and edge.
//!
//! `gather` keeps of every span what the map needs, `build` puts it together once all have come. A service's requests
//! are the calls it serves; one that serves nobody is judged by the traces it begins. An edge is measured where the
//! caller stands: that is what the caller got. Stores, brokers and what lies outside are nodes of their own, known only
//! through those who call them.

mod build;
mod compare;
mod gather;
mod series;
#[cfg(test)]
mod tests;

use case::Window;
use serde::Serialize;

pub use compare::{Against, against};
pub use gather::Gather;
pub use series::Series;

use crate::exact::Stats;
use crate::red::Slot;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    Service,
    Store,
    Broker,
    /// Called by address, and nobody known lives there; or the callers nobody knows.
    Outside,
}

/// How one node uses another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    Call,
    /// A message, from who sent it to who took it up.
    Message,
    /// Statements to a store.
    Store,
}

/// Counts, quantiles and what failures were called, most frequent first.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Red {
    #[serde(flatten)]
    pub stats: Stats,
    /// Requests a second over the window.
    pub rate: f64,
    pub error_kinds: Vec<ErrorKind>,
}

/// One kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorKind {
    pub kind: String,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    pub name: String,
    pub kind: NodeKind,
    #[serde(flatten)]
    pub red: Red,
    /// Those that sent spans.
    pub instances: usize,
    pub versions: Vec<Part>,
    pub operations: Vec<Part>,
    /// Requests and errors per stretch of the window; for what is no service, as its callers saw them.
    pub over_time: Vec<Slot>,
}

/// One operation or version of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    pub name: String,
    #[serde(flatten)]
    pub red: Red,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edge {
    pub from: String,
    pub to: String,
    pub kind: EdgeKind,
    #[serde(flatten)]
    pub red: Red,
    /// Calls of which the other side left no span.
    pub unseen: u64,
}

/// The map of a window. Nodes and edges in the order of their names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceMap {
    pub window: Window,
    pub spans: u64,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// Client spans that do not say whom they called, and whose other side left no span.
    pub unattributed: u64,
}

/// Those who call from outside.
pub const OUTSIDE: &str = "(outside)";

impl ServiceMap {
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    pub fn services(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(|node| node.kind == NodeKind::Service)
    }

    pub fn out_of(&self, name: &str) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.from == name)
    }

    pub fn into_node(&self, name: &str) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.to == name)
    }
}
