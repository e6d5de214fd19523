//! The CPU: a model named by the machine's class, the same on every host.
//!
//! A host that lacks the model refuses the start; it never gives another one in its place.

use super::Element;

#[must_use]
pub fn render_cpu(model: &str, vcpus: u32) -> Element {
    Element::new("cpu")
        .attr("mode", "custom")
        .attr("match", "exact")
        .child(Element::new("model").attr("fallback", "forbid").text(model))
        .child(
            Element::new("topology")
                .attr("sockets", 1)
                .attr("dies", 1)
                .attr("cores", vcpus)
                .attr("threads", 1),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_named_and_never_replaced() {
        let xml = render_cpu("qemu64", 2).render();
        assert!(
            xml.contains("<model fallback=\"forbid\">qemu64</model>"),
            "{xml}"
        );
        assert!(xml.contains("mode=\"custom\" match=\"exact\""), "{xml}");
        assert!(xml.contains("cores=\"2\""), "{xml}");
    }
}
