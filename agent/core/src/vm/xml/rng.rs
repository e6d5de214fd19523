//! The guest's source of randomness.

use super::Element;

#[must_use]
pub fn render_rng() -> Element {
    Element::new("rng").attr("model", "virtio").child(
        Element::new("backend")
            .attr("model", "random")
            .text("/dev/urandom"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_gets_randomness_that_never_blocks() {
        let xml = render_rng().render();
        assert!(
            xml.contains("<backend model=\"random\">/dev/urandom</backend>"),
            "{xml}"
        );
    }
}
