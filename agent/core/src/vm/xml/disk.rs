//! One disk: QEMU's own initiator opens the volume's target over iSCSI.
//!
//! Nothing is cached on the host. An error of the storage stops the guest rather than reaching it:
//! a full pool pauses it, and it goes on when there is room.

use dc_types::plan::{DiskItem, GrantItem};

use super::Element;
use super::secret::secret_uuid;

/// QEMU takes this many bytes of a virtio disk's serial.
const SERIAL_MAX: usize = 20;

#[must_use]
pub fn render_disk(disk: &DiskItem, index: usize) -> Element {
    let target = GrantItem::target_name(disk.volume, disk.grant);
    let mut element = Element::new("disk")
        .attr("type", "network")
        .attr("device", "disk")
        .child(
            Element::new("driver")
                .attr("name", "qemu")
                .attr("type", "raw")
                .attr("cache", "none")
                .attr("error_policy", "stop")
                .attr("rerror_policy", "stop")
                .attr("discard", "unmap"),
        )
        .child(
            Element::new("auth")
                .attr("username", &disk.chap.user)
                .child(
                    Element::new("secret")
                        .attr("type", "iscsi")
                        .attr("uuid", secret_uuid(disk.volume, disk.grant)),
                ),
        )
        .child(
            Element::new("source")
                .attr("protocol", "iscsi")
                // Unit 1: unit 0 is tgt's own controller.
                .attr("name", format!("{target}/1"))
                .child(
                    Element::new("host")
                        .attr("name", disk.portal.address)
                        .attr("port", disk.portal.port),
                )
                .child(
                    Element::new("initiator")
                        .child(Element::new("iqn").attr("name", &disk.initiator)),
                ),
        )
        .child(
            Element::new("target")
                .attr("dev", target_name(index))
                .attr("bus", "virtio"),
        )
        .child(Element::new("serial").text(serial(disk)));
    if index == 0 {
        element = element.child(Element::new("boot").attr("order", 1));
    }
    element
}

/// `vda` to `vdz`, which is more than validation lets through.
#[must_use]
pub fn target_name(index: usize) -> String {
    let letter = b'a' + u8::try_from(index).expect("a machine has at most 25 disks");
    format!("vd{}", char::from(letter))
}

/// What the guest sees as `/dev/disk/by-id/virtio-<serial>`: the volume's id, cut to fit.
fn serial(disk: &DiskItem) -> String {
    disk.volume.0.simple().to_string()[..SERIAL_MAX].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::fixture;

    #[test]
    fn a_disk_is_opened_over_iscsi_by_qemu_itself() {
        let disk = fixture::disk(7);
        let xml = render_disk(&disk, 0).render();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let find = |name| {
            document
                .descendants()
                .find(|node| node.has_tag_name(name))
                .unwrap_or_else(|| panic!("no {name} in {xml}"))
        };
        let driver = find("driver");
        assert_eq!(driver.attribute("cache"), Some("none"));
        assert_eq!(driver.attribute("discard"), Some("unmap"));
        assert_eq!(driver.attribute("error_policy"), Some("stop"));
        let source = find("source");
        let name = source.attribute("name").unwrap();
        assert_eq!(
            name,
            format!("{}/1", GrantItem::target_name(disk.volume, disk.grant))
        );
        assert_eq!(find("iqn").attribute("name"), Some(disk.initiator.as_str()));
        assert_eq!(find("auth").attribute("username"), Some("dc"));
        assert_eq!(
            find("secret").attribute("uuid"),
            Some(secret_uuid(disk.volume, disk.grant).to_string().as_str())
        );
        assert_eq!(find("host").attribute("port"), Some("3260"));
        assert_eq!(find("serial").text().map(str::len), Some(SERIAL_MAX));
        assert!(!xml.contains(&disk.chap.secret.0), "the secret is in {xml}");
    }

    #[test]
    fn only_the_first_disk_is_booted_from() {
        let disk = fixture::disk(7);
        assert!(
            render_disk(&disk, 0)
                .render()
                .contains("<boot order=\"1\"/>")
        );
        let second = render_disk(&disk, 1).render();
        assert!(!second.contains("<boot"), "{second}");
        assert!(second.contains("dev=\"vdb\""), "{second}");
    }
}
