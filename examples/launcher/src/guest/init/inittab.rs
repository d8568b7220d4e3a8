//! `inittab(5)`, as far as it says what process 1 does when it is sent a signal.

/// What its lines do at a power failure (`SIGPWR`) and at ctrl-alt-del (`SIGINT`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inittab {
    /// A line for a power failure brings the system down.
    pub power_fail_halts: bool,
    /// There is a line for ctrl-alt-del.
    pub ctrl_alt_del: bool,
}

impl Inittab {
    /// Reads a file's content. Lines that are none say nothing.
    pub fn parse(content: &[u8]) -> Inittab {
        let mut table = Inittab::default();
        for line in content.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.starts_with(b"#")) {
            let mut fields = line.splitn(4, |b| *b == b':').skip(2);
            let (Some(action), Some(process)) = (fields.next(), fields.next()) else { continue };
            match action {
                b"powerfail" | b"powerwait" => table.power_fail_halts |= halts(process),
                b"ctrlaltdel" => table.ctrl_alt_del |= !process.is_empty(),
                _ => {}
            }
        }
        table
    }
}

/// Whether a command line ends the system, rather than tells people of the power: `halt`, `poweroff`, `shutdown -h` or `-P`, `init 0`.
fn halts(process: &[u8]) -> bool {
    let mut words = process.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let program = words.next().and_then(|word| word.rsplit(|b| *b == b'/').next()).unwrap_or_default();
    match program {
        b"halt" | b"poweroff" => true,
        b"shutdown" => words.any(|word| word.starts_with(b"-") && word.iter().any(|b| matches!(b, b'h' | b'H' | b'P'))),
        b"init" | b"telinit" => words.next() == Some(b"0"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_signal_does_is_in_it() {
        let none = Inittab::default();
        let halts = Inittab { power_fail_halts: true, ..none };
        let cad = Inittab { ctrl_alt_del: true, ..none };
        let table: [(&[u8], Inittab); 14] = [
            (b"", none),
            (b"id:2:initdefault:\n~~:S:wait:/sbin/sulogin\n", none),
            (b"ca:12345:ctrlaltdel:/sbin/shutdown -t1 -a -r now\n", cad),
            (b"ca:12345:ctrlaltdel:\n", none),
            (b"pf::powerwait:/etc/init.d/powerfail start\n", none),
            (b"pf:12345:powerwait:/sbin/halt", halts),
            (b"  pf::powerfail:/sbin/shutdown -f -h +2 \"Power Failure\"", halts),
            (b"pf::powerfail:shutdown -hP now", halts),
            (b"pf::powerfail:shutdown -r now", none),
            (b"p0::powerfail:/sbin/init 0", halts),
            (b"p0::powerfail:/sbin/init 6", none),
            (b"p0::powerfailnow:/sbin/halt", none),
            (b"#pf:12345:powerwait:/sbin/halt\n::::\n:\n\xff:\0:powerfail", none),
            (b"pf::powerfail:", none),
        ];
        for (content, expected) in table {
            assert_eq!(Inittab::parse(content), expected, "{}", content.escape_ascii());
        }
    }
}
