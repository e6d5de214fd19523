//! libvirt secrets that carry the logins and keys of disks to QEMU, for each volume and epoch.
//!
//! Private: libvirt never gives the value back. Ephemeral: it is never on libvirt's disk, and gone
//! when libvirtd restarts, which is why they are defined anew before each start.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use dc_types::plan::{DiskItem, DiskSource, GrantItem};
use dc_types::{Epoch, InstanceId};
use uuid::Uuid;

use super::Element;

/// How our secrets begin their description, so that a foreign one is never touched.
const LABEL: &str = "dc.sonla.gov.vn machine ";

/// The secret's uuid: the same whenever it is defined, another for each epoch. `volume` is the id
/// under which the storage has it.
#[must_use]
pub fn secret_uuid(volume: InstanceId, grant: Epoch) -> Uuid {
    Uuid::new_v5(&volume.0, format!("chap {grant}").as_bytes())
}

/// That of the key of an encrypted volume.
#[must_use]
pub fn key_uuid(volume: InstanceId, grant: Epoch) -> Uuid {
    Uuid::new_v5(&volume.0, format!("luks {grant}").as_bytes())
}

/// A secret to define. The value travels beside the XML, never in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSecret {
    pub uuid: Uuid,
    pub xml: String,
    pub value: SecretBytes,
}

/// Bytes that must not be seen in a log: their Debug form shows their number alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(pub Vec<u8>);

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

/// The secret with which QEMU opens a disk; none for a file, which takes no login.
#[must_use]
pub fn render_secret(vm: InstanceId, disk: &DiskItem) -> Option<DiskSecret> {
    let (usage, value) = match &disk.source {
        DiskSource::Iscsi { portal: _, chap } => {
            let target = GrantItem::target_name(disk.place(), disk.grant);
            let usage = Element::new("usage")
                .attr("type", "iscsi")
                .child(Element::new("target").text(target));
            (usage, chap.secret.0.clone().into_bytes())
        }
        DiskSource::Rbd { cephx, .. } => {
            let name = format!("client.{}", cephx.user);
            let usage = Element::new("usage")
                .attr("type", "ceph")
                .child(Element::new("name").text(name));
            // libvirt keeps the bytes of the key, and gives QEMU their base64 again. A key that
            // is no base64 opens nothing: `validate` has refused it before.
            let bytes = BASE64_STANDARD.decode(&cephx.key.0).unwrap_or_default();
            (usage, bytes)
        }
        DiskSource::File { path: _ } => return None,
    };
    let uuid = secret_uuid(disk.place(), disk.grant);
    Some(secret(vm, uuid, usage, value))
}

/// The key with which QEMU decrypts a disk; none where there is nothing to decrypt, or no key.
#[must_use]
pub fn render_key(vm: InstanceId, disk: &DiskItem) -> Option<DiskSecret> {
    let key = disk.luks.as_ref()?.key.as_ref()?;
    let name = format!("luks {} {}", disk.place(), disk.grant);
    let usage = Element::new("usage")
        .attr("type", "volume")
        .child(Element::new("volume").text(name));
    let uuid = key_uuid(disk.place(), disk.grant);
    Some(secret(vm, uuid, usage, key.0.clone().into_bytes()))
}

/// All that QEMU opens a disk with.
#[must_use]
pub fn render_secrets(vm: InstanceId, disk: &DiskItem) -> Vec<DiskSecret> {
    let login = render_secret(vm, disk);
    login.into_iter().chain(render_key(vm, disk)).collect()
}

fn secret(vm: InstanceId, uuid: Uuid, usage: Element, value: Vec<u8>) -> DiskSecret {
    let xml = Element::new("secret")
        .attr("ephemeral", "yes")
        .attr("private", "yes")
        .child(Element::new("uuid").text(uuid))
        .child(Element::new("description").text(format!("{LABEL}{vm}")))
        .child(usage)
        .render();
    DiskSecret {
        uuid,
        xml,
        value: SecretBytes(value),
    }
}

