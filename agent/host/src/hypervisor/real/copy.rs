//! Copies of a running domain's disks. The client library has no safe call for them.

use std::ffi::CString;
use std::time::Duration;

use dc_agent_core::vm::seen::LiveDisk;
use virt::domain::Domain;
use virt::error::Error as VirtError;
use virt::sys;

use super::super::{CopyEnding, HypervisorError};

/// A storage that answers has the last writes in far less.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);

fn refused(call: &'static str, message: impl Into<String>) -> HypervisorError {
    let message = message.into();
    HypervisorError::Refused { call, message }
}

fn text(call: &'static str, text: &str) -> Result<CString, HypervisorError> {
    CString::new(text).map_err(|error| refused(call, error.to_string()))
}

/// Where the job of a disk is, and where it ends; `None` when there is no job.
fn job(domain: &Domain, device: &str) -> Result<Option<(u64, u64)>, HypervisorError> {
    let device = text("copy", device)?;
    // SAFETY: integers alone; all zeros is a value of them.
    let mut info: sys::virDomainBlockJobInfo = unsafe { std::mem::zeroed() };
    // SAFETY: the domain lives for as long as its borrow; the name ends with 0; libvirt writes into
    // the one structure.
    let answer =
        unsafe { sys::virDomainGetBlockJobInfo(domain.as_ptr(), device.as_ptr(), &mut info, 0) };
    match answer {
        0 => Ok(None),
        1.. => Ok(Some((info.cur, info.end))),
        _ => Err(refused("copy", VirtError::last_error().message())),
    }
}

pub(super) fn is_there(domain: &Domain, device: &str) -> Result<bool, HypervisorError> {
    Ok(job(domain, device)?.is_some())
}

/// How far the copy of a disk is. What cannot be asked is not known to be further than it was.
pub(super) fn read_percent(domain: &Domain, disk: &mut LiveDisk) {
    let Some(mirror) = &mut disk.mirror else {
        return;
    };
    mirror.percent = match job(domain, &disk.device) {
        Ok(Some((at, end))) => percent(at, end),
        Ok(None) | Err(_) => 0,
    };
}

/// A job that has just begun does not know its end.
fn percent(at: u64, end: u64) -> u32 {
    let percent = u128::from(at.min(end)) * 100 / u128::from(end.max(1));
    u32::try_from(percent).unwrap_or(100)
}

pub(super) fn start(domain: &Domain, device: &str, xml: &str) -> Result<(), HypervisorError> {
    if job(domain, device)?.is_some() {
        return Ok(());
    }
    let (name, xml) = (text("copy", device)?, text("copy", xml)?);
    // The place is made already. A domain that is defined may only have jobs that end with its QEMU.
    let flags = sys::VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | sys::VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB;
    // SAFETY: the domain lives for as long as its borrow; both texts end with 0; there are no
    // parameters.
    let answer = unsafe {
        sys::virDomainBlockCopy(
            domain.as_ptr(),
            name.as_ptr(),
            xml.as_ptr(),
            std::ptr::null_mut(),
            0,
            flags,
        )
    };
    match answer {
        0.. => Ok(()),
        _ => Err(refused("copy", VirtError::last_error().message())),
    }
}

/// Asks for the end, and does not wait for it: libvirt would, for as long as the storage does not
/// answer, and show nothing of the domain meanwhile.
pub(super) fn end(
    domain: &Domain,
    device: &str,
    ending: CopyEnding,
) -> Result<(), HypervisorError> {
    let there = job(domain, device)?.is_some();
    let flags = match ending {
        CopyEnding::Abandon if !there => return Ok(()),
        CopyEnding::Abandon => sys::VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC,
        CopyEnding::GoOver => {
            sys::VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT | sys::VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC
        }
    };
    let name = text("end copy", device)?;
    // SAFETY: the domain lives for as long as its borrow; the name ends with 0.
    let answer = unsafe { sys::virDomainBlockJobAbort(domain.as_ptr(), name.as_ptr(), flags) };
    if answer < 0 {
        return Err(refused("end copy", VirtError::last_error().message()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_never_further_than_whole_and_begins_at_nothing() {
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(5, 3), 100);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
