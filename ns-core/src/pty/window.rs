//! The window size of a terminal.

use crate::error::Error;
use crate::raw::Errno;
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};
use std::fmt;
use std::os::fd::AsFd;

/// `struct winsize`, `ioctl_tty(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines of text.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
    /// Width in pixels, often 0.
    pub width: u16,
    /// Height in pixels, often 0.
    pub height: u16,
}

impl WindowSize {
    /// `ioctl(tty, TIOCGWINSZ)`: `ENOTTY` where it is no terminal.
    pub fn of(tty: impl AsFd) -> Result<WindowSize, Error> {
        let size = tcgetwinsize(tty).map_err(|e| Error::call("window size: ioctl TIOCGWINSZ", Errno::new(e.raw_os_error())))?;
        Ok(WindowSize { rows: size.ws_row, columns: size.ws_col, width: size.ws_xpixel, height: size.ws_ypixel })
    }

    /// `ioctl(tty, TIOCSWINSZ)`, on master or slave: the terminal's foreground group gets SIGWINCH where it changes.
    pub fn set(self, tty: impl AsFd) -> Result<(), Error> {
        let size = Winsize { ws_row: self.rows, ws_col: self.columns, ws_xpixel: self.width, ws_ypixel: self.height };
        tcsetwinsize(tty, size).map_err(|e| Error::call("setting the window size: ioctl TIOCSWINSZ", Errno::new(e.raw_os_error())))
    }
}

/// "80x24"
impl fmt::Display for WindowSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.columns, self.rows)
    }
}