/// The secrets that the disks of a domain name; a disk that is a file names none.
#[must_use]
pub fn read_secrets(domain: &str) -> Vec<Uuid> {
    let Ok(document) = roxmltree::Document::parse(domain) else {
        return Vec::new();
    };
    let nodes = document.descendants();
    let named = nodes.filter(|node| node.has_tag_name("secret"));
    named
        .filter_map(|secret| secret.attribute("uuid")?.parse().ok())
        .collect()
}

/// What a secret's XML says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretLabel {
    pub uuid: Uuid,
    pub vm: InstanceId,
}

impl SecretLabel {
    /// Reads libvirt's XML of a secret; `None` for one that is not ours.
    #[must_use]
    pub fn parse(xml: &str) -> Option<Self> {
        let document = roxmltree::Document::parse(xml).ok()?;
        let text = |name| {
            document
                .descendants()
                .find(|node| node.has_tag_name(name))
                .and_then(|node| node.text())
        };
        Some(Self {
            uuid: Uuid::parse_str(text("uuid")?.trim()).ok()?,
            vm: text("description")?.strip_prefix(LABEL)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::fixture;
    use crate::vm::xml::disk::render_disk;

    #[test]
    fn a_secret_is_private_and_ephemeral_and_its_xml_does_not_hold_the_value() {
        let disk = fixture::disk(7);
        let vm = InstanceId(Uuid::from_u128(1));
        let secret = render_secret(vm, &disk).unwrap();
        assert!(
            secret
                .xml
                .starts_with("<secret ephemeral=\"yes\" private=\"yes\">"),
            "{}",
            secret.xml
        );
        let DiskSource::Iscsi { chap, .. } = &disk.source else {
            panic!("{disk:?}");
        };
        assert!(!secret.xml.contains(&chap.secret.0), "{}", secret.xml);
        assert_eq!(secret.value.0, chap.secret.0.as_bytes());
        let label = SecretLabel::parse(&secret.xml).unwrap();
        assert_eq!(
            label,
            SecretLabel {
                uuid: secret.uuid,
                vm
            }
        );
    }

    #[test]
    fn libvirt_is_given_the_bytes_of_a_cephx_key_and_a_file_needs_none() {
        let mut disk = fixture::disk(7);
        disk.source = DiskSource::Rbd {
            cluster: dc_types::plan::RbdCluster {
                monitors: Vec::new(),
                pool: "volumes".into(),
            },
            image: "root".into(),
            cephx: fixture::cephx(),
        };
        let vm = InstanceId(Uuid::from_u128(1));
        let secret = render_secret(vm, &disk).unwrap();
        assert!(
            secret.xml.contains("<usage type=\"ceph\">"),
            "{}",
            secret.xml
        );
        assert_eq!(secret.value.0[..2], [1, 0]);
        assert_eq!(secret.value.0.len(), 28);
        let named = |disk: &DiskItem| read_secrets(&render_disk(disk, 0).render());
        assert_eq!(named(&disk), [secret.uuid]);
        disk.source = DiskSource::File { path: "/v".into() };
        assert_eq!(render_secret(vm, &disk), None);
        assert!(named(&disk).is_empty());
    }

    #[test]
    fn a_foreign_secret_is_not_recognised() {
        let xml = "<secret><uuid>6b1d4bb2-6a54-4b5e-8c4c-000000000001</uuid>\
                   <description>dc.sonla.gov.vn is nice</description></secret>";
        assert_eq!(SecretLabel::parse(xml), None);
        assert_eq!(SecretLabel::parse("<secret"), None);
    }

    #[test]
    fn another_epoch_has_another_secret() {
        let volume = InstanceId(Uuid::from_u128(1));
        let epoch = |revision| Epoch {
            incarnation: 1,
            revision,
        };
        assert_ne!(secret_uuid(volume, epoch(1)), secret_uuid(volume, epoch(2)));
    }
}
