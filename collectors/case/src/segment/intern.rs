//! Texts kept once: columns hold numbers into such a table.

use std::hash::{BuildHasher, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Distinct texts in the order they first came.
#[derive(Debug)]
pub(crate) struct Interner {
    arena: Vec<u8>,
    /// Where each text ends in the arena.
    ends: Vec<u32>,
    /// Open addressing: half a text's hash above, its number + 1 below; 0 where there is none. The hash beside the
    /// number spares a look at the text, which mostly lies out of the processor's reach.
    slots: Vec<u64>,
    /// Texts come from anybody: nobody shall know which of them collide.
    seed: u64,
}

impl Default for Interner {
    fn default() -> Self {
        Interner {
            arena: Vec::new(),
            ends: Vec::new(),
            slots: vec![0; 64],
            seed: RandomState::new().build_hasher().finish(),
        }
    }
}

impl Interner {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds a text without looking whether it is known. From then on the table can't be looked up in any more; its
    /// order is what a dictionary should have.
    pub(crate) fn append(&mut self, text: &[u8]) -> u32 {
        self.slots.clear();
        self.arena.extend_from_slice(text);
        self.ends.push(self.arena.len() as u32);
        self.ends.len() as u32 - 1
    }

    /// Adds a text that hardly can be known, without looking. It is not found again either: a text may have several
    /// numbers.
    pub(crate) fn add(&mut self, text: &[u8]) -> u32 {
        self.arena.extend_from_slice(text);
        self.ends.push(self.arena.len() as u32);
        self.ends.len() as u32 - 1
    }

    /// Whether the table was made by [`Interner::append`].
    pub(crate) fn is_ordered(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn get(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let from = if index == 0 {
            0
        } else {
            self.ends[index - 1] as usize
        };
        &self.arena[from..self.ends[index] as usize]
    }

    /// The number of a text, new or known.
    pub(crate) fn intern(&mut self, text: &[u8]) -> u32 {
        let hash = xxh3_64_with_seed(text, self.seed) as u32;
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            match self.slots[slot] {
                0 => break,
                entry if (entry >> 32) as u32 == hash => {
                    let index = entry as u32 - 1;
                    if self.get(index) == text {
                        return index;
                    }
                }
                _ => {}
            }
            slot = (slot + 1) & mask;
        }
        let index = self.ends.len() as u32;
        self.arena.extend_from_slice(text);
        // A segment's log is bounded far below 4 GiB, and so is every arena made from it.
        self.ends.push(self.arena.len() as u32);
        self.slots[slot] = u64::from(hash) << 32 | u64::from(index + 1);
        if self.ends.len() * 2 > self.slots.len() {
            self.grow();
        }
        index
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 4 - 1;
        let mut slots = vec![0u64; mask + 1];
        for entry in self.slots.iter().filter(|entry| **entry != 0) {
            let mut slot = (entry >> 32) as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = *entry;
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_a_number_and_read_back() {
        let mut table = Interner::default();
        let numbers: Vec<u32> = (0..10_000)
            .map(|i| table.intern(format!("text {}", i % 3_000).as_bytes()))
            .collect();
        assert_eq!(table.len(), 3_000);
        for (i, number) in numbers.iter().enumerate() {
            assert_eq!(table.get(*number), format!("text {}", i % 3_000).as_bytes());
        }
        assert_eq!(table.intern(b""), 3_000);
        assert_eq!(table.get(3_000), b"");
    }
}
