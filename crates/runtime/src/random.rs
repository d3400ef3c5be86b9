//! Randomness that is an argument: everything drawn follows from a seed.

/// A seeded source of random numbers, one for each place that draws.
///
/// The generator is `SplitMix64` (Steele, Lea, Flood 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A source that depends on the seed and on the name of the place that draws, so that a place
    /// which draws more or less does not shift the others.
    #[must_use]
    pub fn new(seed: u64, place: &str) -> Self {
        // FNV-1a over the name: any fixed hash will do.
        let hash = place.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut rng = Self { state: seed ^ hash };
        rng.state = rng.next_u64() ^ seed.rotate_left(32);
        rng
    }

    /// Any 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Any `i32`.
    #[allow(clippy::cast_possible_truncation)] // The low half is as random as the rest.
    pub fn next_i32(&mut self) -> i32 {
        self.next_u64() as i32
    }

    /// Any `i64`.
    pub fn next_i64(&mut self) -> i64 {
        self.next_u64().cast_signed()
    }

    /// A number below `bound`; zero when `bound` is zero.
    #[allow(clippy::cast_possible_truncation)] // The product's high half is below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 up to, not including, 1.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.next_f64() < probability
    }

    /// Puts a list into random order.
    #[allow(clippy::cast_possible_truncation)] // Indices of a slice.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_place_draw_the_same_and_other_places_draw_otherwise() {
        let draw = |seed, place| {
            let mut rng = Rng::new(seed, place);
            [rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draw(7, "loss"), draw(7, "loss"));
        assert_ne!(draw(7, "loss"), draw(7, "delay"));
        assert_ne!(draw(7, "loss"), draw(8, "loss"));
    }

    #[test]
    fn numbers_below_a_bound_reach_all_of_it_and_nothing_else() {
        let mut rng = Rng::new(1, "test");
        let mut seen = [0u32; 5];
        for _ in 0..1_000 {
            seen[usize::try_from(rng.below(5)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }
}
