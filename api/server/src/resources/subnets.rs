//! Subnets: a department's segments in zones.

use dc_crds::{Subnet, SubnetSpec};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Facts, Kind, view};
use crate::rights::Resource;

pub struct Subnets;

/// A segment of a department in one zone.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Subnet)]
pub struct SubnetView {
    #[serde(flatten)]
    pub meta: view::Meta,
    /// Absent when the whole department shares it.
    pub system: Option<String>,
    pub zone: String,
    /// The prefix it has.
    pub ipv4: Option<String>,
    pub ipv6: Option<String>,
    pub dns: Vec<String>,
    pub addresses_used: i64,
}

impl Kind for Subnets {
    type Object = Subnet;
    type View = SubnetView;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "subnets",
    };

    fn view(object: &Subnet) -> SubnetView {
        // The prefixes of the spec are wishes; those of the status are given.
        let SubnetSpec {
            system,
            zone,
            ipv4: _,
            ipv6: _,
            dns,
        } = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        SubnetView {
            meta: view::meta(&object.metadata, &status.conditions),
            system: system.clone(),
            zone: zone.clone(),
            ipv4: status.ipv4,
            ipv6: status.ipv6,
            dns: dns.iter().map(ToString::to_string).collect(),
            addresses_used: status.addresses_used,
        }
    }

    fn meta(object: &Subnet) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &Subnet) -> Facts<'_> {
        Facts {
            system: object.spec.system.as_deref(),
            state: None,
            virtual_machine: None,
        }
    }
}
