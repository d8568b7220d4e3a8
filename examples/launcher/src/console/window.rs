//! A terminal's size.

use std::os::fd::AsFd;

use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use crate::{Error, Kind};

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// `ws_row`
    pub rows: u16,
    /// `ws_col`
    pub columns: u16,
}

impl Window {
    /// `ioctl(fd, TIOCGWINSZ)`; `None` if it is no terminal, or one that doesn't know.
    pub fn of(terminal: impl AsFd) -> Option<Window> {
        let size = tcgetwinsize(terminal).ok()?;
        (size.ws_row > 0 && size.ws_col > 0).then_some(Window { rows: size.ws_row, columns: size.ws_col })
    }

    /// `ioctl(fd, TIOCSWINSZ)`: whoever has the terminal in the foreground gets `SIGWINCH`.
    ///
    /// # Errors
    /// It is no terminal.
    pub fn set(self, terminal: impl AsFd) -> Result<(), Error> {
        let size = Winsize { ws_row: self.rows, ws_col: self.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(terminal, size).map_err(|e| Error::call(Kind::Host, "set the console's size: ioctl(TIOCSWINSZ)", e))
    }
}
