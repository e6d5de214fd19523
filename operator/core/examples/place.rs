//! How many placements a second the pure placement makes. Run by `cargo xtask bench place`.
//!
//! A thousand hosts of mixed size and duty, filled as machines are placed: each placement is
//! followed by the change of promise that its claim would make. Prints one JSON object.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use dc_operator_core::claims::HostPromise;
use dc_operator_core::place::{Duty, HostState, Index, Presence, Request, Service};
use dc_types::plan::{Firmware, ZoneType};
use dc_types::{HostName, MiB};

const HOSTS: u32 = 1_000;
const PLACEMENTS: u32 = 100_000;

fn host(number: u32) -> HostState {
    HostState {
        name: HostName::new(format!("host-{number:04}")).expect("a label"),
        duty: if number.is_multiple_of(20) {
            Duty::Other
        } else {
            Duty::Compute
        },
        presence: if number % 50 == 1 {
            Presence::Silent
        } else {
            Presence::Connected
        },
        service: if number % 40 == 3 {
            Service::Maintenance
        } else {
            Service::Open
        },
        zones: if number.is_multiple_of(3) {
            vec![ZoneType::Internal, ZoneType::Database]
        } else {
            vec![]
        },
        vcpu_limit: 1_024,
        memory_limit: MiB(1 << 20),
        machine_types: vec!["pc-q35-7.2".into(), "pc-q35-7.1".into()],
        firmwares: vec![Firmware::Bios, Firmware::Uefi],
        cpu_models: vec!["qemu64".into(), "Skylake-Server".into()],
    }
}

fn request(number: u32) -> Request {
    Request {
        vcpus: 1 + number % 4,
        memory: MiB(1_024 << (number % 3)),
        cpu_model: "qemu64".into(),
        firmware: if number.is_multiple_of(5) {
            Firmware::Uefi
        } else {
            Firmware::Bios
        },
        machine_type: None,
        only: None,
        zones: vec![if number.is_multiple_of(2) {
            ZoneType::Dmz
        } else {
            ZoneType::Internal
        }],
        spread: BTreeMap::new(),
    }
}

fn main() {
    let mut index = Index::default();
    (0..HOSTS).for_each(|number| index.upsert(host(number)));
    let requests: Vec<Request> = (0..60).map(request).collect();
    let mut used: BTreeMap<HostName, HostPromise> = BTreeMap::new();
    let start = Instant::now();
    for number in 0..PLACEMENTS {
        let request = &requests[number as usize % requests.len()];
        let placed = index
            .place(black_box(request))
            .expect("there is room for all");
        let promise = used.entry(placed.host.clone()).or_default();
        promise.vms += 1;
        promise.vcpus += u64::from(request.vcpus);
        promise.memory = MiB(promise.memory.0 + request.memory.0);
        index.set_promise(&placed.host, *promise);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{{\"hosts\":{HOSTS},\"placements\":{PLACEMENTS},\"seconds\":{seconds:.3},\"per_second\":{:.0}}}",
        f64::from(PLACEMENTS) / seconds
    );
}
