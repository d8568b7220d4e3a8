//! Which network a container has.

mod link;
mod name;

use std::path::PathBuf;

pub use link::{Attach, Inner, Zone};
pub use name::IfName;

/// Everything that the options of the heading "Network" say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// `--private-network`, `--network=host`, `--network-namespace-path`
    pub namespace: NetworkNamespace,
    /// `-n`, `--network-bridge`, `--network-zone`: a pair of virtual links, `host0` inside.
    pub veth: Option<Attach>,
    /// `--network-veth-extra`: further pairs, by their names outside and inside.
    pub extra: Vec<Inner>,
    /// `--network-interface`: links of the host's that the container has while it runs.
    pub interfaces: Vec<Inner>,
    /// `--network-macvlan`: links on top of these.
    pub macvlans: Vec<Inner>,
    /// `--network-ipvlan`: the same.
    pub ipvlans: Vec<Inner>,
}

/// Whose network namespace it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkNamespace {
    /// A new one.
    #[default]
    Own,
    /// The host's.
    Host,
    /// The one that is bound at this path, absolute.
    Path(PathBuf),
}

impl Network {
    /// Whether the container's network namespace is not the host's.
    pub fn is_private(&self) -> bool {
        self.namespace != NetworkNamespace::Host
    }

    /// Whether any link is made or moved.
    pub fn has_links(&self) -> bool {
        self.veth.is_some() || [&self.extra, &self.interfaces, &self.macvlans, &self.ipvlans].into_iter().any(|links| !links.is_empty())
    }
}
