//! Links of the host's that a container has while it runs.

use crate::Error;
use crate::report::tell;
use ns_net::{Move, Moved, Socket};

/// The links that were moved into a container. Dropped, or given back, each is on the host again under its own name.
#[derive(Debug, Default)]
pub(in crate::supervise) struct Lent {
    links: Vec<Moved>,
    /// Keeps the container's namespace when all of its processes have ended: the kernel deletes virtual links with it.
    inside: Option<Socket>,
}

impl Lent {
    /// A socket in the container's namespace, which keeps it, and every link in it, until the links are back.
    pub(super) fn keep(&mut self, inside: Socket) {
        self.inside = Some(inside);
    }

    /// Moves one.
    pub(super) fn lend(&mut self, link: &Move, host: &mut Socket) -> Result<(), Error> {
        if let Some(inside) = &mut self.inside {
            self.links.push(link.apply(inside, host).map_err(Error::host)?);
        }
        Ok(())
    }

    /// Brings all of them back, whatever came of the others.
    ///
    /// # Errors
    /// The first that could not be brought back; what became of the others is told.
    pub fn give_back(mut self) -> Result<(), Error> {
        self.restore()
    }

    fn restore(&mut self) -> Result<(), Error> {
        if self.links.is_empty() {
            return Ok(());
        }
        let mut host = Socket::open().map_err(Error::host)?;
        let mut first = Ok(());
        for link in std::mem::take(&mut self.links) {
            let back = match &mut self.inside {
                Some(inside) => link.restore(inside, &mut host),
                None => link.rename_back(&mut host),
            };
            match (back.map(drop).map_err(Error::host), &first) {
                (Err(e), Ok(())) => first = Err(e),
                (Err(e), Err(_)) => tell(e),
                (Ok(()), _) => {}
            }
        }
        first
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A start that failed: what went wrong first is told already.
        let _ = self.restore();
    }
}
