//! The systems of a department, the subnets they need, and the machines of each system by tier.

use std::collections::BTreeSet;

use dc_crds::department::DisplayName;
use dc_crds::subnet::SubnetSpec;
use dc_crds::system::InformationSystemSpec;
use dc_crds::vm::{Disk, Interface, PhysicalException, VirtualMachineSpec};
use dc_crds::volume::{EraseMethod, Reclaim, SourceSpec, VolumeTemplate};
use dc_crds::{InformationSystem, Subnet, VirtualMachine};
use serde_json::Value;

use super::manifest;
use super::register::{Placement, System};

/// Size of a database's data volume where the source states none.
const ASSUMED_DATA: &str = "20G";

/// The SOC's own pool.
const SOC_POOL: &str = "soc-1";

/// One machine of a tier.
struct Tier {
    name: &'static str,
    zone: &'static str,
    count: u32,
    publish: &'static [&'static str],
    data: bool,
}

const WEB: Tier = Tier {
    name: "web",
    zone: "dmz",
    count: 1,
    publish: &["http"],
    data: false,
};
const APP: Tier = Tier {
    name: "app",
    zone: "internal",
    count: 1,
    publish: &[],
    data: false,
};
const ADAPTER: Tier = Tier {
    name: "adapter",
    zone: "internal",
    count: 2,
    publish: &[],
    data: false,
};
const DATABASE: Tier = Tier {
    name: "db",
    zone: "database",
    count: 1,
    publish: &[],
    data: true,
};

/// The tiers of a system, as its placement says.
fn tiers(system: &System) -> Vec<Tier> {
    let alone = |zone| Tier {
        name: "srv",
        zone,
        count: 1,
        publish: &[],
        data: true,
    };
    match system.placement {
        // The provincial portal has two fronts, so that a host can be taken away.
        Placement::Web if system.id == "A01" => vec![Tier { count: 2, ..WEB }, APP, DATABASE],
        Placement::Web => vec![WEB, APP, DATABASE],
        Placement::Int => vec![APP, DATABASE],
        Placement::Lgsp => vec![ADAPTER, DATABASE],
        Placement::Mgmt => vec![alone("management")],
        Placement::Soc => vec![alone("soc")],
    }
}

/// A department's systems, after the subnets that they share.
pub fn systems(department: &str, systems: &[&System]) -> Vec<Value> {
    let zones: BTreeSet<&str> = systems
        .iter()
        .flat_map(|s| tiers(s))
        .map(|tier| tier.zone)
        .collect();
    let subnets = zones.into_iter().map(|zone| {
        let spec = SubnetSpec {
            system: None,
            zone: zone.to_owned(),
            ipv4: None,
            ipv6: None,
            dns: vec![],
        };
        manifest::<Subnet>(Some(department), zone, "", &spec)
    });
    subnets
        .chain(systems.iter().map(|s| system(department, s)))
        .collect()
}

fn system(department: &str, system: &System) -> Value {
    let spec = InformationSystemSpec {
        display_name: DisplayName {
            vi: system.name_vi.clone(),
            en: system.name_en.clone(),
        },
        register_id: Some(system.id.clone()),
        // The one level that the source states.
        security_level: (system.id == "A27").then_some(3),
        public_service: system.placement == Placement::Web,
        legal_basis: None,
        lease: None,
    };
    manifest::<InformationSystem>(Some(department), &system.slug(), "", &spec)
}

/// One machine, before it is a manifest.
pub struct Machine {
    name: String,
    /// Fields that the source does not state.
    assumed: String,
    pub spec: VirtualMachineSpec,
}

/// The machines of one system.
pub fn machines(system: &System) -> Vec<Machine> {
    let mut machines = Vec::new();
    for tier in tiers(system) {
        for number in 1..=tier.count {
            machines.push(machine(system, &tier, number));
        }
    }
    machines
}

pub fn manifests(system: &System) -> Vec<Value> {
    let machines = machines(system).into_iter();
    machines
        .map(
            |Machine {
                 name,
                 assumed,
                 spec,
             }| {
                manifest::<VirtualMachine>(Some(&system.owner), &name, &assumed, &spec)
            },
        )
        .collect()
}

fn machine(system: &System, tier: &Tier, number: u32) -> Machine {
    let mut disks = vec![disk("root", "1Gi", Some("tiny"), pool(system))];
    let mut assumed = "class, size of root".to_owned();
    if tier.data {
        let stated = system.size_gb.map(size);
        if stated.is_none() {
            assumed.push_str(", size of data");
        }
        let size = stated.unwrap_or_else(|| ASSUMED_DATA.to_owned());
        disks.push(disk("data", &size, None, pool(system)));
    }
    let spec = VirtualMachineSpec {
        system: system.slug(),
        class: "tiny".to_owned(),
        power_state: Default::default(),
        restart: None,
        firmware: Default::default(),
        disks,
        interfaces: vec![Interface {
            subnet: tier.zone.to_owned(),
            ipv4: None,
            ipv6: None,
            mac: None,
            publish: tier.publish.iter().map(|&name| name.to_owned()).collect(),
        }],
        cloud_init: None,
        stop_deadline_seconds: 60,
        on_guest_stop: Default::default(),
        spread_group: (tier.count > 1).then(|| tier.name.to_owned()),
        physical_exception: exception(system, tier),
        lease: None,
    };
    Machine {
        name: format!("{}-{}-{number}", system.slug(), tier.name),
        assumed,
        spec,
    }
}

fn disk(name: &str, size: &str, image: Option<&str>, pool: &str) -> Disk {
    Disk {
        name: name.to_owned(),
        volume: None,
        template: Some(VolumeTemplate {
            pool: pool.to_owned(),
            size: size.to_owned(),
            source: SourceSpec {
                image: image.map(str::to_owned),
                volume: None,
                snapshot: None,
                restore: None,
            },
            // Data outlives a mistaken delete; a root disk is made again from its image.
            reclaim: if image.is_some() {
                Reclaim::Erase
            } else {
                Reclaim::Retain
            },
            erase_method: EraseMethod::Discard,
            qos: None,
            encrypted: false,
        }),
    }
}

/// The SOC's storage is apart (requirement S8).
fn pool(system: &System) -> &'static str {
    if system.placement == Placement::Soc {
        SOC_POOL
    } else {
        "san-1"
    }
}

/// The class of a pool, as the lab's pools have it.
pub fn class_of(pool: &str) -> &'static str {
    match pool {
        SOC_POOL => "soc",
        _ => "standard",
    }
}

/// GB as the source writes them, in the unit that keeps the number whole.
fn size(gb: f64) -> String {
    if gb >= 1.0 && gb.fract() == 0.0 {
        format!("{gb:.0}G")
    } else {
        format!("{:.0}M", gb * 1000.0)
    }
}

/// Databases belong on physical servers (requirement C3); one that runs here says why.
fn exception(system: &System, tier: &Tier) -> Option<PhysicalException> {
    (tier.zone == "database").then(|| PhysicalException {
        reason: format!(
            "No physical server is in the inventory yet for the database of {}; \
             Chưa có máy chủ vật lý cho cơ sở dữ liệu này",
            system.id
        ),
        decided_by: "so-khcn (assumed)".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_keeps_its_number() {
        assert_eq!(size(1350.0), "1350G");
        assert_eq!(size(0.255), "255M");
        assert_eq!(size(0.01), "10M");
    }
}
