//! The PCI Express ports of a machine: one for each device it starts with, and spare ones.
//!
//! A device can be added to a running guest only at a port that stood when it started, and libvirt
//! makes just as many as the devices of a start need. It fills the ports named here first, so that
//! these are counted whole: the devices' own and the spare.

use std::collections::BTreeSet;
use std::iter;

use dc_types::plan::VmItem;

use super::Element;

/// Ports that are free when a machine starts: so many disks it can be given while it runs.
pub const SPARE_SLOTS: usize = 6;
const PORT: &str = "pcie-root-port";
/// The seed, the channel's controller, the source of randomness and the balloon.
const OWN_DEVICES: usize = 4;

/// The bus and its ports; none for a machine type without PCI Express, whose bus has free slots by
/// itself.
#[must_use]
pub fn render_slots(vm: &VmItem, cards: usize) -> Vec<Element> {
    if !vm.machine_type.starts_with("pc-q35-") {
        return Vec::new();
    }
    let controller = |model: &str| {
        Element::new("controller")
            .attr("type", "pci")
            .attr("model", model)
    };
    // Where ports are named libvirt no longer adds the bus that they hang on, and refuses one of
    // them as the first.
    let bus = controller("pcie-root").attr("index", 0);
    let ports = vm.disks.len() + cards + OWN_DEVICES + SPARE_SLOTS;
    iter::once(bus)
        .chain((0..ports).map(|_| controller(PORT)))
        .collect()
}

/// How many ports of a running domain have no device; `None` for a machine without such ports.
#[must_use]
pub fn read_free_slots(domain: &str) -> Option<usize> {
    let document = roxmltree::Document::parse(domain).ok()?;
    let is_port = |node: &roxmltree::Node<'_, '_>| {
        node.has_tag_name("controller") && node.attribute("model") == Some(PORT)
    };
    let ports = document.descendants().filter(is_port);
    let ports: Vec<u32> = ports
        .filter_map(|port| port.attribute("index")?.parse().ok())
        .collect();
    let on_pci = document
        .descendants()
        .filter(|node| node.has_tag_name("address") && node.attribute("type") == Some("pci"));
    let taken: BTreeSet<u32> = on_pci
        .filter_map(|address| {
            let bus = address.attribute("bus")?.trim_start_matches("0x");
            u32::from_str_radix(bus, 16).ok()
        })
        .collect();
    // libvirt makes a machine of PCI Express without a port only when it has no device at all.
    (!ports.is_empty()).then(|| ports.iter().filter(|port| !taken.contains(*port)).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::fixture;

    /// Devices of a rendered domain that take a port each, and its ports.
    fn count(xml: &str) -> (usize, usize) {
        let document = roxmltree::Document::parse(xml).unwrap();
        let on_a_port = ["disk", "interface", "channel", "rng", "memballoon"];
        let (mut devices, mut ports) = (0, 0);
        for node in document.descendants() {
            let name = node.tag_name().name();
            devices += usize::from(on_a_port.contains(&name));
            ports += usize::from(node.attribute("model") == Some("pcie-root-port"));
        }
        (devices, ports)
    }

    #[test]
    fn a_started_machine_has_its_spare_ports_beside_one_for_each_device() {
        let (devices, ports) = count(&fixture::domain_xml());
        assert_eq!(ports, devices + SPARE_SLOTS);
    }

    #[test]
    fn a_port_is_free_when_no_device_is_behind_it() {
        let port = |index: u32| {
            format!(
                "<controller type='pci' index='{index}' model='pcie-root-port'>\
                 <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0'/>\
                 </controller>"
            )
        };
        let device = |bus: &str| {
            format!(
                "<disk><address type='pci' domain='0x0000' bus='{bus}' slot='0x00'/></disk>\
                 <serial><address type='isa'/></serial>"
            )
        };
        let of = |inner: &str| read_free_slots(&format!("<domain>{inner}</domain>"));
        let ports: String = [1, 2, 16].map(port).concat();
        assert_eq!(of(&ports), Some(3));
        assert_eq!(of(&format!("{ports}{}", device("0x10"))), Some(2));
        let full = ["0x01", "0x02", "0x10"].map(device).concat();
        assert_eq!(of(&format!("{ports}{full}")), Some(0));
        // Its one bus has free slots by itself.
        assert_eq!(of(&device("0x00")), None);
    }

    #[test]
    fn a_machine_type_without_pci_express_gets_no_ports_it_would_refuse() {
        let mut vm = fixture::vm();
        vm.machine_type = "pc-i440fx-7.2".into();
        assert_eq!(render_slots(&vm, 2).len(), 0);
    }
}
