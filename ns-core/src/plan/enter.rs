//! Plans that run a program in a container that is running.

use super::Plan;
use crate::error::Error;
use crate::exec::Exec;
use crate::join::CALLER;
use crate::namespace::{Namespaces, Setns};
use crate::step::{Slot, Step};
use crate::steps::Prctl;

impl Plan {
    /// The program of `exec` in a running container: one of its processes, whose pidfd is given as `container`, says which.
    /// [`crate::Sealed::enter`] starts it.
    ///
    /// The container's processes may be hostile. So the plan's child is undumpable, joins all of `kinds` by one `setns(2)` (Linux 5.8), and
    /// stands at the root of the container's mount namespace; only its own children will be in the pid namespace. Then come the inside
    /// steps, where it gives up its rights: limits, a filter, [`crate::credentials::Credentials`]. Nobody in the container has seen it up to
    /// there. Last it becomes a stub of few kilobytes without anything of the caller's memory, whose child is born in the pid namespace and
    /// executes the program.
    ///
    /// Of `kinds` the user namespace must be left out where it is the caller's own (setns answers `EINVAL`).
    #[must_use]
    pub fn enter(exec: Exec, container: Slot, kinds: Namespaces) -> Plan {
        let mut plan = Plan::new(exec).given(container).given(CALLER);
        plan.exec.by_joiner(CALLER);
        let plan = plan.before_entering(Prctl::undumpable());
        plan.inside(Setns::new(container, kinds)).inside(Prctl::undumpable())
    }

    /// One more step of a plan of [`Plan::enter`] that needs the caller's rights, or its `/proc`: resource limits above the present ones.
    /// It comes before the container's namespaces are joined, after those that were added in this way before.
    #[must_use]
    pub fn before_entering(mut self, step: impl Step + 'static) -> Plan {
        self.inside.insert(self.entering, Box::new(step));
        self.entering += 1;
        self
    }

    pub(super) fn check_entering(&self) -> Result<(), Error> {
        let more = !self.unshare.is_empty() || !self.joins.is_empty() || !self.outside.is_empty() || self.kept;
        if self.exec.is_by_joiner() && more {
            return Err(Error::refused("plan: what enters a container makes no namespaces, and has no builder"));
        }
        Ok(())
    }
}
