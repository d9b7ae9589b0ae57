//! Keeping the newest few of many rows, for lists that are cut.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The rows with the highest keys, at most `limit` of them (`None`: all), and how many there were.
pub struct Newest<K: Ord, T> {
    limit: Option<usize>,
    heap: BinaryHeap<Reverse<Entry<K, T>>>,
    offered: u64,
}

struct Entry<K, T> {
    key: K,
    /// Rows of one key keep the order they came in.
    order: u64,
    row: T,
}

impl<K: Ord, T> PartialEq for Entry<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Ord, T> Eq for Entry<K, T> {}

impl<K: Ord, T> PartialOrd for Entry<K, T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, T> Ord for Entry<K, T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key).then(self.order.cmp(&other.order))
    }
}

impl<K: Ord, T> Newest<K, T> {
    pub fn new(limit: Option<usize>) -> Newest<K, T> {
        Newest {
            limit,
            heap: BinaryHeap::new(),
            offered: 0,
        }
    }

    pub fn offer(&mut self, key: K, row: T) {
        let order = self.offered;
        self.offered += 1;
        self.heap.push(Reverse(Entry { key, order, row }));
        if self.limit.is_some_and(|limit| self.heap.len() > limit) {
            self.heap.pop();
        }
    }

    /// How many were offered and not kept.
    pub fn left_out(&self) -> u64 {
        self.offered - self.heap.len() as u64
    }

    /// The rows kept, oldest first.
    pub fn into_rows(self) -> Vec<T> {
        let mut entries: Vec<Entry<K, T>> =
            self.heap.into_iter().map(|Reverse(entry)| entry).collect();
        entries.sort();
        entries.into_iter().map(|entry| entry.row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_in_order() {
        let mut newest = Newest::new(Some(3));
        for (key, row) in [(5, 'a'), (1, 'b'), (9, 'c'), (5, 'd'), (7, 'e')] {
            newest.offer(key, row);
        }
        assert_eq!(newest.left_out(), 2);
        assert_eq!(newest.into_rows(), ['d', 'e', 'c']);
        let mut all = Newest::new(None);
        (0..10).rev().for_each(|i| all.offer(i, i));
        assert_eq!(all.into_rows(), (0..10).collect::<Vec<_>>());
    }
}
