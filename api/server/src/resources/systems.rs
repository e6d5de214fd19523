//! Information systems: what machines, volumes and subnets belong to.

use dc_crds::{InformationSystem, InformationSystemSpec};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Facts, Kind, view};
use crate::rights::Resource;

pub struct Systems;

/// An information system of the register.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct System {
    #[serde(flatten)]
    pub meta: view::Meta,
    pub title_vi: String,
    pub title_en: String,
    /// Its id in the province's register.
    pub register_id: Option<String>,
    /// 1 to 5; absent while it is not determined.
    pub security_level: Option<u8>,
    pub audience: Audience,
    pub legal_basis: Option<String>,
    /// RFC 3339: until when its machines may run; no end when absent.
    pub lease_until: Option<String>,
    /// Machines that are ready, of those that are wanted: `ready/wanted`.
    pub machines: String,
}

#[derive(Serialize, ToSchema)]
pub enum Audience {
    /// Citizens and businesses use it directly.
    Public,
    Internal,
}

impl Kind for Systems {
    type Object = InformationSystem;
    type View = System;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "informationsystems",
    };

    fn view(object: &InformationSystem) -> System {
        let InformationSystemSpec {
            display_name,
            register_id,
            security_level,
            public_service,
            legal_basis,
            lease,
        } = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        System {
            meta: view::meta(&object.metadata, &status.conditions),
            title_vi: display_name.vi.clone(),
            title_en: display_name.en.clone(),
            register_id: register_id.clone(),
            security_level: *security_level,
            audience: match public_service {
                true => Audience::Public,
                false => Audience::Internal,
            },
            legal_basis: legal_basis.clone(),
            lease_until: lease.as_ref().map(|lease| lease.until.clone()),
            machines: status.machines_text,
        }
    }

    fn meta(object: &InformationSystem) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &InformationSystem) -> Facts<'_> {
        Facts {
            system: object.metadata.name.as_deref(),
            state: None,
            virtual_machine: None,
        }
    }
}
