//! The service manager's end of readiness.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A socket to be named by `NOTIFY_SOCKET`.
pub struct Listener {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Listener {
    pub fn bind(path: PathBuf) -> io::Result<Listener> {
        Ok(Listener { socket: UnixDatagram::bind(&path)?, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for `READY=1`.
    pub fn ready(&self, limit: Duration) -> io::Result<()> {
        let end = Instant::now() + limit;
        let mut bytes = [0; 4096];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let count = self.socket.recv(&mut bytes).map_err(|e| io::Error::new(e.kind(), format!("it did not become ready: {e}")))?;
            if bytes[..count].split(|b| *b == b'\n').any(|line| line == b"READY=1") {
                return Ok(());
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // In a directory of ours, which is removed as well.
        let _ = std::fs::remove_file(&self.path);
    }
}
