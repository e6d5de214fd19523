//! Reading single fields of a message, with the field's name in the error.

use std::fmt::Display;
use std::str::FromStr;

use crate::{OnWire, WireError, wire};

/// A message field that must be there.
pub(crate) fn required<T: OnWire>(wire: Option<T::Wire>, name: &str) -> Result<T, WireError> {
    let wire = wire.ok_or_else(|| WireError::new(name, "is missing"))?;
    T::from_wire(wire).map_err(|e| e.inside(name))
}

pub(crate) fn optional<T: OnWire>(
    wire: Option<T::Wire>,
    name: &str,
) -> Result<Option<T>, WireError> {
    wire.map(|w| T::from_wire(w).map_err(|e| e.inside(name)))
        .transpose()
}

/// An enum field: unknown and unspecified numbers are errors.
pub(crate) fn choice<T: OnWire<Wire = i32>>(wire: i32, name: &str) -> Result<T, WireError> {
    T::from_wire(wire).map_err(|e| e.inside(name))
}

pub(crate) fn list<T: OnWire>(wire: Vec<T::Wire>, name: &str) -> Result<Vec<T>, WireError> {
    wire.into_iter()
        .enumerate()
        .map(|(n, w)| T::from_wire(w).map_err(|e| e.inside(&format!("{name}[{n}]"))))
        .collect()
}

/// Enum values of a list of abilities: what this version does not know it cannot use, so it is
/// left out.
pub(crate) fn known_of<T: OnWire<Wire = i32>>(wire: Vec<i32>) -> Vec<T> {
    wire.into_iter()
        .filter_map(|w| T::from_wire(w).ok())
        .collect()
}

/// Those whose key is of a kind that this version knows; a key that is missing or none stays, to be
/// refused.
pub(crate) fn known_items<W>(wire: Vec<W>, key: impl Fn(&W) -> Option<&wire::ItemKey>) -> Vec<W> {
    let is_known = |w: &W| key(w).is_none_or(|key| wire::ItemKind::try_from(key.kind).is_ok());
    wire.into_iter().filter(is_known).collect()
}

pub(crate) fn to_list<T: OnWire>(values: &[T]) -> Vec<T::Wire> {
    values.iter().map(OnWire::to_wire).collect()
}

/// A text that must be an id, an address or the like.
pub(crate) fn text<T: FromStr<Err: Display>>(wire: &str, name: &str) -> Result<T, WireError> {
    if wire.is_empty() {
        return Err(WireError::new(name, "is missing"));
    }
    wire.parse()
        .map_err(|e| WireError::new(name, format!("{wire:?}: {e}")))
}

pub(crate) fn optional_text<T: FromStr<Err: Display>>(
    wire: Option<&str>,
    name: &str,
) -> Result<Option<T>, WireError> {
    wire.map(|w| text(w, name)).transpose()
}

pub(crate) fn number<T: TryFrom<u32>>(wire: u32, name: &str) -> Result<T, WireError> {
    T::try_from(wire).map_err(|_| WireError::new(name, format!("{wire} is out of range")))
}
