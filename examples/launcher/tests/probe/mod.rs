//! The payload of the tests about protection: this test's own program, bound into the container and called [`NAME`] there.
//!
//! Each row tries one thing in a process of its own and prints `name=outcome`: a word, or the errno's name. Nothing here needs the tree.

pub mod asked;
mod calls;
mod fingerprint;
mod mounts;
mod state;
mod stubborn;
mod sys;

use std::os::raw::{c_char, c_int};

use ns_core::Errno;

/// What it is called inside: our program under this name is the probe, not a test.
pub const NAME: &str = "nskit-probe";

/// Of a row that the test didn't give what it needs: no call here answers so.
const MISSING: Errno = Errno::ECANCELED;

/// What a row found: a word, or why not.
pub type Outcome = Result<String, Errno>;

/// A thing to try, and its name.
pub type Row = (&'static str, fn(&Given) -> Outcome);

/// What the test says of the host, as `NAME=VALUE` arguments.
pub struct Given(Vec<(String, String)>);

impl Given {
    fn of(words: &[String]) -> Given {
        Given(words.iter().filter_map(|word| word.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A value; the row that needs one that isn't there fails.
    pub fn get(&self, name: &str) -> Result<&str, Errno> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).ok_or(MISSING)
    }

    fn number(&self, name: &str) -> Result<usize, Errno> {
        self.get(name)?.parse().map_err(|_| MISSING)
    }
}

/// Before `main`, which is the test harness's.
#[used]
// SAFETY: the C library calls what stands there with these three arguments.
#[unsafe(link_section = ".init_array")]
static ENTRY: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = entry;

extern "C" fn entry(count: c_int, words: *const *const c_char, _: *const *const c_char) {
    // SAFETY: argv of the C library: so many strings.
    let word = |n: c_int| unsafe { std::ffi::CStr::from_ptr(*words.offset(n as isize)) }.to_string_lossy().into_owned();
    let words: Vec<String> = (0..count).map(word).collect();
    let is_probe = words.first().is_some_and(|name| name.rsplit('/').next() == Some(NAME));
    if is_probe {
        std::process::exit(run(words.get(1).map_or("", String::as_str), words.get(2..).unwrap_or_default()));
    }
}

fn run(verb: &str, words: &[String]) -> i32 {
    let given = Given::of(words);
    match verb {
        "state" => sys::show(state::ROWS, &given),
        "fingerprint" => fingerprint::show(&given),
        "calls" => sys::show(calls::ROWS, &given),
        "locked" => sys::show(mounts::LOCKED, &given),
        "opened" => sys::show_each_in_copy(mounts::LOCKED, &given),
        "works" => sys::show_each_in_copy(mounts::WORKS, &given),
        "binds" => sys::show(mounts::BINDS, &given),
        "binds-opened" => sys::show_each_in_copy(mounts::BINDS, &given),
        "read-only" => sys::show(mounts::READ_ONLY, &given),
        "host-network" => sys::show(calls::HOST_NETWORK, &given),
        "mount-everywhere" => mounts::mount_everywhere_and_wait(&given),
        "reboot" => calls::power_off(&given),
        "stay" => stubborn::stay(),
        "plain-sysfs" => sys::show_each_in_copy(mounts::PLAIN_SYSFS, &given),
        "tell" => calls::tell(&given),
        "write" => sys::show(mounts::WRITE, &given),
        _ => 2,
    }
}
