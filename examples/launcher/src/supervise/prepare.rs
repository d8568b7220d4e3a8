//! Everything that lasts over reboots: the tree and its locks, the range of ids, the cgroup, the plan.

use super::cgroup::MachineCgroup;
use super::locks::Locks;
use super::network::Wiring;
use super::recorded::{Found, Recorded};
use crate::assemble::{Host, Site};
use crate::guest::{IMAGE_DIRECTORIES, Init, MachineId, Tree};
use crate::interrupted::again;
use crate::registry::{IdRange, Places};
use crate::report::tell;
use crate::settings::{ConsoleMode, Payload, PrivateUsers, Settings, TreeSource};
use crate::{Error, Kind};
use ns_core::{IdMap, Running, Sealed};
use std::io::IsTerminal;

/// A container that can be started, as often as it reboots.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    pub settings: &'a Settings,
    pub tree: Tree,
    pub locks: Locks,
    /// None where nothing is started.
    pub recorded: Option<Recorded>,
    pub cgroup: Option<MachineCgroup>,
    pub wiring: Option<Wiring>,
    pub console: ConsoleMode,
    /// What runs as process 1, where that is the tree's init.
    pub init: Option<Init>,
    /// The container's root, as the host sees it.
    pub root: (u32, u32),
    pub plan: Sealed,
}

impl<'a> Prepared<'a> {
    /// Looks at everything, takes the locks, makes the cgroup. When it fails nothing is left.
    pub fn new(settings: &'a Settings) -> Result<Prepared<'a>, Error> {
        warn(settings);
        let tree = open_tree(settings)?;
        tree.check(&settings.payload)?;
        let inits = if matches!(settings.payload, Payload::Boot(_)) { tree.inits()? } else { Vec::new() };
        let init = inits.first().map(|program| tree.init(program).asked_by(settings.kill_signal.map(|signal| signal.0)));
        let machine_id = tree.machine_id()?.map_or_else(random_id, Ok)?;
        let root_user = tree.root_user()?;
        let places = Places::of_host()?;
        let wiring = Wiring::new(settings, &places)?;
        let locks = Locks::take(&places, settings, &tree)?;
        let map = id_map(settings, locks.ids.as_ref())?;
        let root = map.as_ref().map_or((0, 0), |map| (map.outside_uid(0).unwrap_or(0), map.outside_gid(0).unwrap_or(0)));
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let console = settings.console.unwrap_or(ConsoleMode::Autopipe).on(terminal);
        let cgroup = if settings.dry_run { None } else { make_cgroup(settings)? };
        let count = locks.fds().count() as u16;
        let has_cgroup = cgroup.is_some() || settings.dry_run;
        let site = Site { settings, ids: map, console, machine_id, root_user, inits, host: Host::read(), cgroup: has_cgroup, locks: count };
        let planned = site.plan().and_then(|(plan, protections)| {
            let (ids, cgroup, wiring) = (locks.ids.as_ref(), cgroup.as_ref(), wiring.as_ref());
            let found = Found { settings, tree: &tree, machine_id, ids, cgroup, wiring, init, protections };
            let recorded = if settings.dry_run { None } else { Some(Recorded::new(&places, found)?) };
            Ok((plan, recorded))
        });
        match planned {
            Ok((plan, recorded)) => Ok(Prepared { settings, tree, locks, recorded, cgroup, wiring, console, init, root, plan }),
            Err(e) => {
                // The plan's error is the one to tell.
                let _ = cgroup.map(MachineCgroup::remove);
                Err(e)
            }
        }
    }

    /// What would happen, as text.
    pub fn dry_run(&self) -> Result<String, Error> {
        let link = self.wiring.as_ref().map(|wiring| format!("links:\n{wiring}")).unwrap_or_default();
        Ok(format!("{}{link}", self.plan))
    }

    /// Leaves nothing behind, the record and the locks last: as long as something lives, it can be found.
    pub fn clean(self, running: Option<Running>) -> Result<(), Error> {
        let removed = self.cgroup.map_or(Ok(()), MachineCgroup::remove);
        // The keeper ends meanwhile, and the locks are free then.
        drop(running);
        let unwired = self.wiring.as_ref().map_or(Ok(()), Wiring::close);
        let forgotten = match self.recorded {
            Some(recorded) if removed.is_ok() || !recorded.lives() => recorded.remove(),
            _ => Ok(()),
        };
        let released = if removed.is_ok() {
            self.locks.release()
        } else {
            self.locks.abandon();
            Ok(())
        };
        removed.and(forgotten).and(released).and(unwired)
    }

    /// Leaves everything where it is: something is stuck in it.
    pub fn abandon(self) {
        self.locks.abandon();
    }
}

/// What is given up by choice is said once.
fn warn(settings: &Settings) {
    if settings.users == PrivateUsers::No {
        tell(
            "Warning: without a user namespace (--private-users=no) container root is the host's root, and can undo read-only mounts and masks.",
        );
    }
    if !settings.network.is_private() {
        tell(
            "Warning: the host's network is shared (--network=host): its loopback services and abstract sockets can be reached from inside.",
        );
    }
}

fn open_tree(settings: &Settings) -> Result<Tree, Error> {
    match &settings.tree {
        TreeSource::Directory(path) => Tree::open(path),
        TreeSource::Image => Tree::of_machine(&settings.machine, IMAGE_DIRECTORIES),
    }
}

fn random_id() -> Result<MachineId, Error> {
    let mut bytes = [0; 16];
    let filled = again(|| rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()));
    filled.map_err(|e| Error::call(Kind::Host, "make a machine id: getrandom", e))?;
    // A random UUID of version 4, as systemd makes machine ids.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    MachineId::new(bytes).ok_or_else(|| Error::new(Kind::Host, "getrandom gave zeros"))
}

fn id_map(settings: &Settings, range: Option<&IdRange>) -> Result<Option<IdMap>, Error> {
    match (settings.users, range) {
        (PrivateUsers::Identity, _) => IdMap::range(0, 0, 65536).map(Some).map_err(Error::host),
        (_, Some(range)) => IdMap::range(0, range.start(), range.count()).map(Some).map_err(Error::host),
        _ => Ok(None),
    }
}

fn make_cgroup(settings: &Settings) -> Result<Option<MachineCgroup>, Error> {
    let boot = matches!(settings.payload, Payload::Boot(_));
    let made = MachineCgroup::make(settings.machine.as_str(), settings.users != PrivateUsers::No, boot)?;
    made.notice.iter().for_each(|notice| super::say(settings, notice));
    Ok(made.cgroup)
}
