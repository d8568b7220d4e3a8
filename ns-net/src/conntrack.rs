//! Tracked connections: found, and forgotten.

use crate::address::{octets, read_ip};
use crate::error::{Kind, Result};
use crate::message::{Batch, Call, Flags, Message};
use crate::netfilter::Netfilter;
use crate::reply::attributes;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A connection, or what looks like one, that the kernel tracks: `IPCTNL_MSG_CT_*`.
///
/// A flow keeps to where it was sent first: when a machine's address has changed, a flow of UDP stays on the old one until it is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Flow {
    /// `IPPROTO_*`
    pub protocol: u8,
    /// Who began it.
    pub source: SocketAddr,
    /// What it was sent to.
    pub target: SocketAddr,
    /// Who answers: another address than `target` where the flow was sent elsewhere.
    pub answers: SocketAddr,
}

const CT_GET: Call = Call::new(1 << 8 | 1, "IPCTNL_MSG_CT_GET");
const CT_DELETE: Call = Call::new(1 << 8 | 2, "IPCTNL_MSG_CT_DELETE");

impl Flow {
    /// `IPCTNL_MSG_CT_GET` with `NLM_F_DUMP`: all flows with ports.
    pub fn list(socket: &mut Netfilter) -> Result<Vec<Flow>> {
        let answers = socket.list("list tracked connections", Message::new(CT_GET, Flags::empty()).fixed(&[0; 4]))?;
        Ok(answers.iter().filter_map(|a| Flow::parse(&a.body)).collect())
    }

    /// Deletes all flows that `ip` answers though they were sent to another address, in as few messages as can be; how many there were.
    pub fn forget(socket: &mut Netfilter, ip: IpAddr) -> Result<usize> {
        let flows: Vec<Flow> = Flow::list(socket)?.into_iter().filter(|f| f.answers.ip() == ip && f.target.ip() != ip).collect();
        let mut batch = Batch::new();
        for flow in &flows {
            batch.add(format_args!("forget {flow}"), flow.deletion());
        }
        let mut gone = 0;
        for (_, failed) in socket.0.run_all(&batch)?.failed {
            // It has ended by itself.
            if failed.kind() != Kind::NotFound {
                return Err(failed);
            }
            gone += 1;
        }
        Ok(flows.len() - gone)
    }

    /// Deletes the flow, by its original tuple. [`Kind::NotFound`] where it has ended.
    pub fn delete(&self, socket: &mut Netfilter) -> Result<()> {
        let mut batch = Batch::new();
        batch.add(format_args!("forget {self}"), self.deletion());
        socket.run(&batch).map(drop)
    }

    fn deletion(&self) -> Message {
        let v4 = self.source.is_ipv4();
        let family = if v4 { libc::AF_INET } else { libc::AF_INET6 } as u8;
        let (source, target) = if v4 { (CTA_IP_V4_SRC, CTA_IP_V4_DST) } else { (CTA_IP_V6_SRC, CTA_IP_V6_DST) };
        Message::new(CT_DELETE, Flags::empty()).fixed(&[family, 0, 0, 0]).nest(CTA_TUPLE_ORIG, |m| {
            let m = m.nest(CTA_TUPLE_IP, |m| m.attribute(source, &octets(self.source.ip())).attribute(target, &octets(self.target.ip())));
            m.nest(CTA_TUPLE_PROTO, |m| {
                let m = m.attribute(CTA_PROTO_NUM, &[self.protocol]);
                let m = m.attribute(CTA_PROTO_SRC_PORT, &self.source.port().to_be_bytes());
                m.attribute(CTA_PROTO_DST_PORT, &self.target.port().to_be_bytes())
            })
        })
    }

    /// Reads the body of an `IPCTNL_MSG_CT_NEW`: `struct nfgenmsg` and attributes. `None` for a flow without ports, whatever the bytes.
    pub fn parse(body: &[u8]) -> Option<Flow> {
        let (original, reply) = (inner(body.get(4..)?, CTA_TUPLE_ORIG)?, inner(body.get(4..)?, CTA_TUPLE_REPLY)?);
        let (protocol, source, target) = read_tuple(original)?;
        let (_, answers, _) = read_tuple(reply)?;
        Some(Flow { protocol, source, target, answers })
    }
}

fn read_tuple(tuple: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
    let (ip, proto) = (inner(tuple, CTA_TUPLE_IP)?, inner(tuple, CTA_TUPLE_PROTO)?);
    let address = |v4, v6| inner(ip, v4).or_else(|| inner(ip, v6)).and_then(read_ip);
    let port = |kind| inner(proto, kind)?.try_into().ok().map(u16::from_be_bytes);
    let source = SocketAddr::new(address(CTA_IP_V4_SRC, CTA_IP_V6_SRC)?, port(CTA_PROTO_SRC_PORT)?);
    let target = SocketAddr::new(address(CTA_IP_V4_DST, CTA_IP_V6_DST)?, port(CTA_PROTO_DST_PORT)?);
    Some((*inner(proto, CTA_PROTO_NUM)?.first()?, source, target))
}

fn inner(nest: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(nest).map_while(|a| a.ok()).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// "flow 17 of 10.0.0.9:4000 to 10.0.0.1:53, answered by 10.200.1.2:53"
impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flow {} of {} to {}, answered by {}", self.protocol, self.source, self.target, self.answers)
    }
}

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
