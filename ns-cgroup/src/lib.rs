//! Control groups, version 2.
#![deny(unsafe_code)]

mod cgroup;
mod controllers;
mod device;
mod dir;
mod enable;
mod errno;
mod error;
mod events;
mod file;
mod freeze;
mod hierarchy;
mod limits;
mod machine;
pub mod mountinfo;
mod name;
mod procs;
mod remove;
mod statistics;
mod sys;

pub use cgroup::Cgroup;
pub use controllers::Controllers;
pub use device::{DeviceAccess, DeviceProgram, DeviceRule, DeviceRules, DeviceType};
pub use enable::Enabled;
pub use errno::Errno;
pub use error::{Error, ErrorKind, Result};
pub use events::{Events, EventsFd};
pub use hierarchy::{Hierarchy, Kind};
pub use limits::{Amount, Applied, Limit, Limits};
pub use machine::Machine;
pub use name::Name;
pub use statistics::Statistics;
