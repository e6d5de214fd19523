//! libvirt secrets that carry the CHAP secrets to QEMU, one for each volume and epoch.
//!
//! Private: libvirt never gives the value back. Ephemeral: it is never on libvirt's disk, and gone
//! when libvirtd restarts, which is why they are defined anew before each start.

use dc_types::plan::{DiskItem, GrantItem, Secret};
use dc_types::{Epoch, InstanceId};
use uuid::Uuid;

use super::Element;

/// How our secrets begin their description, so that a foreign one is never touched.
const LABEL: &str = "dc.sonla.gov.vn machine ";

/// The secret's uuid: the same whenever it is defined, another for each epoch.
#[must_use]
pub fn secret_uuid(volume: InstanceId, grant: Epoch) -> Uuid {
    Uuid::new_v5(&volume.0, format!("chap {grant}").as_bytes())
}

/// A secret to define. The value travels beside the XML, never in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChapSecret {
    pub uuid: Uuid,
    pub xml: String,
    pub value: Secret,
}

#[must_use]
pub fn render_secret(vm: InstanceId, disk: &DiskItem) -> ChapSecret {
    let uuid = secret_uuid(disk.volume, disk.grant);
    let xml =
        Element::new("secret")
            .attr("ephemeral", "yes")
            .attr("private", "yes")
            .child(Element::new("uuid").text(uuid))
            .child(Element::new("description").text(format!("{LABEL}{vm}")))
            .child(Element::new("usage").attr("type", "iscsi").child(
                Element::new("target").text(GrantItem::target_name(disk.volume, disk.grant)),
            ))
            .render();
    ChapSecret {
        uuid,
        xml,
        value: disk.chap.secret.clone(),
    }
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

    #[test]
    fn a_secret_is_private_and_ephemeral_and_its_xml_does_not_hold_the_value() {
        let disk = fixture::disk(7);
        let vm = InstanceId(Uuid::from_u128(1));
        let secret = render_secret(vm, &disk);
        assert!(
            secret
                .xml
                .starts_with("<secret ephemeral=\"yes\" private=\"yes\">"),
            "{}",
            secret.xml
        );
        assert!(!secret.xml.contains(&disk.chap.secret.0), "{}", secret.xml);
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
