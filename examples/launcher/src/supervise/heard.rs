//! Signals that are requests: whoever they are for has to hear them.

use crate::report::Signal;
use crate::stat::Stat;
use ns_cgroup::Cgroup;
use ns_core::PidFd;

/// Sends a container's process 1 a signal, and lets it go on where somebody has frozen or stopped it: neither hears anything. `cgroup`: the
/// machine's. One that can't be thawed hears it when somebody else does that, and is killed at its limit.
///
/// # Errors
/// It has ended, or may not be sent anything.
pub fn send(process: &PidFd, cgroup: Option<&Cgroup>, signal: Signal) -> Result<(), ns_core::Error> {
    let Some(pid) = process.pid() else { return process.signal(signal.0) };
    cgroup.into_iter().for_each(|cgroup| drop(cgroup.thaw_process(pid)));
    process.signal(signal.0)?;
    if Stat::of(pid).is_ok_and(|stat| stat.is_some_and(|stat| stat.state == b'T')) {
        // One that has ended meanwhile has heard it.
        let _ = process.signal(Signal::CONT.0);
    }
    Ok(())
}
