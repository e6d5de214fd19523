//! The tests' objects, as a department's officer would write them.

use serde_json::{Value, json};

const API_VERSION: &str = "dc.sonla.gov.vn/v1alpha1";

/// The one system of each department.
pub const SYSTEM: &str = "e2e";

fn object(kind: &str, namespace: Option<&str>, name: &str, spec: Value) -> Value {
    let mut metadata = json!({ "name": name });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    json!({ "apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec })
}

pub fn department(name: &str) -> Value {
    let spec = json!({
        "kind": "department",
        "displayName": { "vi": format!("Sở {name}"), "en": format!("Department {name}") },
    });
    object("Department", None, name, spec)
}

pub fn system(department: &str) -> Value {
    let spec = json!({ "displayName": { "vi": "Hệ thống thử", "en": "Trial system" } });
    object("InformationSystem", Some(department), SYSTEM, spec)
}

/// A subnet named like its zone, with prefixes of its own choice or of the zone's pool.
pub fn subnet(department: &str, zone: &str, prefixes: Option<(&str, &str)>) -> Value {
    let mut spec = json!({ "zone": zone });
    if let Some((v4, v6)) = prefixes {
        spec["ipv4"] = json!(v4);
        spec["ipv6"] = json!(v6);
    }
    object("Subnet", Some(department), zone, spec)
}

pub fn blank_volume(department: &str, name: &str, size: &str, reclaim: &str) -> Value {
    let spec = json!({
        "system": SYSTEM, "pool": "san-1", "size": size, "reclaim": reclaim,
    });
    object("Volume", Some(department), name, spec)
}

/// Of all volumes of a machine.
pub fn snapshot_of(department: &str, name: &str, vm: &str) -> Value {
    let spec = json!({ "system": SYSTEM, "vm": vm });
    object("VolumeSnapshot", Some(department), name, spec)
}

pub fn machine_class(name: &str, memory: &str) -> Value {
    let spec = json!({ "vcpus": 1, "memory": memory, "cpuModel": "qemu64" });
    object("MachineClass", None, name, spec)
}

/// A machine to be asked for; the tiny image unless said otherwise.
#[derive(Debug, Clone)]
pub struct Wish {
    pub department: &'static str,
    pub name: &'static str,
    pub subnet: &'static str,
    /// An address of its own choice.
    pub ipv4: Option<&'static str>,
    pub publish: Vec<&'static str>,
    pub spread: Option<&'static str>,
    /// A Volume that exists, as second disk.
    pub store: Option<&'static str>,
    pub class: &'static str,
    pub image: &'static str,
    pub firmware: &'static str,
    /// Where its root is made.
    pub pool: &'static str,
    pub root_size: &'static str,
    pub user_data: Option<String>,
}

impl Wish {
    pub fn tiny(department: &'static str, name: &'static str, subnet: &'static str) -> Self {
        Self {
            department,
            name,
            subnet,
            ipv4: None,
            publish: Vec::new(),
            spread: None,
            store: None,
            class: "tiny",
            image: "tiny",
            firmware: "bios",
            pool: "san-1",
            root_size: "64Mi",
            user_data: None,
        }
    }

    pub fn render(&self) -> Value {
        let Self {
            department,
            name,
            subnet,
            ipv4,
            publish,
            spread,
            store,
            class,
            image,
            firmware,
            pool,
            root_size,
            user_data,
        } = self;
        let root = json!({
            "pool": pool, "size": root_size, "reclaim": "Erase", "source": { "image": image },
        });
        let mut disks = vec![json!({ "name": "root", "template": root })];
        if let Some(store) = store {
            disks.push(json!({ "name": "store", "volume": store }));
        }
        let mut card = json!({ "subnet": subnet, "publish": publish });
        if let Some(ipv4) = ipv4 {
            card["ipv4"] = json!(ipv4);
        }
        let mut spec = json!({
            "system": SYSTEM, "class": class, "firmware": firmware, "disks": disks,
            "interfaces": [card],
        });
        if let Some(spread) = spread {
            spec["spreadGroup"] = json!(spread);
        }
        if let Some(user_data) = user_data {
            spec["cloudInit"] = json!({ "userData": user_data });
        }
        object("VirtualMachine", Some(department), name, spec)
    }
}

pub fn text(object: &Value, pointer: &str) -> Option<String> {
    Some(object.pointer(pointer)?.as_str()?.to_owned())
}

/// Reason and message of the object's condition Ready.
pub fn ready_reason(object: &Value) -> String {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    match ready {
        Some(ready) => format!("{}: {}", ready["reason"], ready["message"]),
        None => "it has no condition Ready".to_owned(),
    }
}
