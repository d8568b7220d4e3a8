//! How a payload's end is told: the message on stderr and the exit code.

use std::fmt;
use std::io::{self, Write};

use ns_core::Errno;

use crate::{Error, Kind, escape::Escaped};

/// How a payload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It called `exit`.
    Exited(u8),
    /// A signal that isn't one of the kernel's two words for `reboot(2)`.
    Signalled(i32),
    /// `reboot(2)` with halt or power off: the kernel ends the init of a pid namespace with `SIGINT`.
    PoweredOff,
    /// `reboot(2)` with restart: the kernel ends the init of a pid namespace with `SIGHUP`.
    Rebooted,
}

/// A line on standard error. Where nobody reads it any more, as on a terminal that was closed, it goes nowhere: `eprintln!` would
/// panic, and leave behind what is still to be removed.
pub fn tell(line: impl fmt::Display) {
    // In one piece: one that fails leaves no half of a line.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// A text on standard output.
///
/// # Errors
/// It takes nothing more: its reader has gone, its disk is full.
pub fn show(text: &str) -> Result<(), Error> {
    let mut out = io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| Error::call(Kind::Host, "write to standard output: write", Errno::new(e.raw_os_error().unwrap_or_default())))
}

/// The exit code that tells a service manager to start again, and what a reboot is worth when nobody starts again.
pub const REBOOT: u8 = 133;

impl Ended {
    /// The launcher's exit code. A payload can't say [`REBOOT`] itself: it counts as 1.
    pub fn code(self) -> u8 {
        match self {
            Ended::Exited(REBOOT) | Ended::Signalled(_) => 1,
            Ended::Exited(code) => code,
            Ended::PoweredOff => 0,
            Ended::Rebooted => REBOOT,
        }
    }

    /// The line for stderr, of a machine of this name.
    pub fn message(self, machine: impl fmt::Display) -> String {
        match self {
            Ended::Exited(0) => format!("Container {machine} exited successfully."),
            Ended::Exited(code) => format!("Container {machine} failed with error code {code}."),
            Ended::Signalled(signal) => format!("Container {machine} terminated by signal {}.", Signal(signal)),
            Ended::PoweredOff => format!("Container {machine} has been shut down."),
            Ended::Rebooted => format!("Container {machine} is being rebooted."),
        }
    }

    /// Whether the line is shown under `--quiet`: failures are.
    pub fn is_failure(self) -> bool {
        !matches!(self, Ended::Exited(0) | Ended::PoweredOff | Ended::Rebooted)
    }
}

/// A signal's number; its `Display` is the name without `SIG`: `KILL`, `RTMIN+3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub i32);

/// Of x86-64 and arm64, which agree.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
    "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// Of user space: the C libraries keep the kernel's first two (glibc) or three for themselves; systemd counts from 34.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl Signal {
    /// `SIGKILL`
    pub const KILL: Signal = Signal(9);
    /// `SIGTERM`
    pub const TERM: Signal = Signal(15);
    /// `SIGCONT`
    pub const CONT: Signal = Signal(18);

    /// A name with or without `SIG`, in any case, `RTMIN+3`, `RTMAX-1`, or a number from 1 to 64.
    ///
    /// # Errors
    /// It is none; the line quotes it.
    pub fn parse(text: &str) -> Result<Signal, Error> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = match named(name) {
            // A number is none of a name: SIG9 is nothing.
            None if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            number => number,
        };
        let known = number.filter(|n| (1..=RTMAX).contains(n)).map(Signal);
        known.ok_or_else(|| Error::usage(format!("Unknown signal '{}'", Escaped::text(text))).hint("--signal=list shows the names"))
    }

    /// Those that have names, in order.
    pub fn all() -> impl Iterator<Item = Signal> {
        (1..=31).chain(RTMIN..=RTMAX).map(Signal)
    }
}

