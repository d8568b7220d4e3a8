//! The options of the heading "Network", and which of them can't be combined.

use super::{Matches, absolute, invalid, option};
use crate::Error;
use crate::settings::{Attach, IfName, Inner, Network, NetworkNamespace, Zone};
use std::ffi::OsString;
use std::path::Path;

/// Options that make or move a link.
const LINKS: [&str; 7] =
    ["network-veth", "network-bridge", "network-zone", "network-veth-extra", "network-interface", "network-macvlan", "network-ipvlan"];

pub(super) fn read(matches: &Matches, cwd: &Path) -> Result<Network, Error> {
    let network = Network {
        namespace: namespace(matches, cwd)?,
        veth: veth(matches)?,
        extra: matches.each("network-veth-extra", Inner::parse)?,
        interfaces: matches.each("network-interface", Inner::parse)?,
        macvlans: matches.each("network-macvlan", Inner::parse)?,
        ipvlans: matches.each("network-ipvlan", Inner::parse)?,
    };
    check(&network)?;
    Ok(network)
}

fn is_given(matches: &Matches, name: &str) -> bool {
    matches.0.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
}

fn namespace(matches: &Matches, cwd: &Path) -> Result<NetworkNamespace, Error> {
    let path = matches.value("network-namespace-path")?;
    let own = LINKS.into_iter().find(|name| is_given(matches, name));
    let conflict = |one: &str, other: &str| Err(Error::usage(format!("{one} can't be combined with --{other}")));
    match (matches.value("network")?, path) {
        (Some(value), _) if value != "host" => return Err(invalid("network", value).hint("it takes 'host' only")),
        (Some(_), Some(_)) => return conflict("--network=host", "network-namespace-path"),
        (Some(_), None) => {
            let private = is_given(matches, "private-network").then_some("private-network");
            return own.or(private).map_or(Ok(NetworkNamespace::Host), |other| conflict("--network=host", other));
        }
        _ => {}
    }
    match (path, own) {
        (Some(_), Some(other)) => conflict("--network-namespace-path", other),
        (Some(path), None) => Ok(NetworkNamespace::Path(absolute(cwd, path))),
        (None, _) => Ok(NetworkNamespace::Own),
    }
}

fn veth(matches: &Matches) -> Result<Option<Attach>, Error> {
    let bridge = matches.value("network-bridge")?.map(|name| IfName::new(name)).transpose()?;
    let zone = matches.value("network-zone")?.map(|name| Zone::new(name)).transpose()?;
    match (bridge, zone) {
        (Some(_), Some(_)) => Err(Error::usage("--network-bridge can't be combined with --network-zone")),
        (Some(bridge), None) => Ok(Some(Attach::Bridge(bridge))),
        (None, Some(zone)) => Ok(Some(Attach::Zone(zone))),
        (None, None) => Ok(matches.flag("network-veth").then_some(Attach::Host)),
    }
}

/// What no kernel would make: two of one name.
fn check(network: &Network) -> Result<(), Error> {
    let outer = |link: &Inner| link.outer.as_str().to_owned();
    let named = [&network.extra, &network.interfaces, &network.macvlans, &network.ipvlans].into_iter().flatten();
    let renamed = named.filter_map(|link| link.inner.as_ref()).map(|name| name.as_str().to_owned());
    let kept = network.extra.iter().chain(&network.interfaces).filter(|link| link.inner.is_none()).map(outer);
    let inside = renamed.chain(kept).chain(network.veth.as_ref().map(|_| "host0".to_owned()));
    if let Some(name) = repeated(inside.collect()) {
        return Err(Error::usage(format!("Two links would be called {name} in the container")));
    }
    if let Some(name) = repeated(network.extra.iter().chain(&network.interfaces).map(outer).collect()) {
        return Err(Error::usage(format!("Two links would be called {name} on the host")));
    }
    Ok(())
}

fn repeated(mut names: Vec<String>) -> Option<String> {
    names.sort_unstable();
    names.windows(2).find(|two| two.first() == two.last()).and_then(|two| two.first().cloned())
}

pub(super) fn arguments(network: &Network) -> Vec<OsString> {
    let namespace = match &network.namespace {
        NetworkNamespace::Own => "--private-network".into(),
        NetworkNamespace::Host => "--network=host".into(),
        NetworkNamespace::Path(path) => option("network-namespace-path", path.as_os_str()),
    };
    let veth = network.veth.as_ref().map(|attach| match attach {
        Attach::Host => "--network-veth".into(),
        Attach::Bridge(name) => option("network-bridge", name.as_str()),
        Attach::Zone(zone) => option("network-zone", zone.as_str()),
    });
    let links = [
        ("network-veth-extra", &network.extra),
        ("network-interface", &network.interfaces),
        ("network-macvlan", &network.macvlans),
        ("network-ipvlan", &network.ipvlans),
    ];
    let links = links.into_iter().flat_map(|(name, links)| links.iter().map(move |link| option(name, link.to_string())));
    std::iter::once(namespace).chain(veth).chain(links).collect()
}
