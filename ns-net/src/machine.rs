//! What a machine's links are called and which hardware addresses they have: the same as systemd-nspawn gives them.
//!
//! Both follow from names alone, so that a machine keeps its DHCP leases over restarts, and when its user changes from systemd-nspawn.
//! Names and addresses were compared with those that systemd-nspawn 252 made on the same machine.

use crate::error::{Error, Kind, Result};
use crate::ifname::{AltName, IfName};
use crate::mac::Mac;
use crate::siphash::siphash24;
use std::fmt;
use std::str::FromStr;

/// Which link of a machine, by the prefix of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// `ve-`: the host's end of a machine's veth pair.
    Veth,
    /// `vb-`: the host's end of one that is a bridge's port.
    Port,
    /// `vz-`: a zone's bridge.
    Zone,
    /// `mv-`: a macvlan on a host's link.
    Macvlan,
    /// `iv-`: an ipvlan on a host's link.
    Ipvlan,
}

impl Prefix {
    /// The prefix, with its hyphen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Prefix::Veth => "ve-",
            Prefix::Port => "vb-",
            Prefix::Zone => "vz-",
            Prefix::Macvlan => "mv-",
            Prefix::Ipvlan => "iv-",
        }
    }
}

/// A name that fits, and the whole one where it didn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkName {
    /// The link's name.
    pub name: IfName,
    /// The whole name, when it is longer than 15 bytes.
    pub altname: Option<AltName>,
}

/// The key of shortened names: systemd's, so that both make the same ones.
const SHORTEN: u128 = 0xe190_a404_a8ef_4b51_8ccc_c33a_9f11_fca2;
const BASE64: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl LinkName {
    /// `ve-NAME` and so on. Longer than 15 bytes: its first 11, then 24 bits of the whole name's hash in URL-safe base 64.
    ///
    /// Two long names may meet in one short one; the kernel then refuses the second link ([`Kind::Exists`]).
    pub fn of(prefix: Prefix, of: &str) -> Result<LinkName> {
        let whole = format!("{}{of}", prefix.as_str());
        if whole.len() <= IfName::MAX {
            return Ok(LinkName { name: IfName::new(&whole)?, altname: None });
        }
        // Checked first: what is no altname may have no 11 whole characters.
        let altname = AltName::new(&whole)?;
        Ok(LinkName { name: IfName::new(&shorten(&whole))?, altname: Some(altname) })
    }
}

impl From<IfName> for LinkName {
    fn from(name: IfName) -> LinkName {
        LinkName { name, altname: None }
    }
}

fn shorten(whole: &str) -> String {
    let hash = siphash24(SHORTEN.to_be_bytes(), whole.as_bytes());
    let digit = |shift: u32| char::from(BASE64.get((hash >> shift) as usize & 63).copied().unwrap_or(b'_'));
    whole.chars().take(11).chain([18, 12, 6, 0].map(digit)).collect()
}

/// A host's machine id, `machine-id(5)`: 128 bits that name an installation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MachineId([u8; 16]);

impl MachineId {
    /// These bytes.
    pub const fn new(bytes: [u8; 16]) -> MachineId {
        MachineId(bytes)
    }

    /// The bytes.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Reads `/etc/machine-id`. [`Kind::Invalid`] where it is missing, empty or `uninitialized`.
    pub fn of_host() -> Result<MachineId> {
        let operation = "read /etc/machine-id";
        let text = std::fs::read_to_string("/etc/machine-id").map_err(|e| {
            Error::kernel(operation, "open", e.raw_os_error().unwrap_or(libc::EIO), "")
                .because(Kind::Invalid, "addresses are made of it: give them, or make one with systemd-machine-id-setup")
        })?;
        text.trim_end().parse()
    }
}

/// 32 hexadecimal digits.
impl FromStr for MachineId {
    type Err = Error;

