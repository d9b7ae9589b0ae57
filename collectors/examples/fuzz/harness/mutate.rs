//! Mutations that know a little of what formats are made of: bytes, lengths, numbers, words, brackets, repetition.

/// Makes new inputs from old ones; the same seed makes the same ones.
pub(crate) struct Mutator {
    state: u64,
    words: &'static [&'static [u8]],
}

/// Numbers that lie on edges, as text and as bytes.
const EDGES: [i64; 12] = [
    0,
    1,
    -1,
    127,
    128,
    255,
    256,
    65_535,
    i32::MAX as i64,
    u32::MAX as i64,
    i64::MAX,
    i64::MIN,
];

const BRACKETS: [(u8, u8); 3] = [(b'{', b'}'), (b'[', b']'), (b'"', b'"')];

impl Mutator {
    pub(crate) fn new(seed: u64, words: &'static [&'static [u8]]) -> Mutator {
        // Any state but zero will do; neighbouring seeds should not start alike.
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Mutator { state, words }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// One of the inputs, changed in one to eight places.
    pub(crate) fn mutated(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(8) {
            self.change(&mut input, inputs);
        }
        input
    }

    fn range(&mut self, input: &[u8], longest: usize) -> std::ops::Range<usize> {
        let start = self.below(input.len() + 1);
        let length = self.below(longest + 1).min(input.len() - start);
        start..start + length
    }

    fn change(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        match self.below(14) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.next() as u8,
            2 => input.insert(at, self.next() as u8),
            3 => input.truncate(at),
            4 => {
                let range = self.range(input, 32);
                input.drain(range);
            }
            5 => {
                // Repetition and nesting: the same again, now and then very often.
                let range = self.range(input, 64);
                let times = if self.below(8) == 0 {
                    self.below(300)
                } else {
                    2
                };
                let again = input[range].repeat(times);
                input.splice(at..at, again);
            }
            6 => {
                let other = &inputs[self.below(inputs.len())];
                let range = self.range(other, 400);
                let piece = other[range].to_vec();
                input.splice(at..at, piece);
            }
            7 | 8 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len())];
                let end = if self.below(2) == 0 {
                    at
                } else {
                    (at + word.len()).min(input.len())
                };
                input.splice(at..end, word.iter().copied());
            }
            9 => {
                let number = EDGES[self.below(EDGES.len())];
                let text = number.to_string().into_bytes();
                match self.number_near(input, at) {
                    Some(digits) => drop(input.splice(digits, text)),
                    None => drop(input.splice(at..at, text)),
                }
            }
            10 => {
                let number = EDGES[self.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)];
                let end = (at + width).min(input.len());
                input.splice(at..end, number[..width].iter().copied());
            }
            11 => {
                // A length made to lie by a little.
                if let Some(byte) = input.get_mut(at) {
                    *byte = byte.wrapping_add(1);
                }
            }
            12 => {
                let (open, close) = BRACKETS[self.below(BRACKETS.len())];
                let depth = if self.below(16) == 0 {
                    self.below(5000)
                } else {
                    self.below(4)
                };
                let mut nest = vec![open; depth];
                nest.extend(vec![close; depth]);
                input.splice(at..at, nest);
            }
            _ => {
                // Two pieces change places.
                let range = self.range(input, 40);
                let piece: Vec<u8> = input.drain(range).collect();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
        }
    }

    /// The first run of digits at or after a place.
    fn number_near(&mut self, input: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
        let start = at + input[at..].iter().position(u8::is_ascii_digit)?;
        let length = input[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        Some(start..start + length)
    }
}
