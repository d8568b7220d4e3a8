//! SipHash-2-4 (Aumasson and Bernstein, 2012): the keyed hash of which machines' names and addresses are made.

/// The hash of `data` under a 128-bit key.
pub(crate) fn siphash24(key: [u8; 16], data: &[u8]) -> u64 {
    let key = u128::from_le_bytes(key);
    let mut state = State::new(key as u64, (key >> 64) as u64);
    let blocks = data.chunks_exact(8);
    // The last block: what is left over, and the length's low byte on top.
    let mut last = [0; 8];
    last.iter_mut().zip(blocks.remainder()).for_each(|(to, from)| *to = *from);
    for block in blocks {
        state.absorb(block.try_into().map_or(0, u64::from_le_bytes));
    }
    state.absorb(u64::from_le_bytes(last) | (data.len() as u64) << 56);
    state.finish()
}

struct State(u64, u64, u64, u64);

impl State {
    fn new(k0: u64, k1: u64) -> State {
        State(k0 ^ 0x736f_6d65_7073_6575, k1 ^ 0x646f_7261_6e64_6f6d, k0 ^ 0x6c79_6765_6e65_7261, k1 ^ 0x7465_6462_7974_6573)
    }

    fn round(&mut self) {
        let State(a, b, c, d) = self;
        *a = a.wrapping_add(*b);
        *c = c.wrapping_add(*d);
        *b = b.rotate_left(13) ^ *a;
        *d = d.rotate_left(16) ^ *c;
        *a = a.rotate_left(32).wrapping_add(*d);
        *c = c.wrapping_add(*b);
        *d = d.rotate_left(21) ^ *a;
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }

    fn absorb(&mut self, block: u64) {
        self.3 ^= block;
        self.round();
        self.round();
        self.0 ^= block;
    }

    fn finish(mut self) -> u64 {
        self.2 ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.0 ^ self.1 ^ self.2 ^ self.3
    }
}

#[cfg(test)]
mod tests {
    use super::siphash24;

    /// The vectors of the reference implementation: key 00 to 0f, data 00, 01, 02, ... of each length; first octets as printed there.
    #[test]
    fn agrees_with_the_reference() {
        let key: [u8; 16] = std::array::from_fn(|i| i as u8);
        let data: Vec<u8> = (0..64).collect();
        let expected = [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (2, 0x0d6c_8009_d9a9_4f5a),
            (3, 0x8567_6696_d7fb_7e2d),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
            (63, 0x958a_324c_eb06_4572),
        ];
        for (len, hash) in expected {
            assert_eq!(siphash24(key, &data[..len]), hash, "{len} bytes");
        }
    }
}
