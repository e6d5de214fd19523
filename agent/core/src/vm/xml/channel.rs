//! The virtio-serial channel of the guest agent. libvirt chooses the socket's path on the host.

use super::Element;

#[must_use]
pub fn render_channel() -> Element {
    Element::new("channel").attr("type", "unix").child(
        Element::new("target")
            .attr("type", "virtio")
            .attr("name", "org.qemu.guest_agent.0"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_bears_the_name_that_the_guest_agent_looks_for() {
        let xml = render_channel().render();
        assert!(xml.contains("name=\"org.qemu.guest_agent.0\""), "{xml}");
        assert!(!xml.contains("<source"), "{xml}");
    }
}
