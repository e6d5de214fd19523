//! Whether an item makes sense by itself, before anything is looked at.
//!
//! The operator has checked most of this; a host believes nobody, because what it is told ends in
//! file names, commands and the target daemon's parameters.

use std::path::{Component, Path};

use dc_types::Bytes;
use dc_types::plan::{Cephx, Chap, GrantAccess, GrantItem, ImageItem, ImageSource, VolumeItem};

use super::trouble::StorageTrouble;

/// A disk is read and written in sectors of 512 bytes; the target daemon cuts off what is left.
const SECTOR: u64 = 512;

/// The largest file of XFS is one byte less than 8 EiB; half of that leaves room for arithmetic.
pub const MAX_VOLUME: Bytes = Bytes(4 << 60);

/// RFC 3720 gives an iSCSI name 223 bytes.
const NAME_MAX: usize = 223;

/// The size of the file that holds a volume of `size`: whole sectors.
#[must_use]
pub fn file_size(size: Bytes) -> Bytes {
    Bytes(size.0.div_ceil(SECTOR) * SECTOR)
}

pub fn validate_volume(item: &VolumeItem) -> Result<(), StorageTrouble> {
    let VolumeItem {
        volume,
        pool: _,
        size,
        source,
        restore: _,
    } = item;
    if *size == Bytes(0) || *size > MAX_VOLUME {
        return invalid(format!(
            "a volume of {size} cannot be made: ask for 1 byte to {MAX_VOLUME}"
        ));
    }
    if *source == dc_types::plan::VolumeSource::Volume(*volume) {
        return invalid("a volume cannot be made from itself: name another source".to_owned());
    }
    Ok(())
}

pub fn validate_image(item: &ImageItem) -> Result<(), StorageTrouble> {
    let ImageItem {
        image: _,
        pool: _,
        source,
        sha256,
        format: _,
        max_download,
        max_virtual,
    } = item;
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if sha256.len() != 64 || !sha256.bytes().all(hex) {
        return invalid(format!(
            "sha256 {sha256:?} is not 64 lower-case hexadecimal digits: see sha256sum"
        ));
    }
    if *max_download == Bytes(0) || *max_virtual == Bytes(0) {
        return invalid("an image's limits must not be 0".to_owned());
    }
    match source {
        ImageSource::File(name) => validate_file_name(name),
        ImageSource::Http(url) => validate_url(url),
    }
}

/// A relative path that only goes down.
fn validate_file_name(name: &str) -> Result<(), StorageTrouble> {
    let normal = |c: Component<'_>| matches!(c, Component::Normal(_));
    let path = Path::new(name);
    if name.is_empty() || name.contains('\0') || !path.components().all(normal) {
        return invalid(format!(
            "image file {name:?} is not a name below the images folder: no leading '/', no '..'"
        ));
    }
    Ok(())
}

fn validate_url(url: &str) -> Result<(), StorageTrouble> {
    let known = ["http://", "https://"].iter().any(|scheme| {
        url.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty())
    });
    if !known || url.len() > 2048 || url.chars().any(|c| c.is_control() || c == ' ') {
        return invalid(format!(
            "image address {url:?} is not an http or https address of at most 2048 characters"
        ));
    }
    Ok(())
}

pub fn validate_grant(item: &GrantItem) -> Result<(), StorageTrouble> {
    let GrantItem {
        volume: _,
        pool: _,
        initiator,
        access,
    } = item;
    if !is_plain(initiator) || !initiator.starts_with("iqn.") {
        return invalid(format!(
            "initiator name {initiator:?} is not an iqn of letters, digits, '.', ':', '-', '_'"
        ));
    }
    match access {
        GrantAccess::Iscsi { chap } => validate_chap(chap),
        GrantAccess::Rbd { cephx } => validate_cephx(cephx),
        GrantAccess::File { local: _ } => Ok(()),
    }
}

/// Letters, digits, '.', ':', '-', '_': what has no other meaning in any tool's arguments.
fn is_plain(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b".:-_".contains(&c);
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// The name ends in the target daemon's parameters, where ',' and '=' and spaces have a meaning.
fn validate_chap(chap: &Chap) -> Result<(), StorageTrouble> {
    if !is_plain(&chap.user) {
        return invalid(format!(
            "CHAP user {:?} is not 1 to {NAME_MAX} letters, digits, '.', ':', '-', '_'",
            chap.user
        ));
    }
    let secret = &chap.secret.0;
    // RFC 3720 asks for at least 96 bits; 12 characters are what initiators insist on.
    if !(12..=128).contains(&secret.len()) || !secret.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return invalid("the CHAP secret is not 12 to 128 letters and digits".to_owned());
    }
    Ok(())
}

/// The names end in capabilities of a user and in names of images.
fn validate_cephx(cephx: &Cephx) -> Result<(), StorageTrouble> {
    let Cephx {
        user,
        key,
        namespace,
    } = cephx;
    // Without a name, it is the pool's own.
    let within = namespace.is_empty() || is_plain(namespace);
    if !is_plain(user) || !within {
        return invalid(format!(
            "cephx user {user:?} or namespace {namespace:?} is not 1 to {NAME_MAX} letters, digits, \
             '.', ':', '-', '_'"
        ));
    }
    let base64 = |c: u8| c.is_ascii_alphanumeric() || b"+/=".contains(&c);
    // 12 bytes of a header, 16 of a key.
    if !(28..=128).contains(&key.0.len()) || !key.0.bytes().all(base64) {
        return invalid("the cephx key is not base64 of a key's length".to_owned());
    }
    Ok(())
}

fn invalid(why: String) -> Result<(), StorageTrouble> {
    Err(StorageTrouble::InvalidItem(why))
}
