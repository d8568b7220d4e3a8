//! Devices: who may open which, as rules, and the program that they are compiled to.

mod program;
mod rule;
#[cfg(test)]
mod tests;

pub use program::DeviceProgram;
pub use rule::{DeviceAccess, DeviceRule, DeviceRules, DeviceType};
