//! A page that both children write their place into: a process that is killed leaves no other word.

use crate::error::{Error, Side, failed};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

#[repr(C)]
struct Page {
    outside: AtomicU32,
    inside: AtomicU32,
    /// The payload's number as its cloner sees it: set by the kernel, so that nobody who dies in between takes it along.
    payload: AtomicI32,
}

/// The page, shared with the children.
#[derive(Debug)]
pub(super) struct Positions(*const Page);

// SAFETY: the page holds atomics.
unsafe impl Send for Positions {}
// SAFETY: as above.
unsafe impl Sync for Positions {}

impl Positions {
    pub fn new() -> Result<Positions, Error> {
        // SAFETY: a new mapping of its own.
        let page = unsafe { mmap_anonymous(std::ptr::null_mut(), size_of::<Page>(), ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED) };
        page.map(|page| Positions(page.cast())).map_err(failed("share a page with the children: mmap"))
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped, zeroed and aligned until dropped.
        unsafe { &*self.0 }
    }

    fn cell(&self, side: Side) -> &AtomicU32 {
        match side {
            Side::Outside => &self.page().outside,
            Side::Inside => &self.page().inside,
        }
    }

    pub fn set(&self, side: Side, position: usize) {
        self.cell(side).store(position as u32, Relaxed);
    }

    pub fn get(&self, side: Side) -> usize {
        self.cell(side).load(Relaxed) as usize
    }

    pub fn payload(&self) -> &AtomicI32 {
        &self.page().payload
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: nobody borrows from it any more. Children have the mapping in memory of their own.
        let _ = unsafe { munmap(self.0.cast_mut().cast(), size_of::<Page>()) };
    }
}
