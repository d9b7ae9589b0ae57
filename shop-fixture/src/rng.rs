//! Owns the seeded random draws: one stream per handled request, so that a run can be repeated decision by decision.

/// SplitMix64: small, fast, and good enough for draws of latency and error.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

/// The finishing step of SplitMix64, also used to combine hashes.
#[must_use]
pub fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// FNV-1a over 64 bits.
#[must_use]
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Rng {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The stream of the `ordinal`th request of a trace that a service handles.
    #[must_use]
    pub fn for_request(seed: u64, trace_id: &[u8; 16], service: &str, ordinal: u64) -> Self {
        let mut state = mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
        state = mix(state ^ fnv1a(trace_id));
        state = mix(state ^ fnv1a(service.as_bytes()));
        Self::new(mix(state ^ ordinal))
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in [low, high].
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..bound; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        (self.unit() * bound as f64) as usize
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_each_of_its_parts_and_on_nothing_else() {
        let draw = |seed, trace, service, ordinal| {
            Rng::for_request(seed, &[trace; 16], service, ordinal).next_u64()
        };
        let base = draw(0, 1, "payment", 0);
        assert_eq!(base, draw(0, 1, "payment", 0));
        for other in [
            draw(1, 1, "payment", 0),
            draw(0, 2, "payment", 0),
            draw(0, 1, "shipping", 0),
            draw(0, 1, "payment", 1),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn draws_are_spread_evenly() {
        let mut rng = Rng::new(7);
        let hits = (0..10_000).filter(|_| rng.chance(0.3)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!(
            (0..1_000)
                .map(|_| rng.between(5.0, 6.0))
                .all(|x| (5.0..=6.0).contains(&x))
        );
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn fnv_matches_the_published_vector() {
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
