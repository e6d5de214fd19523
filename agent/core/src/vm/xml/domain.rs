//! A whole domain, put together from its devices.

use std::path::Path;

use dc_types::plan::VmItem;
use dc_types::report::Accelerator;

use super::balloon::render_balloon;
use super::channel::render_channel;
use super::cpu::render_cpu;
use super::disk::render_disk;
use super::features::{domain_type, render_features, render_pm};
use super::nic::render_nic;
use super::os::{render_os, render_sysinfo};
use super::panic::{render_on_crash, render_panic};
use super::rng::render_rng;
use super::seed_disk::render_seed_disk;
use super::serial::render_serial;
use super::slots::render_slots;
use super::{Element, Metadata};
use crate::vm::validate::Card;

/// All a domain is made from.
#[derive(Clone, Copy, Debug)]
pub struct DomainSpec<'a> {
    pub vm: &'a VmItem,
    pub name: &'a str,
    pub metadata: &'a Metadata,
    pub accelerator: Accelerator,
    pub cards: &'a [Card],
    pub mtu: u32,
    pub seed: &'a Path,
    pub nvram: &'a Path,
    pub console: &'a Path,
}

#[must_use]
pub fn render_domain(spec: &DomainSpec<'_>) -> String {
    let vm = spec.vm;
    let object = &spec.metadata.object;
    Element::new("domain")
        .attr("type", domain_type(spec.accelerator))
        .child(Element::new("name").text(spec.name))
        .child(Element::new("uuid").text(vm.vm))
        .child(Element::new("title").text(object))
        .child(Element::new("metadata").child(spec.metadata.render()))
        .child(Element::new("memory").attr("unit", "MiB").text(vm.memory.0))
        .child(
            Element::new("vcpu")
                .attr("placement", "static")
                .text(vm.vcpus),
        )
        .child(render_sysinfo(vm.vm))
        .child(render_os(&vm.machine_type, vm.firmware, spec.nvram))
        .child(render_features(spec.accelerator, vm.memory))
        .child(render_cpu(&vm.cpu_model, vm.vcpus))
        .child(Element::new("clock").attr("offset", "utc"))
        .child(Element::new("on_poweroff").text("destroy"))
        .child(Element::new("on_reboot").text("restart"))
        .child(render_on_crash(vm.on_stop))
        .child(render_pm())
        .child(render_devices(spec))
        .render()
}

fn render_devices(spec: &DomainSpec<'_>) -> Element {
    let disks = &spec.vm.disks;
    Element::new("devices")
        .children(
            disks
                .iter()
                .enumerate()
                .map(|(index, disk)| render_disk(disk, index)),
        )
        .child(render_seed_disk(spec.seed))
        .child(
            Element::new("controller")
                .attr("type", "usb")
                .attr("model", "none"),
        )
        .children(render_slots(spec.vm, spec.cards.len()))
        .children(
            spec.cards
                .iter()
                .map(|card| render_nic(card.nic.mac, &card.tap, spec.mtu)),
        )
        .children(render_serial(spec.console))
        .child(render_channel())
        .child(render_rng())
        .child(render_balloon())
        .child(render_panic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::fixture;

    #[test]
    fn a_domain_has_one_of_each_device_it_needs_and_no_watchdog_or_display() {
        let xml = fixture::domain_xml();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let count = |name| {
            document
                .descendants()
                .filter(|node| node.has_tag_name(name))
                .count()
        };
        let wanted = [
            ("disk", 3),
            ("interface", 2),
            ("serial", 4),
            ("channel", 1),
            ("rng", 1),
            ("memballoon", 1),
            ("panic", 1),
            ("watchdog", 0),
            ("graphics", 0),
        ];
        for (device, number) in wanted {
            assert_eq!(count(device), number, "{device} in {xml}");
        }
        assert_eq!(
            document.root_element().attribute("type"),
            Some("qemu"),
            "{xml}"
        );
    }

    #[test]
    fn the_domain_bears_the_instance_id_twice_and_our_metadata() {
        let (vm, xml) = (fixture::vm(), fixture::domain_xml());
        assert!(xml.contains(&format!("<uuid>{}</uuid>", vm.vm)), "{xml}");
        assert!(
            xml.contains(&format!("<entry name=\"uuid\">{}</entry>", vm.vm)),
            "{xml}"
        );
        let metadata = Metadata::find(&xml).unwrap().unwrap();
        assert_eq!(metadata.grants.len(), 2);
        assert_eq!(metadata.machine_type, "pc-q35-7.2");
    }
}
