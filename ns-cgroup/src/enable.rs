//! Passing controllers on: `cgroup.subtree_control`.

use crate::cgroup::Cgroup;
use crate::controllers::Controllers;
use crate::errno::Errno;
use crate::error::{Error, ErrorKind, Result};
use std::fmt;

/// What came of [`Cgroup::enable`]. Its [`Display`](fmt::Display) is one line for people, empty when nothing is missing.
#[derive(Debug)]
#[must_use = "tells which controllers couldn't be had"]
pub struct Enabled {
    on: Controllers,
    absent: Controllers,
    refused: Vec<(Controllers, Error)>,
}

impl Enabled {
    /// Those asked for that the cgroups below have now.
    pub fn on(&self) -> Controllers {
        self.on
    }

    /// Those asked for that could not be had.
    pub fn missing(&self) -> Controllers {
        self.refused.iter().fold(self.absent, |all, (c, _)| all | *c)
    }

    /// The kernel's answers where it refused a controller that is there.
    pub fn refused(&self) -> impl Iterator<Item = (Controllers, &Error)> {
        self.refused.iter().map(|(c, e)| (*c, e))
    }

    /// What isn't available here because the cgroup above was refused it: that refusal is the reason to tell.
    pub(crate) fn explained_by(mut self, above: Enabled) -> Enabled {
        for (controllers, why) in above.refused {
            let explained = controllers & self.absent;
            self.absent -= explained;
            if !explained.is_empty() {
                self.refused.push((explained, why));
            }
        }
        self
    }

    /// An error if anything is missing, for callers that can't do without.
    pub fn all(self) -> Result<()> {
        if self.missing().is_empty() {
            return Ok(());
        }
        let said = self.to_string();
        match self.refused.into_iter().next() {
            Some((_, refused)) => Err(refused),
            None => Err(Error::refused(ErrorKind::NoController, "enable controllers", "".as_ref(), said)),
        }
    }
}

/// `no controllers memory, pids: not available to this cgroup`
impl fmt::Display for Enabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if !self.absent.is_empty() {
            write!(f, "no controllers {}: {NOT_GIVEN}", self.absent)?;
            separator = "; ";
        }
        for (controllers, e) in &self.refused {
            write!(f, "{separator}no controllers {controllers}: {e}")?;
            separator = "; ";
        }
        Ok(())
    }
}

pub(crate) const NOT_GIVEN: &str =
    "not available to this cgroup: the controllers are in use by version 1, not delegated, or not in the kernel";

impl Cgroup {
    /// Passes controllers on to the cgroups below: `+memory` and so on to `cgroup.subtree_control`, one by one, so that one that is
    /// refused doesn't keep the others off. Those passed on already stay; none is taken away.
    ///
    /// What can't be had is told by the status: not in `cgroup.controllers`, or refused (EBUSY: the cgroup has processes of its own and
    /// is not the root). Fails only when the files can't be read.
    pub fn enable(&self, wanted: Controllers) -> Result<Enabled> {
        let available = self.controllers()?;
        let already = self.enabled()?;
        let mut status = Enabled { on: wanted & already, absent: wanted - available, refused: Vec::new() };
        let new = (wanted & available) - already;
        if !new.is_empty() && self.has_internal_processes()? {
            status.refused.push((new, in_the_way(self)));
            return Ok(status);
        }
        for (controller, word) in new.words() {
            match self.write("cgroup.subtree_control", &format!("+{word}")) {
                Ok(()) => status.on |= controller,
                Err(e) if e.is_gone() => return Err(e),
                Err(e) => status.refused.push((controller, e)),
            }
        }
        Ok(status)
    }

    /// The kernel refuses most controllers to a cgroup with processes (EBUSY), but takes cpu, cpuset and pids: it then makes the cgroup the
    /// root of threaded ones, and those below it become "domain invalid", where no process can be (EOPNOTSUPP). So look first.
    /// The real root has no `cgroup.type` and may have both.
    fn has_internal_processes(&self) -> Result<bool> {
        if self.read_if_present("cgroup.type")?.is_none() {
            return Ok(false);
        }
        match self.read_list("cgroup.procs") {
            Ok(list) => Ok(!list.is_empty()),
            // Threaded already: whoever made it so knows.
            Err(e) if e.errno() == Some(Errno::EOPNOTSUPP) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn in_the_way(cgroup: &Cgroup) -> Error {
    Error::call("pass controllers on from", cgroup.path(), "cgroup.procs", Errno::EBUSY).hinted(crate::file::INTERNAL_PROCESSES)
}
