//! New ids for old ones: a permutation keyed by a seed. Nothing has to be remembered, no two ids meet, and whatever
//! names an id (parents, links, logs, exemplars) names the new one as well.

use case::{SpanId, TraceId};

/// Which new ids are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    key: u64,
}

impl Renewal {
    /// The same for the same seed and pass, on any machine.
    pub fn new(seed: u64, pass: u64) -> Renewal {
        Renewal {
            key: mix(mix(seed) ^ pass),
        }
    }

    pub fn trace_id(&self, id: TraceId) -> TraceId {
        if !id.is_some() {
            return id;
        }
        let [mut high, mut low] = halves(id);
        // Zeros mean "no id": whatever lands there goes round once more, which it can't do twice.
        loop {
            for round in 0..ROUNDS {
                (high, low) = (low, high ^ mix(low ^ self.key.wrapping_add(round)));
            }
            if high != 0 || low != 0 {
                break;
            }
        }
        let mut out = [0u8; 16];
        out[..8].copy_from_slice(&high.to_be_bytes());
        out[8..].copy_from_slice(&low.to_be_bytes());
        TraceId(out)
    }

    /// Of a span within the (old) trace `trace`.
    pub fn span_id(&self, trace: TraceId, id: SpanId) -> SpanId {
        if !id.is_some() {
            return id;
        }
        let [high, low] = halves(trace);
        let key = mix(self.key ^ mix(high)).wrapping_add(mix(low));
        let value = u64::from_be_bytes(id.0);
        let (mut left, mut right) = ((value >> 32) as u32, value as u32);
        loop {
            for round in 0..ROUNDS {
                let turned = mix(u64::from(right) ^ key.wrapping_add(round)) as u32;
                (left, right) = (right, left ^ turned);
            }
            if left != 0 || right != 0 {
                break;
            }
        }
        SpanId((u64::from(left) << 32 | u64::from(right)).to_be_bytes())
    }
}

/// Rounds of the Feistel network; four make it look random, two more cost nothing.
const ROUNDS: u64 = 6;

fn halves(id: TraceId) -> [u64; 2] {
    let half = |from: usize| {
        id.0[from..from + 8]
            .iter()
            .fold(0u64, |acc, byte| acc << 8 | u64::from(*byte))
    };
    [half(0), half(8)]
}

/// The finaliser of splitmix64.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::collections::HashSet;

    fn trace(n: u64) -> TraceId {
        let mut id = [0u8; 16];
        id[8..].copy_from_slice(&n.to_be_bytes());
        TraceId(id)
    }

    #[test]
    fn the_same_seed_gives_the_same_ids_and_another_gives_others() {
        let (id, span) = (trace(5), SpanId(7u64.to_be_bytes()));
        let of = |seed, pass| {
            let renewal = Renewal::new(seed, pass);
            (renewal.trace_id(id), renewal.span_id(id, span))
        };
        assert_eq!(of(1, 0), of(1, 0));
        assert_ne!(of(1, 0), of(2, 0));
        assert_ne!(of(1, 0), of(1, 1));
        assert_ne!(of(1, 0).0, id);
        assert_ne!(of(1, 0).1, span);
    }

    #[test]
    fn no_two_ids_meet_and_none_becomes_none() {
        let renewal = Renewal::new(3, 0);
        let traces: HashSet<TraceId> = (1..=50_000).map(|n| renewal.trace_id(trace(n))).collect();
        assert_eq!(traces.len(), 50_000);
        let spans: HashSet<SpanId> = (1..=50_000u64)
            .map(|n| renewal.span_id(trace(9), SpanId(n.to_be_bytes())))
            .collect();
        assert_eq!(spans.len(), 50_000);
        assert!(!traces.contains(&TraceId::NONE) && !spans.contains(&SpanId::NONE));
        assert_eq!(renewal.trace_id(TraceId::NONE), TraceId::NONE);
        assert_eq!(renewal.span_id(trace(1), SpanId::NONE), SpanId::NONE);
    }
}
