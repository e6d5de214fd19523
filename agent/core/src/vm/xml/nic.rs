//! One card: a tap that the agent made and will move into the department's namespace.
//!
//! `managed="no"`: libvirt opens the tap and touches neither its address nor its state, so that
//! it can be moved while the guest is still paused.

use dc_types::Mac;

use super::Element;

#[must_use]
pub fn render_nic(mac: Mac, tap: &str, mtu: u32) -> Element {
    Element::new("interface")
        .attr("type", "ethernet")
        .child(Element::new("mac").attr("address", mac))
        .child(
            Element::new("target")
                .attr("dev", tap)
                .attr("managed", "no"),
        )
        .child(Element::new("model").attr("type", "virtio"))
        .child(Element::new("mtu").attr("size", mtu))
        // No network boot: the option ROM costs memory and seconds.
        .child(Element::new("rom").attr("enabled", "no"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_an_unmanaged_tap_with_its_mac_and_mtu() {
        let xml = render_nic(Mac([0x52, 0x54, 0, 1, 2, 3]), "t0123", 1450).render();
        for part in [
            "<interface type=\"ethernet\">",
            "<mac address=\"52:54:00:01:02:03\"/>",
            "<target dev=\"t0123\" managed=\"no\"/>",
            "<model type=\"virtio\"/>",
            "<mtu size=\"1450\"/>",
        ] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
    }
}
