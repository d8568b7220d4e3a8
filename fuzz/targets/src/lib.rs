//! What is fuzzed: for each parser a function that gives it any bytes and checks what must hold.
//!
//! `fuzz/fuzz_targets` has a program for each, for `cargo fuzz`; `tests/replay.rs` runs each over its corpus, `fuzz/corpus/TARGET/`, and
//! over changes of it, with a stable compiler.

mod cgroup;
mod core;
mod launcher;
mod machine;
mod net;
mod seccomp;

/// A target: it panics where something doesn't hold.
pub type Target = fn(&[u8]);

/// All of them by name.
pub const TARGETS: [(&str, Target); 25] = [
    ("bind", launcher::bind),
    ("cgroup_files", cgroup::files),
    ("devices", cgroup::devices),
    ("dhcp", net::dhcp),
    ("dns", net::dns),
    ("escape", launcher::escape),
    ("filter", seccomp::filter),
    ("id_map", core::id_map),
    ("inittab", launcher::inittab),
    ("link_message", core::link_message),
    ("machine_command_line", machine::command_line),
    ("machine_id", launcher::machine_id),
    ("mountinfo", cgroup::mountinfo),
    ("names", net::names),
    ("netlink", net::netlink),
    ("notify", launcher::notify),
    ("os_release", launcher::os_release),
    ("passwd", launcher::passwd),
    ("private_users", launcher::private_users),
    ("record", launcher::record),
    ("resolv_conf", net::resolv_conf),
    ("router", net::router),
    ("settings", launcher::settings),
    ("signal", launcher::signal),
    ("stat", launcher::stat),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The bytes as text; what isn't UTF-8 is no input to a parser of text.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// So many bytes, zeros where there are fewer.
fn fixed<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut all = [0; N];
    all.iter_mut().zip(bytes.iter().skip(at)).for_each(|(to, from)| *to = *from);
    all
}
