//! Bytes on their way: a bounded queue in one piece.

/// First in, first out, at most [`SIZE`].
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Of each direction.
pub(super) const SIZE: usize = 64 * 1024;

impl Buffer {
    pub(super) fn new() -> Buffer {
        Buffer { bytes: vec![0; SIZE].into_boxed_slice(), start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many more fit now.
    pub(super) fn room(&self) -> usize {
        self.bytes.len() - self.end
    }

    /// What is queued.
    pub(super) fn queued(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Where the next bytes go; [`Buffer::filled`] says how many did.
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    pub(super) fn filled(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Queues bytes for which there is [`Buffer::room`].
    pub(super) fn push(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.room());
        let n = bytes.len().min(self.room());
        self.space().iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.filled(n);
    }

    /// Takes the first `n` away.
    pub(super) fn consumed(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start >= self.bytes.len() / 2 {
            // What is left is moved at most once per half a buffer: each byte costs one copy more, at worst.
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_bounds() {
        let mut buffer = Buffer::new();
        let (mut next, mut expected, mut seed) = (0u32, 0u32, 7u32);
        while expected < 3_000_000 {
            seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
            let n = ((seed >> 8) as usize % 9000).min(buffer.room());
            let bytes: Vec<u8> = (0..n).map(|i| (next + i as u32) as u8).collect();
            buffer.push(&bytes);
            next += n as u32;
            let out = (seed >> 16) as usize % 9001;
            for b in buffer.queued().iter().take(out) {
                assert_eq!(*b, expected as u8);
                expected += 1;
            }
            buffer.consumed(out);
        }
        assert!(buffer.room() <= SIZE && buffer.queued().len() <= SIZE);
    }

    #[test]
    fn room_comes_back() {
        let mut buffer = Buffer::new();
        buffer.push(&vec![1; SIZE]);
        assert_eq!((buffer.room(), buffer.space().len()), (0, 0));
        buffer.consumed(SIZE / 2);
        assert_eq!(buffer.room(), SIZE / 2);
        buffer.consumed(usize::MAX / 2);
        assert!(buffer.is_empty() && buffer.room() == SIZE);
        buffer.push(b"x");
        buffer.clear();
        assert!(buffer.is_empty());
    }
}
