//! Maps: what a packet has, to where it goes.

use super::value::{Concatenated, Family, Field, Name, Value, concatenated};
use super::{DELSETELEM, NEWSET, NEWSETELEM, message};
use crate::error::{Error, Kind, Result};
use crate::message::{Batch, Call, Flags, Message};
use std::fmt;

/// Elements in one message: an attribute holds 64 KiB.
const AT_ONCE: usize = 500;

/// A map of a table: a key of one or more fields, data of one or more. `NFT_MSG_NEWSET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    name: Name,
    key: Vec<Field>,
    data: Vec<Field>,
    elements: Vec<Element>,
}

/// An element of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    key: Vec<Value>,
    data: Vec<Value>,
}

impl Element {
    /// This key's data.
    pub fn new(key: impl Into<Vec<Value>>, data: impl Into<Vec<Value>>) -> Element {
        Element { key: key.into(), data: data.into() }
    }

    /// The key.
    pub fn key(&self) -> &[Value] {
        &self.key
    }

    /// The data.
    pub fn data(&self) -> &[Value] {
        &self.data
    }

    fn encode(&self, message: Message) -> Message {
        let value = |m: Message, kind, values: &[Value]| m.nest(kind, |m| m.attribute(NFTA_DATA_VALUE, &concatenated(values)));
        message.nest(NFTA_LIST_ELEM, |m| value(value(m, NFTA_SET_ELEM_KEY, &self.key), NFTA_SET_ELEM_DATA, &self.data))
    }
}

/// "tcp . 8080 : 10.200.1.2 . 80"
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} : {}", Concatenated(&self.key), Concatenated(&self.data))
    }
}

impl Map {
    /// An empty map.
    pub fn new(name: Name, key: impl Into<Vec<Field>>, data: impl Into<Vec<Field>>) -> Map {
        Map { name, key: key.into(), data: data.into(), elements: Vec::new() }
    }

    /// With these elements. [`Kind::Invalid`] for one of other fields.
    pub fn elements(mut self, elements: impl IntoIterator<Item = Element>) -> Result<Map> {
        for element in elements {
            self.check(&element)?;
            self.elements.push(element);
        }
        Ok(self)
    }

    /// Whether the element's fields are the map's.
    pub(crate) fn check(&self, element: &Element) -> Result<()> {
        let fields = |values: &[Value]| values.iter().map(|v| v.field()).collect::<Vec<_>>();
        if fields(&element.key) == self.key && fields(&element.data) == self.data {
            return Ok(());
        }
        Err(Error::refused(Kind::Invalid, format_args!("element {element} of map {}", self.name), "its fields are not the map's"))
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The key's fields.
    pub fn key(&self) -> &[Field] {
        &self.key
    }

    /// The data's fields.
    pub fn data(&self) -> &[Field] {
        &self.data
    }

    /// The map itself; `id` is its number in the transaction.
    pub(crate) fn message(&self, family: Family, table: &Name, id: u32) -> Message {
        let number = |fields: &[Field]| fields.iter().fold(0, |all, field| all << TYPE_BITS | field.number());
        message(NEWSET, Flags::CREATE | Flags::EXCL, family)
            .string(NFTA_SET_TABLE, table.as_str().as_bytes())
            .string(NFTA_SET_NAME, self.name.as_str().as_bytes())
            .number_be(NFTA_SET_FLAGS, NFT_SET_MAP)
            .number_be(NFTA_SET_KEY_TYPE, number(&self.key))
            .number_be(NFTA_SET_KEY_LEN, length(&self.key))
            .number_be(NFTA_SET_DATA_TYPE, number(&self.data))
            .number_be(NFTA_SET_DATA_LEN, length(&self.data))
            .number_be(NFTA_SET_ID, id)
    }

    pub(crate) fn own_elements(&self) -> &[Element] {
        &self.elements
    }
}

/// Adds or removes elements, in as few messages as they fit.
pub(crate) fn element_messages(batch: &mut Batch, add: bool, family: Family, table: &Name, map: &Name, elements: &[Element]) {
    let (call, flags, verb): (Call, Flags, &str) =
        if add { (NEWSETELEM, Flags::CREATE | Flags::EXCL, "add") } else { (DELSETELEM, Flags::empty(), "delete") };
    for part in elements.chunks(AT_ONCE) {
        let message = message(call, flags, family)
            .string(NFTA_SET_ELEM_LIST_TABLE, table.as_str().as_bytes())
            .string(NFTA_SET_ELEM_LIST_SET, map.as_str().as_bytes())
            .nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| part.iter().fold(m, |m, element| element.encode(m)));
        batch.add(format_args!("{verb} elements of map {map} in table {family} {table}"), message);
    }
}

fn length(fields: &[Field]) -> u32 {
    match fields {
        [one] => one.len(),
        several => several.iter().map(|field| 4 * field.registers()).sum(),
    }
}

/// As in a table that `nft` prints.
impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    map {} {{", self.name)?;
        writeln!(f, "        type {} : {}", Concatenated(&self.key), Concatenated(&self.data))?;
        if !self.elements.is_empty() {
            f.write_str("        elements = ")?;
            write_elements(f, &self.elements)?;
            f.write_str("\n")?;
        }
        writeln!(f, "    }}")
    }
}

/// "{ tcp . 8080 : 10.200.1.2 . 80 }"
pub(crate) fn write_elements(f: &mut fmt::Formatter<'_>, elements: &[Element]) -> fmt::Result {
    f.write_str("{ ")?;
    elements.iter().enumerate().try_for_each(|(n, element)| write!(f, "{}{element}", if n > 0 { ", " } else { "" }))?;
    f.write_str(" }")
}

/// Bits of a type in the number of a concatenation's, in `nft`.
const TYPE_BITS: u32 = 6;
const NFT_SET_MAP: u32 = 8;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_DATA_VALUE: u16 = 1;
