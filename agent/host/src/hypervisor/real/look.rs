//! What libvirt shows of all domains.

use dc_agent_core::vm::seen::{Domain, ForeignDomain};
use dc_agent_core::vm::xml::Metadata;
use dc_agent_core::vm::xml::disk::read_live_disks;
use dc_agent_core::vm::xml::metadata::NAMESPACE;
use dc_agent_core::vm::xml::slots::read_free_slots;
use dc_types::InstanceId;
use virt::connect::Connect;
use virt::error::{Error as VirtError, ErrorNumber};
use virt::sys;

use super::super::Domains;
use super::{CallError, copy, is, power};

/// Our element: of the running domain when there is one.
pub(super) fn read_metadata(domain: &virt::domain::Domain) -> Result<Option<String>, VirtError> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    match domain.metadata(kind, Some(NAMESPACE), sys::VIR_DOMAIN_AFFECT_CURRENT) {
        Ok(xml) => Ok(Some(xml)),
        Err(error) if is(&error, ErrorNumber::NoDomainMetadata) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn read_domains(connection: &Connect) -> Result<Domains, CallError> {
    let mut domains = Domains::default();
    for domain in connection.list_all_domains(0)? {
        // One that vanished meanwhile is not there.
        match read_domain(&domain, &mut domains) {
            Err(error) if is(&error, ErrorNumber::NoDomain) => (),
            result => result?,
        }
    }
    Ok(domains)
}

fn read_domain(domain: &virt::domain::Domain, domains: &mut Domains) -> Result<(), VirtError> {
    let (uuid, name) = (domain.uuid()?, domain.name()?);
    let metadata = match read_metadata(domain)? {
        None => Err("it carries no metadata of ours".to_owned()),
        Some(xml) => Metadata::read_alone(&xml).map_err(|error| error.to_string()),
    };
    match metadata {
        Ok(metadata) => {
            let (_, reason) = domain.state()?;
            let power = power::power(reason);
            let (disks, free_slots) = match power.is_active() {
                true => {
                    let xml = domain.xml_desc(0)?;
                    let mut disks = read_live_disks(&xml);
                    for disk in disks.values_mut() {
                        copy::read_percent(domain, disk);
                    }
                    (disks, read_free_slots(&xml))
                }
                false => Default::default(),
            };
            let seen = Domain {
                name,
                metadata,
                power,
                disks,
                free_slots,
            };
            domains.ours.insert(InstanceId(uuid), seen);
        }
        Err(why) => domains.foreign.push(ForeignDomain { uuid, name, why }),
    }
    Ok(())
}
