use std::fs::{create_dir_all, hard_link, set_permissions, write};
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// A tree of these programs, and links where the content is `-> TARGET`.
fn tree(files: &[(&str, &str)]) -> (TempDir, Tree) {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        create_dir_all(path.parent().unwrap()).unwrap();
        match content.strip_prefix("-> ") {
            Some(target) => symlink(target, path).unwrap(),
            None => {
                write(&path, content).unwrap();
                set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            }
        }
    }
    let tree = Tree::open(dir.path()).unwrap();
    (dir, tree)
}

fn of(files: &[(&str, &str)]) -> Init {
    Init::of(&tree(files).1, c"/sbin/init")
}

fn halts(kind: InitKind, halt: i32, reboot: Option<i32>) -> Init {
    Init { kind, stop: Some(halt), power_off: Some(halt), reboot }
}

const SYSV_306: &str = "\x7fELF ... INIT_VERSION=sysvinit-3.06\0 SysV init version: %s";
const SYSV_318: &str = "\x7fELF ... INIT_VERSION=sysvinit-3.18\0 SysV init version: %s";
const CAD: &str = "ca:12345:ctrlaltdel:/sbin/shutdown -r now\n";

#[test]
fn an_init_is_known_by_where_it_leads() {
    let systemd = Init { kind: InitKind::Systemd, ..Init::OTHER };
    assert_eq!((systemd.stop, systemd.power_off, systemd.reboot), (Some(37), Some(38), Some(2)));
    assert_eq!(systemd.asked_by(None), systemd);
    assert_eq!(systemd.asked_by(Some(10)), Init { stop: Some(10), power_off: Some(10), ..systemd });
    assert_eq!(of(&[("sbin/init", "-> ../lib/systemd/systemd"), ("lib/systemd/systemd", "")]), systemd);
    assert_eq!(of(&[("sbin/init", "-> /usr/lib/systemd/systemd"), ("usr/lib/systemd/systemd", "")]), systemd);
    let busybox = halts(InitKind::Busybox, 12, Some(15));
    assert_eq!(of(&[("sbin/init", "-> /bin/busybox"), ("bin/busybox", "")]), busybox);
    assert_eq!(of(&[("sbin/init", "-> linuxrc"), ("sbin/linuxrc", "-> ../bin/busybox.static"), ("bin/busybox.static", "")]), busybox);
    let openrc = halts(InitKind::Openrc, 15, Some(2));
    assert_eq!(of(&[("sbin/init", "-> openrc-init"), ("sbin/openrc-init", "")]), openrc);
    let s6 = halts(InitKind::S6, 15, None);
    assert_eq!(of(&[("sbin/init", "-> /command/s6-svscan"), ("command/s6-svscan", "")]), s6);
}

#[test]
fn an_init_is_known_by_what_is_in_it() {
    let busybox = halts(InitKind::Busybox, 12, Some(15));
    assert_eq!(of(&[("sbin/init", "\x7fELF .. BusyBox v1.35.0 (Debian) ..")]), busybox);
    assert_eq!(of(&[("sbin/init", "\x7fELF ..\0systemd.unit=\0..")]).kind, InitKind::Systemd);
    assert_eq!(of(&[("sbin/init", "\x7fELF ..\0OpenRC init version %s starting\n\0..")]), halts(InitKind::Openrc, 15, Some(2)));
    let script = "#!/bin/execlineb -S0\n\ns6-linux-init -c \"/etc/s6-linux-init/current\" -m 0022 -- \"$@\"\n";
    assert_eq!(of(&[("sbin/init", script)]), halts(InitKind::S6, 10, Some(2)));
    let overlay = "#!/bin/sh -e\nexec s6-overlay-suexec /command/preinit\n";
    assert_eq!(of(&[("sbin/init", overlay)]), halts(InitKind::S6, 15, None));
    assert_eq!(of(&[("sbin/init", "\x7fELF .. s6-linux-init ..")]), Init::OTHER, "words that any program may have");
    let (dir, tree) = tree(&[("bin/other", "\x7fELF .. BusyBox v1.35.0 ..")]);
    create_dir_all(dir.path().join("sbin")).unwrap();
    hard_link(dir.path().join("bin/other"), dir.path().join("sbin/init")).unwrap();
    assert_eq!(Init::of(&tree, c"/sbin/init"), busybox);
}

