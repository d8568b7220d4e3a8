//! Steps for `std::process::Command`: a step's contract is that of `pre_exec`.

use crate::error::Error;
use crate::step::{Child, Mark, Step, Wire, Wires};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Runs steps in the child of a [`Command`] before its exec.
///
/// ```no_run
/// use ns_core::{Namespaces, Stepped, Unshare};
/// let status = std::process::Command::new("hostname").step(Unshare(Namespaces::UTS))?.status();
/// # Ok::<(), ns_core::Error>(())
/// ```
pub trait Stepped {
    /// Adds a step. One that uses or fills slots, or waits for the other list, belongs into a plan, and is refused by name.
    fn step(&mut self, step: impl Step + 'static) -> Result<&mut Self, Error>;
}

impl Stepped for Command {
    fn step(&mut self, step: impl Step + 'static) -> Result<&mut Self, Error> {
        // A command maps no ids and has no builder: what comes after those is not held up.
        let moot = |wire| matches!(wire, Wire::After(Mark::IDS | Mark::BUILT));
        if !Wires::of(&step).iter().all(moot) {
            return Err(Error::refused(format!("command: the step \"{step}\" has wires, which only a plan can connect")));
        }
        let run = move || {
            // SAFETY: pre_exec runs in the child; there are no descriptors to be had.
            let mut child = unsafe { Child::new(&mut [], None) };
            step.run(&mut child).map_err(|fault| std::io::Error::from_raw_os_error(fault.errno.raw_os_error()))
        };
        // SAFETY: a step keeps to the rules of pre_exec, and an error from a raw number doesn't allocate.
        Ok(unsafe { self.pre_exec(run) })
    }
}
