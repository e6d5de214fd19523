//! What QEMU counts of the disks of running domains. The client library has no safe call that reads it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::raw::c_char;

use dc_agent_core::vm::meter::DiskCounts;
use dc_types::{Bytes, InstanceId};
use uuid::Uuid;
use virt::connect::Connect;
use virt::error::Error as VirtError;
use virt::sys;

use super::super::{DiskStats, Domains, HypervisorError};
use super::CallError;

/// By domain and device.
pub(super) type Stats = BTreeMap<InstanceId, BTreeMap<String, DiskStats>>;

/// One parameter of a record that is of use here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(u64),
}

/// The list that libvirt made, until it is given back.
struct Records(*mut sys::virDomainStatsRecordPtr, usize);

impl Drop for Records {
    fn drop(&mut self) {
        // SAFETY: libvirt made the list, and it is given back once.
        unsafe { sys::virDomainStatsRecordListFree(self.0) };
    }
}

/// Of all that can be asked without waiting: a QEMU that is busy with another order is passed over.
pub(super) fn read(connection: &Connect) -> Result<Stats, CallError> {
    let flags = sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
        | sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
    let mut list = std::ptr::null_mut();
    // SAFETY: the connection lives for as long as its borrow; libvirt writes one pointer.
    let count = unsafe {
        sys::virConnectGetAllDomainStats(
            connection.as_ptr(),
            sys::VIR_DOMAIN_STATS_BLOCK,
            &mut list,
            flags,
        )
    };
    let Ok(count) = usize::try_from(count) else {
        return Err(VirtError::last_error().into());
    };
    let records = Records(list, count);
    let mut stats = Stats::new();
    for at in 0..records.1 {
        // SAFETY: the list has as many records as were told, and lives until it is dropped.
        let read = unsafe { read_record(*records.0.add(at)) };
        let (domain, values) = read.map_err(CallError::Told)?;
        stats.insert(domain, disks(&values));
    }
    Ok(stats)
}

/// # Safety
/// The record is one that libvirt made and has not been given back.
unsafe fn read_record(
    record: sys::virDomainStatsRecordPtr,
) -> Result<(InstanceId, BTreeMap<String, Value>), HypervisorError> {
    // SAFETY: as the caller says; a record has its domain, and as many parameters as it tells.
    unsafe {
        let mut uuid = [0_u8; 16];
        if sys::virDomainGetUUID((*record).dom, uuid.as_mut_ptr()) < 0 {
            return Err(HypervisorError::Unreadable {
                call: "stats",
                message: VirtError::last_error().message().to_owned(),
            });
        }
        let count = usize::try_from((*record).nparams).unwrap_or(0);
        let values = (0..count).filter_map(|at| read_parameter(&*(*record).params.add(at)));
        Ok((InstanceId(Uuid::from_bytes(uuid)), values.collect()))
    }
}

/// # Safety
/// The parameter is of the type that it names, as libvirt made it.
unsafe fn read_parameter(parameter: &sys::virTypedParameter) -> Option<(String, Value)> {
    // SAFETY: as the caller says; libvirt ends names and texts with 0.
    unsafe {
        let text = |at: *const c_char| CStr::from_ptr(at).to_string_lossy().into_owned();
        let value = match parameter.type_.cast_unsigned() {
            sys::VIR_TYPED_PARAM_ULLONG => Value::Number(parameter.value.ul),
            sys::VIR_TYPED_PARAM_UINT => Value::Number(parameter.value.ui.into()),
            sys::VIR_TYPED_PARAM_STRING => Value::Text(text(parameter.value.s)),
            _ => return None,
        };
        Some((text(parameter.field.as_ptr()), value))
    }
}

/// `block.count` disks, each with `block.N.name` and what is counted of it.
fn disks(values: &BTreeMap<String, Value>) -> BTreeMap<String, DiskStats> {
    let number = |name: &str| match values.get(name) {
        Some(Value::Number(number)) => Some(*number),
        Some(Value::Text(_)) | None => None,
    };
    let count = number("block.count").unwrap_or(0);
    let disk = |at: u64| {
        let Some(Value::Text(name)) = values.get(&format!("block.{at}.name")) else {
            return None;
        };
        let of = |what: &str| number(&format!("block.{at}.{what}"));
        let sum = |what: &str| {
            let both = of(&format!("rd.{what}")).zip(of(&format!("wr.{what}")));
            both.map(|(read, written)| read.saturating_add(written))
        };
        let stats = DiskStats {
            // A domain that was passed over has none, or none that is of now.
            size: of("rd.reqs").and(of("capacity")).map(Bytes),
            counts: sum("reqs")
                .zip(sum("bytes"))
                .map(|(operations, bytes)| DiskCounts { operations, bytes }),
        };
        Some((name.clone(), stats))
    };
    (0..count).filter_map(disk).collect()
}

pub(super) fn put(domains: &mut Domains, stats: &Stats) {
    for (vm, domain) in &mut domains.ours {
        let Some(of) = stats.get(vm) else { continue };
        for disk in domain.disks.values_mut() {
            if let Some(DiskStats { size, counts }) = of.get(&disk.device).copied() {
                (disk.size, disk.counts) = (size, counts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(of: &[(&str, Value)]) -> BTreeMap<String, Value> {
        of.iter()
            .map(|(n, v)| ((*n).to_owned(), v.clone()))
            .collect()
    }

    #[test]
    fn what_qemu_says_of_a_disk_is_read_and_nothing_is_known_when_it_was_not_asked() {
        let text = |text: &str| Value::Text(text.to_owned());
        let found = disks(&values(&[
            ("block.count", Value::Number(2)),
            ("block.0.name", text("vda")),
            ("block.0.rd.reqs", Value::Number(3)),
            ("block.0.wr.reqs", Value::Number(4)),
            ("block.0.rd.bytes", Value::Number(512)),
            ("block.0.wr.bytes", Value::Number(4096)),
            ("block.0.capacity", Value::Number(1024)),
            ("block.1.name", text("vdb")),
            ("block.1.capacity", Value::Number(512)),
        ]));
        assert_eq!(found["vda"].size, Some(Bytes(1024)));
        let counts = found["vda"].counts.unwrap();
        assert_eq!((counts.operations, counts.bytes), (7, 4608));
        assert_eq!((found["vdb"].size, found["vdb"].counts), (None, None));
        assert_eq!(disks(&values(&[])), BTreeMap::new());
    }
}
