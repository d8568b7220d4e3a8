//! Repeatable random octets for tests.

pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }

    pub fn octets(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.below(256) as u8).collect()
    }

    /// The same with at most `most` octets changed, and now and then cut or lengthened.
    pub fn damaged(&mut self, good: &[u8], most: usize) -> Vec<u8> {
        let mut bad = good.to_vec();
        for _ in 0..self.below(most + 1) {
            let at = self.below(bad.len());
            bad.get_mut(at).into_iter().for_each(|b| *b = self.below(256) as u8);
        }
        match self.below(4) {
            0 => bad.truncate(self.below(good.len() + 1)),
            1 => bad.extend(self.octets(40)),
            _ => {}
        }
        bad
    }
}
