//! Machine features, power management and, under software emulation, the bound of its cache.

use dc_types::MiB;
use dc_types::report::Accelerator;

use super::Element;

/// QEMU's translation cache grows to a gigabyte for each guest unless it is bounded. Measured:
/// with 32 MiB a small guest boots no slower; one that runs a distribution wants 64.
fn tb_cache(memory: MiB) -> u64 {
    if memory.0 < 512 { 32 } else { 64 }
}

#[must_use]
pub fn render_features(accelerator: Accelerator, memory: MiB) -> Element {
    let features = Element::new("features")
        .child(Element::new("acpi"))
        .child(Element::new("apic"));
    match accelerator {
        Accelerator::Kvm => features,
        Accelerator::Tcg => features.child(
            Element::new("tcg").child(
                Element::new("tb-cache")
                    .attr("unit", "MiB")
                    .text(tb_cache(memory)),
            ),
        ),
    }
}

/// A guest cannot put itself to sleep: nobody would wake it.
#[must_use]
pub fn render_pm() -> Element {
    let off = |name| Element::new(name).attr("enabled", "no");
    Element::new("pm")
        .child(off("suspend-to-mem"))
        .child(off("suspend-to-disk"))
}

/// libvirt's word for the accelerator; never probed.
#[must_use]
pub fn domain_type(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Tcg => "qemu",
        Accelerator::Kvm => "kvm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_translation_cache_is_bounded_and_only_where_there_is_one() {
        let small = render_features(Accelerator::Tcg, MiB(128)).render();
        assert!(
            small.contains("<tb-cache unit=\"MiB\">32</tb-cache>"),
            "{small}"
        );
        let large = render_features(Accelerator::Tcg, MiB(2048)).render();
        assert!(large.contains(">64</tb-cache>"), "{large}");
        let kvm = render_features(Accelerator::Kvm, MiB(128)).render();
        assert!(!kvm.contains("tcg"), "{kvm}");
    }

    #[test]
    fn the_accelerator_is_stated() {
        assert_eq!(domain_type(Accelerator::Tcg), "qemu");
        assert_eq!(domain_type(Accelerator::Kvm), "kvm");
    }

    #[test]
    fn a_guest_cannot_suspend_itself() {
        let xml = render_pm().render();
        assert!(xml.contains("<suspend-to-mem enabled=\"no\"/>"), "{xml}");
        assert!(xml.contains("<suspend-to-disk enabled=\"no\"/>"), "{xml}");
    }
}
