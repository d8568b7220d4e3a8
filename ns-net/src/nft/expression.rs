//! Expressions: the instructions of which a rule is made, as `nft --debug=netlink` shows them.
//!
//! A load puts a part of the packet into a register, a comparison ends the rule where it isn't met, an action uses registers. Registers
//! have 32 bits, `NFT_REG32_00` is 8; a longer value takes several in a row.

use super::value::{Field, Name};
use crate::message::Message;

/// `NFT_REG32_00`: where loads go, and a map's data.
pub(crate) const FIRST: u32 = 8;

/// Headers that a load counts from: `NFT_PAYLOAD_*_HEADER`.
#[derive(Clone, Copy)]
pub(crate) enum Base {
    Network = 1,
    Transport = 2,
}

/// What is known of a packet beside its bytes: `NFT_META_*`.
#[derive(Clone, Copy)]
pub(crate) enum Meta {
    IifName = 6,
    OifName = 7,
    NfProto = 15,
    L4Proto = 16,
}

/// Expressions, appended to a message.
pub(crate) struct Expressions(pub Message);

impl Expressions {
    fn add(self, name: &str, data: impl FnOnce(Message) -> Message) -> Expressions {
        Expressions(self.0.nest(NFTA_LIST_ELEM, |m| m.string(NFTA_EXPR_NAME, name.as_bytes()).nest(NFTA_EXPR_DATA, data)))
    }

    /// `[ meta load key => reg ]`
    pub fn meta(self, key: Meta, register: u32) -> Expressions {
        self.add("meta", |m| m.number_be(1, register).number_be(2, key as u32))
    }

    /// `[ payload load len @ base + offset => reg ]`
    pub fn payload(self, base: Base, offset: u32, len: u32, register: u32) -> Expressions {
        self.add("payload", |m| m.number_be(1, register).number_be(2, base as u32).number_be(3, offset).number_be(4, len))
    }

    /// `[ fib daddr type => reg ]`
    pub fn fib_daddr_type(self) -> Expressions {
        const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
        const NFTA_FIB_F_DADDR: u32 = 2;
        self.add("fib", |m| m.number_be(1, FIRST).number_be(2, NFT_FIB_RESULT_ADDRTYPE).number_be(3, NFTA_FIB_F_DADDR))
    }

    /// `[ ct load status => reg ]`
    pub fn ct_status(self) -> Expressions {
        const NFT_CT_STATUS: u32 = 2;
        self.add("ct", |m| m.number_be(1, FIRST).number_be(2, NFT_CT_STATUS))
    }

    /// `[ bitwise reg = ( reg & mask ) ^ 0 ]`
    pub fn mask(self, mask: &[u8]) -> Expressions {
        let zero = vec![0; mask.len()];
        self.add("bitwise", |m| {
            let m = m.number_be(1, FIRST).number_be(2, FIRST).number_be(3, mask.len() as u32);
            m.nest(4, |m| m.attribute(NFTA_DATA_VALUE, mask)).nest(5, |m| m.attribute(NFTA_DATA_VALUE, &zero))
        })
    }

    /// `[ cmp eq reg value ]`, or `neq`.
    pub fn compare(self, equal: bool, value: &[u8]) -> Expressions {
        self.add("cmp", |m| {
            let m = m.number_be(1, FIRST).number_be(2, u32::from(!equal));
            m.nest(3, |m| m.attribute(NFTA_DATA_VALUE, value))
        })
    }

    /// A packet's value of this field, in a key.
    pub fn load(self, field: Field, register: u32) -> Expressions {
        match field {
            Field::Ipv4 => self.payload(Base::Network, 16, 4, register),
            Field::Ipv6 => self.payload(Base::Network, 24, 16, register),
            Field::Protocol => self.meta(Meta::L4Proto, register),
            Field::Port => self.payload(Base::Transport, 2, 2, register),
        }
    }

    /// `[ lookup reg set map dreg ]`: ends the rule where the map hasn't got it.
    pub fn lookup(self, map: &Name) -> Expressions {
        self.add("lookup", |m| m.string(1, map.as_str().as_bytes()).number_be(2, FIRST).number_be(3, FIRST))
    }

    /// `[ nat dnat family addr_min reg proto_min reg ]`
    pub fn dnat(self, family: u8, address: u32, port: Option<u32>) -> Expressions {
        const NFT_NAT_DNAT: u32 = 1;
        self.add("nat", |m| {
            let m = m.number_be(1, NFT_NAT_DNAT).number_be(2, family.into()).number_be(3, address);
            m.with(port, |m, port| m.number_be(5, port))
        })
    }

    /// `[ masq ]`
    pub fn masquerade(self) -> Expressions {
        self.add("masq", |m| m)
    }

    /// `[ immediate reg port ] [ redir proto_min reg ]`
    pub fn redirect(self, port: u16) -> Expressions {
        let loaded = self.add("immediate", |m| m.number_be(1, FIRST).nest(2, |m| m.attribute(NFTA_DATA_VALUE, &port.to_be_bytes())));
        loaded.add("redir", |m| m.number_be(1, FIRST))
    }

    /// `[ immediate reg 0 verdict ]`: `NF_DROP` or `NF_ACCEPT`.
    pub fn verdict(self, verdict: u32) -> Expressions {
        self.add("immediate", |m| m.number_be(1, 0).nest(2, |m| m.nest(NFTA_DATA_VERDICT, |m| m.number_be(1, verdict))))
    }
}

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