fn named(name: &str) -> Option<i32> {
    let offset = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i32>().ok()).flatten();
    let real_time = |n: i32| (RTMIN..=RTMAX).contains(&n).then_some(n);
    match (name, name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
        ("RTMIN", ..) => Some(RTMIN),
        ("RTMAX", ..) => Some(RTMAX),
        ("IOT", ..) => named("ABRT"),
        ("CLD", ..) => named("CHLD"),
        ("POLL", ..) => named("IO"),
        (_, Some(n), _) => real_time(RTMIN.checked_add(offset(n)?)?),
        (_, _, Some(n)) => real_time(RTMAX.checked_sub(offset(n)?)?),
        _ => NAMES.iter().position(|known| *known == name).and_then(|n| i32::try_from(n + 1).ok()),
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = usize::try_from(self.0).ok().and_then(|n| NAMES.get(n.checked_sub(1)?));
        match (name, self.0) {
            (Some(name), _) => f.write_str(name),
            (None, RTMIN) => f.write_str("RTMIN"),
            (None, n @ RTMIN..=RTMAX) => write!(f, "RTMIN+{}", n - RTMIN),
            (None, n) => write!(f, "{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_line_and_code() {
        let table = [
            (Ended::Exited(0), "Container box exited successfully.", 0),
            (Ended::Exited(5), "Container box failed with error code 5.", 5),
            (Ended::Exited(133), "Container box failed with error code 133.", 1),
            (Ended::Exited(255), "Container box failed with error code 255.", 255),
            (Ended::PoweredOff, "Container box has been shut down.", 0),
            (Ended::Rebooted, "Container box is being rebooted.", 133),
            (Ended::Signalled(9), "Container box terminated by signal KILL.", 1),
            (Ended::Signalled(37), "Container box terminated by signal RTMIN+3.", 1),
        ];
        for (end, message, code) in table {
            assert_eq!((end.message("box").as_str(), end.code()), (message, code));
        }
    }

    #[test]
    fn signals_have_the_names_of_kill_l() {
        let table =
            [(1, "HUP"), (2, "INT"), (9, "KILL"), (15, "TERM"), (17, "CHLD"), (30, "PWR"), (31, "SYS"), (34, "RTMIN"), (64, "RTMIN+30")];
        for (number, name) in table {
            assert_eq!(Signal(number).to_string(), name);
        }
        for odd in [0, -1, 32, 33, 65, i32::MIN, i32::MAX] {
            assert_eq!(Signal(odd).to_string(), odd.to_string());
        }
    }

    #[test]
    fn signals_are_read_as_people_write_them() {
        let table = [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("9", 9),
            ("64", 64),
            ("RTMIN+3", 37),
            ("SIGRTMIN+3", 37),
            ("RTMIN", 34),
            ("RTMAX-1", 63),
            ("SIGPWR", 30),
            ("CLD", 17),
        ];
        for (text, number) in table {
            assert_eq!(Signal::parse(text).unwrap(), Signal(number), "{text}");
        }
        for signal in Signal::all() {
            assert_eq!(Signal::parse(&signal.to_string()).unwrap(), signal);
            assert_eq!(Signal::parse(&format!("SIG{signal}")).unwrap(), signal);
        }
        for text in
            ["", "0", "65", "-9", "+9", "SIG", "SIG9", "RTMIN+", "RTMIN+31", "RTMIN+-1", "RTMAX-31", "RTMIN-1", "99999999999", "X\n"]
        {
            let e = Signal::parse(text).unwrap_err().to_string();
            assert!(e.starts_with("Unknown signal '") && !e.contains('\n'), "{e}");
        }
    }

    #[test]
    fn failures_are_told_even_when_quiet() {
        assert!(Ended::Signalled(9).is_failure() && Ended::Exited(1).is_failure());
        assert!(!Ended::PoweredOff.is_failure() && !Ended::Exited(0).is_failure() && !Ended::Rebooted.is_failure());
    }
}
