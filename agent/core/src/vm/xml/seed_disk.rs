//! The cloud-init seed: a small read-only virtio disk. Virtio, because the cloud kernel has no
//! AHCI and would not see a CD-ROM.

use std::path::Path;

use super::Element;
/// The last letter, so that no disk that comes while the machine runs finds its name taken.
const DEVICE: &str = "vdz";

#[must_use]
pub fn render_seed_disk(path: &Path) -> Element {
    Element::new("disk")
        .attr("type", "file")
        .attr("device", "disk")
        .child(
            Element::new("driver")
                .attr("name", "qemu")
                .attr("type", "raw"),
        )
        .child(Element::new("source").attr("file", path.display()))
        .child(
            Element::new("target")
                .attr("dev", DEVICE)
                .attr("bus", "virtio"),
        )
        .child(Element::new("readonly"))
        .child(Element::new("serial").text("cidata"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_a_raw_read_only_virtio_disk_after_all_others() {
        let xml = render_seed_disk(Path::new("/seeds/1/seed.img")).render();
        assert!(
            xml.contains("<source file=\"/seeds/1/seed.img\"/>"),
            "{xml}"
        );
        assert!(
            xml.contains("<target dev=\"vdz\" bus=\"virtio\"/>"),
            "{xml}"
        );
        assert!(xml.contains("<readonly/>"), "{xml}");
        // The format is stated: a guest could otherwise write a header that QEMU would believe.
        assert!(xml.contains("type=\"raw\""), "{xml}");
    }
}
