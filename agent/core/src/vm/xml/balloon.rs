//! The memory balloon: tells what the guest uses. It never takes memory from a guest by itself.

use super::Element;

/// Seconds between two looks at the guest's memory: as often as metrics are gathered.
const STATS_PERIOD_S: u32 = 15;

#[must_use]
pub fn render_balloon() -> Element {
    Element::new("memballoon")
        .attr("model", "virtio")
        .attr("autodeflate", "on")
        .child(Element::new("stats").attr("period", STATS_PERIOD_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balloon_gives_statistics_and_deflates_under_pressure() {
        let xml = render_balloon().render();
        assert!(xml.contains("model=\"virtio\" autodeflate=\"on\""), "{xml}");
        assert!(xml.contains("<stats period=\"15\"/>"), "{xml}");
    }
}
