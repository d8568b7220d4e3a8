//! What a caller keeps may go to other threads; errors fit into the boxes that programs use.

use std::error::Error;

fn shared<T: Send + Sync + 'static>() {}
fn error<T: Error + Send + Sync + 'static>() {}

#[test]
fn ns_core() {
    use ns_core::{credentials, pty, steps};
    shared::<ns_core::Plan>();
    shared::<ns_core::Sealed>();
    shared::<ns_core::Fds<'static>>();
    shared::<ns_core::Held>();
    shared::<ns_core::Running>();
    shared::<ns_core::Exec>();
    shared::<ns_core::IdMap>();
    shared::<ns_core::PidFd>();
    shared::<ns_core::NsFd>();
    shared::<credentials::Credentials>();
    shared::<pty::Pty>();
    shared::<steps::Write>();
    error::<ns_core::Error>();
    error::<ns_core::Fault>();
    fn sealed<T: Clone + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    sealed::<ns_core::Sealed>();
}

#[test]
fn ns_mount() {
    shared::<ns_mount::Root>();
    shared::<ns_mount::Tmpfs>();
    shared::<ns_mount::Bind>();
    shared::<ns_mount::Lock>();
    shared::<ns_mount::Proc>();
    shared::<ns_mount::Sysfs>();
    shared::<ns_mount::InRoot>();
    error::<ns_mount::Error>();
}

#[test]
fn ns_net() {
    shared::<ns_net::Socket>();
    shared::<ns_net::Veth>();
    shared::<ns_net::Bridge>();
    shared::<ns_net::Link>();
    shared::<ns_net::message::Message>();
    shared::<ns_net::Autoconf>();
    shared::<ns_net::Dns>();
    shared::<ns_net::Proxy>();
    shared::<ns_net::Leases>();
    shared::<ns_net::Published>();
    error::<ns_net::Error>();
}

#[test]
fn ns_cgroup() {
    shared::<ns_cgroup::Hierarchy>();
    shared::<ns_cgroup::Cgroup>();
    shared::<ns_cgroup::Machine>();
    shared::<ns_cgroup::Limits>();
    shared::<ns_cgroup::DeviceProgram>();
    shared::<ns_cgroup::EventsFd>();
    error::<ns_cgroup::Error>();
}

#[test]
fn ns_seccomp() {
    shared::<ns_seccomp::Policy>();
    shared::<ns_seccomp::Program>();
    shared::<ns_seccomp::Install>();
    error::<ns_seccomp::Error>();
}
