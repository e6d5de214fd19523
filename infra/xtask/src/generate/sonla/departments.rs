//! The 35 bodies that the source names, and the 75 communes that it counts.

use dc_crds::Department;
use dc_crds::department::{
    DepartmentKind, DepartmentSpec, DisplayName, Members, Subject, SubjectKind,
};
use dc_crds::pool::OwnerClass;
use serde_json::Value;

use super::manifest;
use super::quota;
use super::register::{Body, Register, System};

/// Communes and wards; the source does not name them.
const COMMUNES: usize = 75;

pub fn departments(register: &Register) -> Vec<Value> {
    let systems = register.systems_by_owner();
    let named = register.bodies.iter().map(|body| {
        let systems = systems.get(body.slug.as_str());
        named(body, systems.map_or(&[][..], |systems| systems))
    });
    named.chain((1..=COMMUNES).map(commune)).collect()
}

fn named(body: &Body, systems: &[&System]) -> Value {
    let spec = DepartmentSpec {
        display_name: DisplayName {
            vi: body.name_vi.clone(),
            en: body.name_en.clone(),
        },
        kind: kind(&body.kind),
        domain: (!body.domain.is_empty()).then(|| body.domain.clone()),
        members: members(&body.slug),
        quota: Some(quota::of(systems)),
        owner_class: OwnerClass::Shared,
    };
    manifest::<Department>(None, &body.slug, "members, quota", &spec)
}

fn commune(number: usize) -> Value {
    let name = format!("commune-{number:02}");
    let spec = DepartmentSpec {
        display_name: DisplayName {
            vi: format!("Ủy ban nhân dân xã, phường số {number:02}"),
            en: format!("People's Committee of commune or ward {number:02}"),
        },
        kind: DepartmentKind::Commune,
        domain: None,
        members: members(&name),
        quota: Some(quota::of(&[])),
        owner_class: OwnerClass::Shared,
    };
    manifest::<Department>(None, &name, "name, displayName, members, quota", &spec)
}

fn kind(kind: &str) -> DepartmentKind {
    match kind {
        "department" => DepartmentKind::Department,
        "central-agency" => DepartmentKind::CentralAgency,
        "front-body" => DepartmentKind::FrontBody,
        "press" => DepartmentKind::Press,
        "party" => DepartmentKind::Party,
        _ => DepartmentKind::Office,
    }
}

/// Groups of the identity provider: three of each body, and the province's independent auditor.
fn members(slug: &str) -> Members {
    let group = |name: String| {
        vec![Subject {
            kind: SubjectKind::Group,
            name,
        }]
    };
    Members {
        administrators: group(format!("{slug}:administrators")),
        leaders: group(format!("{slug}:leaders")),
        operators: group(format!("{slug}:operators")),
        auditors: group("province:auditors".to_owned()),
    }
}
