//! Our own terminal, raw while the container has it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use rustix::fs::fstat;
use rustix::termios::{OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcsetattr};

use crate::{Error, Kind};

/// What has to be put back. It is kept here, not in [`Terminal`], since a program that panics or exits drops nothing.
static SAVED: Mutex<Vec<Saved>> = Mutex::new(Vec::new());

struct Saved {
    fd: OwnedFd,
    termios: Termios,
}

/// Our terminal in raw mode: every key goes to the container, also `^C` and `^Z`. Dropped, it is as it was before.
#[derive(Debug)]
pub struct Terminal(());

impl Terminal {
    /// `tcsetattr(3)`: raw, for the two that are terminals; they are usually one.
    ///
    /// # Errors
    /// The mode can't be read or set; everything is as it was.
    pub fn raw(input: impl AsFd, output: impl AsFd) -> Result<Terminal, Error> {
        let guard = Terminal(());
        let (input, output) = (input.as_fd(), output.as_fd());
        if isatty(input) {
            change(input, Termios::make_raw)?;
        }
        if isatty(output) && !(isatty(input) && same(input, output)) {
            // Its keys aren't ours: only what it makes of our bytes changes.
            change(output, |termios| termios.output_modes = OutputModes::empty())?;
        }
        Ok(guard)
    }

    /// As it was before.
    pub fn restore(self) {
        drop(self);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Puts every terminal back that [`Terminal::raw`] changed: for [`restore_on_panic`] (a program that aborts on panic drops nothing) and
/// for every other way out. May be called at any time, also twice.
pub fn restore_terminal() {
    // Held for a few calls by this one thread's own code, if at all: then the terminals are just being changed or put back.
    let Ok(mut saved) = SAVED.try_lock() else { return };
    while let Some(Saved { fd, termios }) = saved.pop() {
        // A terminal that is gone needs no putting back.
        let _ = rustix::io::retry_on_intr(|| tcsetattr(&fd, OptionalActions::Now, &termios));
    }
}

/// From now on a panic puts the terminal back before it says what it is about: in raw mode its lines would run down a staircase.
pub fn restore_on_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore_terminal();
        told(panic);
    }));
}

fn change(fd: impl AsFd, make: impl FnOnce(&mut Termios)) -> Result<(), Error> {
    let failed = |call: &str, errno: rustix::io::Errno| Error::call(Kind::Host, format!("make our terminal raw: {call}"), errno);
    let termios = tcgetattr(&fd).map_err(|e| failed("tcgetattr", e))?;
    let own = rustix::io::fcntl_dupfd_cloexec(&fd, 3).map_err(|e| failed("fcntl", e))?;
    let mut changed = termios.clone();
    make(&mut changed);
    if let Ok(mut saved) = SAVED.lock() {
        saved.push(Saved { fd: own, termios });
    }
    rustix::io::retry_on_intr(|| tcsetattr(&fd, OptionalActions::Now, &changed)).map_err(|e| failed("tcsetattr", e))
}

fn same(a: impl AsFd, b: impl AsFd) -> bool {
    matches!((fstat(a), fstat(b)), (Ok(a), Ok(b)) if a.st_rdev == b.st_rdev)
}

#[cfg(test)]
mod tests {
    use rustix::termios::{InputModes, LocalModes};

    use super::*;
    use crate::console::Window;
    use crate::console::pump::tests::pty;

    /// The saved modes are the process's: one test at a time.
    static TURN: Mutex<()> = Mutex::new(());

    /// Keys arrive as they are typed, and bytes are shown as they are.
    fn raw_now(fd: &OwnedFd) -> bool {
        let termios = tcgetattr(fd).unwrap();
        !termios.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN)
            && !termios.input_modes.intersects(InputModes::ICRNL | InputModes::IXON)
            && !termios.output_modes.contains(OutputModes::OPOST)
    }

    #[test]
    fn the_mode_comes_back_however_it_ends() {
        let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
        let (_master, slave) = pty();
        let before = tcgetattr(&slave).unwrap();
        let kept = |now: Termios| {
            now.local_modes == before.local_modes && now.input_modes == before.input_modes && now.output_modes == before.output_modes
        };
        let terminal = Terminal::raw(&slave, &slave).unwrap();
        assert!(raw_now(&slave));
        drop(terminal);
        assert!(kept(tcgetattr(&slave).unwrap()));
        Terminal::raw(&slave, &slave).unwrap().restore();
        assert!(kept(tcgetattr(&slave).unwrap()));
        let terminal = Terminal::raw(&slave, &slave).unwrap();
        std::mem::forget(terminal);
        assert!(raw_now(&slave));
        restore_terminal();
        restore_terminal();
        assert!(kept(tcgetattr(&slave).unwrap()));
    }

    #[test]
    fn two_terminals_and_none() {
        let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
        let ((_a, keys), (_b, screen)) = (pty(), pty());
        let terminal = Terminal::raw(&keys, &screen).unwrap();
        assert!(raw_now(&keys));
        let screen_now = tcgetattr(&screen).unwrap();
        assert!(!screen_now.output_modes.contains(OutputModes::OPOST) && screen_now.local_modes.contains(LocalModes::ICANON));
        drop(terminal);
        assert!(!raw_now(&keys) && tcgetattr(&screen).unwrap().output_modes.contains(OutputModes::OPOST));
        let null = std::fs::File::open("/dev/null").unwrap();
        drop(Terminal::raw(&null, &null).unwrap());
    }

    #[test]
    fn sizes_travel() {
        let ((_a, ours), (master, slave)) = (pty(), pty());
        assert_eq!(Window::of(&ours), None, "a new pty has no size");
        let size = Window { rows: 33, columns: 101 };
        size.set(&ours).unwrap();
        Window::of(&ours).unwrap().set(&master).unwrap();
        assert_eq!(Window::of(&slave), Some(size));
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(Window::of(&null), None);
        assert!(size.set(&null).is_err());
    }

    /// Panics as a child would of `cargo test`: the hook is the process's.
    #[test]
    fn a_panic_puts_it_back() {
        const IN_CHILD: &str = "NSKIT_TEST_PANICS_RAW";
        let (_master, slave) = pty();
        if std::env::var_os(IN_CHILD).is_some() {
            restore_on_panic();
            let _terminal = std::mem::ManuallyDrop::new(Terminal::raw(std::io::stdin(), std::io::stdin()).unwrap());
            assert!(raw_now(&std::io::stdin().as_fd().try_clone_to_owned().unwrap()));
            panic!("on purpose");
        }
        let test = ["--exact", "console::terminal::tests::a_panic_puts_it_back"];
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let ended = child.args(test).env(IN_CHILD, "1").stdin(slave.try_clone().unwrap()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(!ended.status.success() && said.contains("on purpose"), "{said}");
        assert!(tcgetattr(&slave).unwrap().output_modes.contains(OutputModes::OPOST));
    }
}