/// Alpine's and Gentoo's: OpenRC starts services there, and process 1 is another.
#[test]
fn openrc_below_another_init_is_that_init() {
    let openrc = ("sbin/openrc", "");
    let alpine = "::sysinit:/sbin/openrc sysinit\n::ctrlaltdel:/sbin/reboot\n::shutdown:/sbin/openrc shutdown\n";
    let alpine = of(&[openrc, ("sbin/init", "-> /bin/busybox"), ("bin/busybox", ""), ("etc/inittab", alpine)]);
    assert_eq!(alpine, halts(InitKind::Busybox, 12, Some(15)));
    let gentoo = "si::sysinit:/sbin/openrc sysinit\nca:12345:ctrlaltdel:/sbin/shutdown -r now\n";
    assert_eq!(of(&[openrc, ("sbin/init", SYSV_318), ("etc/inittab", gentoo)]), halts(InitKind::Sysvinit, 38, Some(2)));
}

#[test]
fn sysvinit_takes_what_its_version_and_its_inittab_say() {
    let sysv = |program: &str, inittab: &str| of(&[("sbin/init", program), ("etc/inittab", inittab)]);
    assert_eq!(sysv(SYSV_318, ""), halts(InitKind::Sysvinit, 38, None));
    assert_eq!(sysv(SYSV_318, CAD), halts(InitKind::Sysvinit, 38, Some(2)));
    let power = "pf::powerwait:/sbin/halt\n";
    assert_eq!(sysv(SYSV_306, power), halts(InitKind::Sysvinit, 30, None));
    let both = format!("{power}{CAD}");
    assert_eq!(sysv(SYSV_306, &both), halts(InitKind::Sysvinit, 30, Some(2)));
    let reboots = Init { kind: InitKind::Sysvinit, stop: Some(2), power_off: None, reboot: Some(2) };
    assert_eq!(sysv(SYSV_306, CAD), reboots);
    assert_eq!(sysv(SYSV_306, ""), Init { stop: None, reboot: None, ..reboots });
    assert_eq!(of(&[("sbin/init", SYSV_306)]), Init { stop: None, reboot: None, ..reboots });
}

#[test]
fn versions_are_read_or_not() {
    type Version = Option<(u32, u32)>;
    let table: [(&[u8], Version); 6] = [
        (b"INIT_VERSION=sysvinit-3.10\0", Some((3, 10))),
        (b"INIT_VERSION=sysvinit-2.88dsf", Some((2, 88))),
        (b"INIT_VERSION=sysvinit-3", None),
        (b"INIT_VERSION=sysvinit-", None),
        (b"INIT_VERSION=sysvinit-99999999999999999999.1", None),
        (b"", None),
    ];
    for (program, version) in table {
        assert_eq!(sysvinit_version(program), version, "{}", program.escape_ascii());
    }
}

#[test]
fn runit_takes_what_its_scripts_allow() {
    let init = ("sbin/init", "-> runit-init");
    let script = "#!/bin/sh";
    let debian = of(&[init, ("sbin/runit-init", "\x7fELF /run/runit.stopit")]);
    assert_eq!(debian, halts(InitKind::Runit, 30, None));
    let newer = of(&[init, ("sbin/runit-init", ""), ("etc/runit/pwrfail", script), ("etc/runit/ctrlaltdel", script)]);
    assert_eq!(newer, halts(InitKind::Runit, 30, None));
    let void = of(&[init, ("sbin/runit-init", ""), ("etc/runit/ctrlaltdel", script)]);
    assert_eq!(void, halts(InitKind::Runit, 2, None));
    let bare = of(&[init, ("sbin/runit-init", "")]);
    assert_eq!(bare, Init { kind: InitKind::Runit, stop: None, power_off: None, reboot: None });
}

/// A tree can only get itself a wrong signal: nothing of the host is read, nothing waited for, and the start goes on.
#[test]
fn a_hostile_init_is_any_other() {
    assert_eq!(of(&[]), Init::OTHER);
    assert_eq!(of(&[("sbin/init", "-> /proc/self/exe")]), Init::OTHER);
    assert_eq!(of(&[("sbin/init", "-> init")]), Init::OTHER);
    assert_eq!(of(&[("sbin/init", "-> ../../../../../../../bin/busybox")]), Init::OTHER, "the host's");
    let (dir, tree) = tree(&[("sbin/init", "")]);
    std::fs::File::create(dir.path().join("sbin/init")).unwrap().set_len(8 << 30).unwrap();
    assert_eq!(Init::of(&tree, c"/sbin/init"), Init::OTHER, "only its head is read");
    std::fs::remove_file(dir.path().join("sbin/init")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o755);
    rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("sbin/init"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(Init::of(&tree, c"/sbin/init"), Init::OTHER);
}

#[test]
fn kinds_have_their_words() {
    for (word, kind) in InitKind::WORDS {
        assert_eq!((kind.as_str(), kind.to_string().as_str()), (word, word));
    }
}
