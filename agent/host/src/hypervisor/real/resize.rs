//! Disks of a running domain that have grown at their storage.

use dc_agent_core::vm::xml::disk::read_live_disks;
use dc_types::Bytes;
use virt::domain::Domain;
use virt::sys;

use super::super::HypervisorError;
use super::CallError;

pub(super) fn resize(domain: &Domain, device: &str, size: Bytes) -> Result<(), CallError> {
    // QEMU would cut off what is larger.
    if domain.block_info(device, 0)?.capacity >= size.0 {
        return Ok(());
    }
    let disks = read_live_disks(&domain.xml_desc(0)?);
    let mut files = disks.values().filter(|disk| disk.source.starts_with('/'));
    if let Some(file) = files.find(|disk| disk.device == device) {
        let whole = Bytes(size.0 + file.header.0);
        see_length(&file.source, whole).map_err(CallError::Told)?;
    }
    domain.block_resize(device, size.0, sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES)?;
    Ok(())
}

/// QEMU would make a file longer itself, and nobody would have made sure of it.
fn see_length(path: &str, size: Bytes) -> Result<(), HypervisorError> {
    let call = "resize";
    let refused = |message| Err(HypervisorError::Refused { call, message });
    match std::fs::metadata(path).map(|file| file.len()) {
        Ok(length) if length >= size.0 => Ok(()),
        Ok(length) => refused(format!("{path} has {}, not {size}", Bytes(length))),
        Err(error) => refused(format!("{path} cannot be looked at: {error}")),
    }
}
