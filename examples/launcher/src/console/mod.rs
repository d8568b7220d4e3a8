//! The container's console: our terminal, and the pump between it and the payload's pty.
//!
//! The supervisor's event loop owns the waiting: it polls what [`Pump::sources`] names beside its own descriptors, hands back what
//! happened with [`Pump::ready`], and wakes at [`Pump::deadline`]. No call here waits, but [`Pump::drain`], which says so.
//!
//! - **Back-pressure.** Each direction has a buffer of 64 KiB. While it is full its source isn't read, so that a payload that floods a
//!   slow reader waits in its own `write(2)`, as on a real terminal, and not a byte is lost.
//! - **Other people's descriptors stay as they are.** `O_NONBLOCK` belongs to the open file, which our shell shares with us, so it is
//!   never set on what we were given. A terminal, a pipe or a FIFO is opened once more through `/proc/self/fd`, which makes an open file
//!   of our own; a socket is asked with `MSG_DONTWAIT`; what can't be had so is polled first and then moved in pieces that fit.
//! - **A console that nobody has open is no end.** The pump keeps the pty's other end open too: without it each such moment would be a
//!   hang-up, of which poll tells again and again. The end is the payload's, which the supervisor knows by its pidfd.

mod buffer;
mod channel;
mod hotkeys;
mod pump;
mod terminal;
mod window;

pub use hotkeys::{Hotkey, Hotkeys};
pub use pump::{EndOfInput, Event, Pump};
pub use terminal::{Terminal, restore_on_panic, restore_terminal};
pub use window::Window;

/// What is said before an interactive console opens.
pub const PRESS: &str = "Press ^] three times within 1s to kill container.";
