//! Zones and machine classes. The source names the zones and what may flow; the numbers are ours.

use dc_crds::machine_class::MachineClassSpec;
use dc_crds::zone::{IngressRule, PoolV4, PoolV6, ProtocolName, ServiceSpec, ZoneKind, ZoneSpec};
use dc_crds::{MachineClass, Zone};
use serde_json::Value;

use super::manifest;

fn tcp(name: &str, port: u16) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        protocol: ProtocolName::Tcp,
        port: Some(port),
        end_port: None,
    }
}

fn from(from: ZoneKind, services: Vec<ServiceSpec>) -> IngressRule {
    IngressRule { from, services }
}

/// The matrix: outside to dmz, dmz to internal, internal to database, by named services; nothing
/// else.
pub fn zones() -> Vec<Value> {
    let zone = |name: &str, type_, nets: Option<(&str, &str)>, ingress| {
        let spec = ZoneSpec {
            type_,
            pool_v4: nets.map(|(v4, _)| PoolV4 {
                cidr: v4.parse().expect("a constant prefix"),
                prefix_length: 26,
            }),
            pool_v6: nets.map(|(_, v6)| PoolV6 {
                cidr: v6.parse().expect("a constant prefix"),
            }),
            ingress,
        };
        manifest::<Zone>(None, name, "poolV4, poolV6, ports of services", &spec)
    };
    vec![
        zone("outside", ZoneKind::Outside, None, vec![]),
        zone(
            "dmz",
            ZoneKind::Dmz,
            Some(("10.32.0.0/12", "fd5a:1a00::/32")),
            vec![from(
                ZoneKind::Outside,
                vec![tcp("http", 80), tcp("https", 443)],
            )],
        ),
        zone(
            "internal",
            ZoneKind::Internal,
            Some(("10.64.0.0/12", "fd5a:1a01::/32")),
            vec![from(ZoneKind::Dmz, vec![tcp("app", 8080)])],
        ),
        zone(
            "database",
            ZoneKind::Database,
            Some(("10.96.0.0/12", "fd5a:1a02::/32")),
            vec![from(ZoneKind::Internal, vec![tcp("postgres", 5432)])],
        ),
        zone(
            "management",
            ZoneKind::Management,
            Some(("10.128.0.0/12", "fd5a:1a03::/32")),
            vec![],
        ),
        zone(
            "soc",
            ZoneKind::Soc,
            Some(("10.160.0.0/12", "fd5a:1a04::/32")),
            vec![],
        ),
    ]
}

pub fn classes() -> Vec<Value> {
    let class = |name: &str, vcpus, memory: &str| {
        let spec = MachineClassSpec {
            vcpus,
            memory: memory.to_owned(),
            cpu_model: "qemu64".to_owned(),
        };
        manifest::<MachineClass>(None, name, "vcpus, memory, cpuModel", &spec)
    };
    vec![
        class("tiny", 1, "128Mi"),
        class("small", 1, "512Mi"),
        class("medium", 2, "4Gi"),
        class("large", 4, "16Gi"),
    ]
}
