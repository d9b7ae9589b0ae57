//! Rows by text: what a join needs that asks a segment for one text after the other.

use std::sync::Arc;

use crate::segment::read::TextArena;

/// For each text of a dictionary the rows that hold it.
pub(super) struct Lookup {
    arena: Arc<TextArena>,
    /// Numbers of the dictionary in the order of their texts.
    sorted: Vec<u32>,
    /// Where the rows of each number begin; one more entry than numbers.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Lookup {
    pub(super) fn new(arena: Arc<TextArena>, numbers: &[u32]) -> Lookup {
        let mut sorted: Vec<u32> = (0..arena.len() as u32).collect();
        sorted.sort_unstable_by(|a, b| arena.get(*a).cmp(arena.get(*b)));
        let mut starts = vec![0u32; arena.len() + 1];
        for number in numbers {
            starts[*number as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut rows = vec![0u32; numbers.len()];
        for (row, number) in numbers.iter().enumerate() {
            let place = &mut next[*number as usize];
            rows[*place as usize] = row as u32;
            *place += 1;
        }
        Lookup {
            arena,
            sorted,
            starts,
            rows,
        }
    }

    pub(super) fn rows(&self, text: &str) -> &[u32] {
        let found = self
            .sorted
            .binary_search_by(|number| self.arena.get(*number).cmp(text.as_bytes()));
        match found {
            Ok(at) => {
                let number = self.sorted[at] as usize;
                &self.rows[self.starts[number] as usize..self.starts[number + 1] as usize]
            }
            Err(_) => &[],
        }
    }
}
