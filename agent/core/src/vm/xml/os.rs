//! Machine type and firmware, and what the guest is told of its maker (SMBIOS).
//!
//! The machine type is concrete and pinned: an alias such as `q35` would change with QEMU.

use std::path::Path;

use dc_types::InstanceId;
use dc_types::plan::Firmware;

use super::Element;

/// OVMF of Debian, without secure boot: that one needs system management mode.
pub const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// The template of a machine's own UEFI variables.
pub const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// `nvram` is where the machine's UEFI variables lie; made from the template at the first start.
#[must_use]
pub fn render_os(machine_type: &str, firmware: Firmware, nvram: &Path) -> Element {
    let os = Element::new("os").child(
        Element::new("type")
            .attr("arch", "x86_64")
            .attr("machine", machine_type)
            .text("hvm"),
    );
    let os = match firmware {
        Firmware::Bios => os,
        Firmware::Uefi => os
            .child(
                Element::new("loader")
                    .attr("readonly", "yes")
                    .attr("type", "pflash")
                    .text(OVMF_CODE),
            )
            .child(
                Element::new("nvram")
                    .attr("template", OVMF_VARS)
                    .text(nvram.display()),
            ),
    };
    os.child(Element::new("bootmenu").attr("enable", "no"))
        .child(Element::new("smbios").attr("mode", "sysinfo"))
}

/// libvirt insists that this uuid is the domain's.
#[must_use]
pub fn render_sysinfo(vm: InstanceId) -> Element {
    let entry = |name, value: &str| Element::new("entry").attr("name", name).text(value);
    Element::new("sysinfo").attr("type", "smbios").child(
        Element::new("system")
            .child(entry("manufacturer", "Son La data centre"))
            .child(entry("product", "Virtual machine"))
            .child(entry("serial", &vm.to_string()))
            .child(entry("uuid", &vm.to_string())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_machine_type_is_pinned_and_bios_needs_no_more() {
        let xml = render_os("pc-q35-7.2", Firmware::Bios, Path::new("/n")).render();
        assert!(xml.contains("machine=\"pc-q35-7.2\""), "{xml}");
        assert!(!xml.contains("<loader"), "{xml}");
    }

    #[test]
    fn uefi_has_its_code_read_only_and_variables_of_its_own() {
        let xml = render_os("pc-q35-7.2", Firmware::Uefi, Path::new("/seeds/1/nvram.fd")).render();
        assert!(
            xml.contains("<loader readonly=\"yes\" type=\"pflash\">"),
            "{xml}"
        );
        assert!(xml.contains(">/seeds/1/nvram.fd</nvram>"), "{xml}");
    }

    #[test]
    fn the_guest_reads_its_instance_id_from_smbios() {
        let vm = InstanceId(Uuid::from_u128(9));
        let xml = render_sysinfo(vm).render();
        assert!(
            xml.contains(&format!("<entry name=\"uuid\">{vm}</entry>")),
            "{xml}"
        );
    }
}
