//! What is sent to process 1 to ask it for something: the user's choice, or what the tree's init understands.

use super::stop::{POWER_OFF, REBOOT};
use crate::guest::{Init, InitKind};
use crate::settings::Settings;

/// Signals; `None` where process 1 knows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Requests {
    /// When we are asked to stop.
    pub stop: Option<i32>,
    /// By the key for it, and by others, whom the record tells.
    pub power_off: Option<i32>,
    /// By the key for it.
    pub reboot: Option<i32>,
}

impl Requests {
    /// Of a booted init, or of a command.
    pub fn new(settings: &Settings, init: Option<Init>) -> Requests {
        let chosen = settings.kill_signal.map(|signal| signal.0);
        let known = match init {
            // A command understands no request, unless the user says so. Keys are for those that listen.
            None => Requests { stop: None, power_off: Some(POWER_OFF), reboot: Some(REBOOT) },
            Some(init) => Requests { stop: init.stop, power_off: init.power_off, reboot: key_for_reboot(init) },
        };
        Requests { stop: chosen.or(known.stop), power_off: chosen.or(known.power_off), ..known }
    }
}

/// systemd has a signal of its own for each, so that a masked ctrl-alt-del.target keeps nobody from rebooting.
fn key_for_reboot(init: Init) -> Option<i32> {
    if matches!(init.kind, InitKind::Systemd | InitKind::Other) { Some(REBOOT) } else { init.reboot }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Parsed, parse};

    fn settings(option: &str) -> Settings {
        let line = ["ns-spawn", "-D", "/srv/box", option, "-b"];
        let Parsed::Run(settings) = parse(line, "/".as_ref()).unwrap() else { panic!("a container") };
        settings
    }

    #[test]
    fn the_users_choice_counts_before_what_the_tree_says() {
        let sysv = Init { kind: InitKind::Sysvinit, stop: Some(2), power_off: None, reboot: Some(2) };
        let plain = settings("-q");
        assert_eq!(Requests::new(&plain, Some(sysv)), Requests { stop: Some(2), power_off: None, reboot: Some(2) });
        assert_eq!(Requests::new(&plain, Some(Init::OTHER)), Requests { stop: Some(37), power_off: Some(38), reboot: Some(39) });
        assert_eq!(Requests::new(&plain, None).stop, None);
        let chosen = settings("--kill-signal=USR1");
        for init in [None, Some(sysv), Some(Init::OTHER)] {
            let requests = Requests::new(&chosen, init);
            assert_eq!((requests.stop, requests.power_off), (Some(10), Some(10)));
        }
    }
}
