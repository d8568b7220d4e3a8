//! `^]` three times, `^]^]p`, `^]^]r`: keys for the launcher in a stream of keys for the container.

use std::time::{Duration, Instant};

/// What the user asks of the launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hotkey {
    /// `^]^]^]`
    Kill,
    /// `^]^]p`
    PowerOff,
    /// `^]^]r`
    Reboot,
}

/// Ctrl-`]`, as telnet's escape.
const ESCAPE: u8 = 0x1d;
/// From the first key to the last.
const WITHIN: Duration = Duration::from_secs(1);

/// Finds the sequences. What turns out to be none is passed on, at the latest after a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hotkeys {
    /// When the first of one or two was pressed.
    held: Option<(Instant, Held)>,
    kill_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    One,
    Two,
}

impl Hotkeys {
    /// Those of a session in a machine: `^]` three times, and no other.
    pub fn kill_only() -> Hotkeys {
        Hotkeys { kill_only: true, ..Hotkeys::default() }
    }

    /// Takes one byte; what is for the container goes to `pass`, at most three bytes.
    pub fn key(&mut self, byte: u8, now: Instant, pass: &mut impl FnMut(&[u8])) -> Option<Hotkey> {
        self.expire(now, pass);
        match (self.held, byte) {
            (None, ESCAPE) => self.held = Some((now, Held::One)),
            (Some((first, Held::One)), ESCAPE) => self.held = Some((first, Held::Two)),
            (Some((_, Held::Two)), ESCAPE | b'p' | b'r') if byte == ESCAPE || !self.kill_only => {
                self.held = None;
                return Some(match byte {
                    b'p' => Hotkey::PowerOff,
                    b'r' => Hotkey::Reboot,
                    _ => Hotkey::Kill,
                });
            }
            _ => {
                self.pass_on(pass);
                pass(&[byte]);
            }
        }
        None
    }

    /// Passes on what was held for a second.
    pub fn expire(&mut self, now: Instant, pass: &mut impl FnMut(&[u8])) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.pass_on(pass);
        }
    }

    /// Passes on what is held, without waiting.
    pub fn pass_on(&mut self, pass: &mut impl FnMut(&[u8])) {
        match self.held.take() {
            Some((_, Held::One)) => pass(&[ESCAPE]),
            Some((_, Held::Two)) => pass(&[ESCAPE, ESCAPE]),
            None => {}
        }
    }

    /// When to call [`Hotkeys::expire`].
    pub fn deadline(&self) -> Option<Instant> {
        self.held.map(|(first, _)| first + WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys with the milliseconds at which they are pressed.
    fn typed(keys: &[(u64, u8)]) -> (Vec<u8>, Vec<Hotkey>) {
        let start = Instant::now();
        let (mut hotkeys, mut passed, mut found) = (Hotkeys::default(), Vec::new(), Vec::new());
        for (at, key) in keys {
            found.extend(hotkeys.key(*key, start + Duration::from_millis(*at), &mut |b| passed.extend(b)));
        }
        hotkeys.expire(start + Duration::from_secs(3600), &mut |b| passed.extend(b));
        assert_eq!(hotkeys.deadline(), None);
        (passed, found)
    }

    fn at_once(keys: &[u8]) -> (Vec<u8>, Vec<Hotkey>) {
        typed(&keys.iter().map(|k| (0, *k)).collect::<Vec<_>>())
    }

    #[test]
    fn sequences() {
        use Hotkey::*;
        let table: [(&[u8], &[u8], &[Hotkey]); 10] = [
            (b"\x1d\x1d\x1d", b"", &[Kill]),
            (b"\x1d\x1dp", b"", &[PowerOff]),
            (b"\x1d\x1dr", b"", &[Reboot]),
            (b"ab\x1d\x1d\x1dcd", b"abcd", &[Kill]),
            (b"\x1dp", b"\x1dp", &[]),
            (b"\x1d\x1dx", b"\x1d\x1dx", &[]),
            (b"\x1dx\x1d\x1d\x1d", b"\x1dx", &[Kill]),
            (b"\x1d\x1dx\x1d\x1dp", b"\x1d\x1dx", &[PowerOff]),
            (b"\x1d\x1d\x1d\x1d\x1d\x1d\x1d", b"\x1d", &[Kill, Kill]),
            (b"pr\x1d", b"pr\x1d", &[]),
        ];
        for (keys, passed, found) in table {
            assert_eq!(at_once(keys), (passed.to_vec(), found.to_vec()), "{}", keys.escape_ascii());
        }
    }

    #[test]
    fn a_session_has_one_sequence() {
        let (mut hotkeys, mut passed, now) = (Hotkeys::kill_only(), Vec::new(), Instant::now());
        let keys = b"\x1d\x1dp\x1d\x1dr\x1d\x1d\x1d";
        let found: Vec<Hotkey> = keys.iter().filter_map(|key| hotkeys.key(*key, now, &mut |b| passed.extend(b))).collect();
        assert_eq!((passed.as_slice(), found.as_slice()), (&b"\x1d\x1dp\x1d\x1dr"[..], &[Hotkey::Kill][..]));
    }

    #[test]
    fn a_second_is_the_limit() {
        assert_eq!(typed(&[(0, ESCAPE), (500, ESCAPE), (999, ESCAPE)]), (vec![], vec![Hotkey::Kill]));
        assert_eq!(typed(&[(0, ESCAPE), (500, ESCAPE), (1000, ESCAPE)]), (vec![ESCAPE; 3], vec![]));
        assert_eq!(typed(&[(0, ESCAPE), (1200, ESCAPE), (1300, ESCAPE), (1400, ESCAPE)]), (vec![ESCAPE], vec![Hotkey::Kill]));
        assert_eq!(typed(&[(0, ESCAPE), (999, ESCAPE), (1000, b'p')]), (vec![ESCAPE, ESCAPE, b'p'], vec![]));
    }

    #[test]
    fn what_is_held_goes_on_after_a_second() {
        let start = Instant::now();
        let (mut hotkeys, mut passed) = (Hotkeys::default(), Vec::new());
        hotkeys.key(ESCAPE, start, &mut |b| passed.extend(b));
        assert_eq!(hotkeys.deadline(), Some(start + WITHIN));
        hotkeys.expire(start + Duration::from_millis(999), &mut |b| passed.extend(b));
        assert!(passed.is_empty());
        hotkeys.expire(start + WITHIN, &mut |b| passed.extend(b));
        assert_eq!((passed.as_slice(), hotkeys.deadline()), (&[ESCAPE][..], None));
    }

    #[test]
    fn every_stream_of_eight_keys_is_conserved() {
        let keys = [ESCAPE, b'p', b'r', b'x'];
        for n in 0..keys.len().pow(8) {
            let typed: Vec<u8> = (0..8).map(|i| keys[n >> (2 * i) & 3]).collect();
            let (passed, found) = at_once(&typed);
            assert_eq!(passed.len() + 3 * found.len(), typed.len());
        }
    }
}
