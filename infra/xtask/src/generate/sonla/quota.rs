//! What each body may hold. The source states no quota: it is twice what its registered systems
//! need, and something for what is not registered yet.

use std::collections::BTreeMap;

use dc_crds::quota::{Quota, StorageQuota};
use dc_types::Bytes;

use super::machines;
use super::register::System;

/// For a body that has no system yet: an office's web server, its application and a file server.
const SPARE_MACHINES: u32 = 4;
const SPARE_STORAGE: Bytes = Bytes(500 << 30);
/// Of the class medium.
const VCPUS_EACH: u32 = 2;
const MEMORY_EACH_GIB: u32 = 4;
/// One in each zone that carries machines of departments.
const SUBNETS: u32 = 6;
/// Of a machine with two disks, one before a change and a few to go back to.
const SNAPSHOTS_EACH: u32 = 8;
/// For a body that publishes nothing yet: its web server and a second one, http and https each.
const SPARE_PUBLIC: u32 = 2;
const SERVICES_EACH: u32 = 2;

pub fn of(systems: &[&System]) -> Quota {
    let mut machines = SPARE_MACHINES;
    let mut public = SPARE_PUBLIC;
    let mut storage = BTreeMap::from([("standard", SPARE_STORAGE)]);
    for machine in systems.iter().flat_map(|system| machines::machines(system)) {
        machines += 2;
        let cards = machine.spec.interfaces.iter();
        public += 2 * cards.filter(|card| !card.publish.is_empty()).count() as u32;
        let templates = machine
            .spec
            .disks
            .iter()
            .filter_map(|d| d.template.as_ref());
        for template in templates {
            let size: Bytes = template.size.parse().expect("sizes are written here");
            let class = machines::class_of(&template.pool);
            storage.entry(class).or_default().0 += 2 * size.0;
        }
    }
    Quota {
        virtual_machines: Some(machines),
        vcpus: Some(machines * VCPUS_EACH),
        memory: Some(format!("{}Gi", machines * MEMORY_EACH_GIB)),
        storage: storage
            .into_iter()
            .map(|(class, size)| StorageQuota {
                class: class.to_owned(),
                size: format!("{}Gi", size.0.div_ceil(1 << 30)),
            })
            .collect(),
        subnets: Some(SUBNETS),
        snapshots: Some(machines * SNAPSHOTS_EACH),
        public_addresses: Some(public),
        published_services: Some(public * SERVICES_EACH),
    }
}