    fn from_str(text: &str) -> Result<MachineId> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(id) if digits && id != 0 => Ok(MachineId(id.to_be_bytes())),
            _ => Err(Error::refused(Kind::Invalid, "machine id", "not 32 hexadecimal digits, or all zero")),
        }
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which end of which link a hardware address is for; each has its own hash key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The host's end of the machine's veth pair.
    Host,
    /// The machine's end of it.
    Container,
    /// The host's end of a further pair.
    ExtraHost,
    /// The machine's end of a further pair.
    ExtraContainer,
    /// A macvlan.
    Macvlan,
}

impl End {
    const fn key(self) -> [u8; 16] {
        match self {
            End::Host => 0x1a37_6fc7_46ec_450b_ada3_d531_0660_5db1_u128,
            End::Container => 0xc3c4_f919_b557_b21c_e6cf_1427_039c_eea2,
            End::ExtraHost => 0x48c7_f6b7_ea9d_4c9e_b728_d4de_91d5_bf66,
            End::ExtraContainer => 0xaf50_1761_cef9_4d35_840d_2b20_54be_ce59,
            End::Macvlan => 0x0013_6dbc_6683_4481_bb0c_f951_1f24_a66f,
        }
        .to_be_bytes()
    }
}

impl Mac {
    /// The address of a machine's link: a hash of the host's machine id, the machine's name and, unless 0, the link's `index` among
    /// several.
    pub fn of_machine(end: End, host: MachineId, machine: &str, index: u64) -> Mac {
        let mut data = [&host.0[..], machine.as_bytes()].concat();
        if index > 0 {
            data.extend_from_slice(&index.to_le_bytes());
        }
        Mac::of_hash(siphash24(end.key(), &data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stay() {
        let name = LinkName::of(Prefix::Veth, "web").unwrap();
        assert_eq!((name.name.to_string(), name.altname), ("ve-web".into(), None));
        assert_eq!(LinkName::of(Prefix::Port, "twelve-chars").unwrap().altname, None);
    }

    #[test]
    fn long_names_are_systemds() {
        let name = LinkName::of(Prefix::Veth, "averyveryveryverylongname").unwrap();
        assert_eq!(name.name.to_string(), "ve-averyverp9kn");
        assert_eq!(name.altname.unwrap().to_string(), "ve-averyveryveryverylongname");
        let port = LinkName::of(Prefix::Port, "averyveryveryverylongname").unwrap();
        assert_eq!(port.name.to_string(), "vb-averyverQAqN");
    }

    #[test]
    fn no_name_makes_a_bad_link_name() {
        for bad in ["a/b", "a b", "é", "aaaaaaaaaaaaaaé", &"x".repeat(200), "%d"] {
            assert_eq!(LinkName::of(Prefix::Veth, bad).unwrap_err().kind(), Kind::Invalid, "{bad}");
        }
    }

    /// What systemd-nspawn 252 made on a host with this id, with `-n --network-veth-extra=xa --network-veth-extra=xb`.
    #[test]
    fn addresses_are_systemds() {
        let host: MachineId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        for (machine, end, index, expected) in [
            ("averyveryveryverylongname", End::Host, 0, "4a:56:ca:ef:12:d5"),
            ("averyveryveryverylongname", End::Container, 0, "9e:64:48:48:14:9f"),
            ("web", End::Host, 0, "3a:23:55:9e:93:59"),
            ("web", End::Container, 0, "da:fb:5c:16:4a:cc"),
            ("web", End::ExtraHost, 0, "02:c7:ed:53:3c:33"),
            ("web", End::ExtraHost, 1, "8e:ac:e3:89:78:3c"),
            ("web", End::ExtraContainer, 0, "86:fd:72:dd:de:ac"),
            ("web", End::ExtraContainer, 1, "26:bb:47:3c:eb:e2"),
        ] {
            assert_eq!(Mac::of_machine(end, host, machine, index).to_string(), expected, "{machine} {end:?} {index}");
        }
    }

    #[test]
    fn a_machine_id_reads_what_it_writes() {
        let text = "0123456789abcdef0123456789abcdef";
        assert_eq!(text.parse::<MachineId>().unwrap().to_string(), text);
        for bad in ["", "uninitialized", "+123456789abcdef0123456789abcdef", "00000000000000000000000000000000"] {
            assert!(bad.parse::<MachineId>().is_err(), "{bad}");
        }
    }
}
