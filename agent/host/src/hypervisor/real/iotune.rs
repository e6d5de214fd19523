//! Limits of a disk of a running domain. The client library has no safe call for it.

use std::ffi::CString;

use dc_types::plan::Qos;
use virt::domain::Domain;
use virt::error::Error as VirtError;
use virt::sys;

use super::super::HypervisorError;

/// Sets reads and writes together; what was limited apart before is libvirt's to refuse.
pub(super) fn limit(domain: &Domain, device: &str, qos: &Qos) -> Result<(), HypervisorError> {
    let refused = |message: String| HypervisorError::Refused {
        call: "limit",
        message,
    };
    let device = CString::new(device).map_err(|error| refused(error.to_string()))?;
    let mut parameters = parameters(qos);
    let count = i32::try_from(parameters.len()).expect("six parameters");
    // SAFETY: the domain lives for as long as its borrow; the name ends with 0; the array has as
    // many entries as are told, and libvirt only reads them.
    let answer = unsafe {
        sys::virDomainSetBlockIoTune(
            domain.as_ptr(),
            device.as_ptr(),
            parameters.as_mut_ptr(),
            count,
            sys::VIR_DOMAIN_AFFECT_LIVE,
        )
    };
    match answer {
        0.. => Ok(()),
        _ => Err(refused(VirtError::last_error().message().to_owned())),
    }
}

/// All of them, so that what is not limited any more is set to 0. The length of a burst is named
/// only beside a burst: libvirt refuses it alone.
fn parameters(qos: &Qos) -> Vec<sys::virTypedParameter> {
    let Qos {
        iops,
        iops_burst,
        bandwidth,
        bandwidth_burst,
        burst_s,
    } = *qos;
    let mut named = vec![
        ("total_bytes_sec", bandwidth.0),
        ("total_iops_sec", iops),
        ("total_bytes_sec_max", bandwidth_burst.0),
        ("total_iops_sec_max", iops_burst),
    ];
    if bandwidth_burst.0 > 0 {
        named.push(("total_bytes_sec_max_length", u64::from(burst_s)));
    }
    if iops_burst > 0 {
        named.push(("total_iops_sec_max_length", u64::from(burst_s)));
    }
    named
        .into_iter()
        .map(|(name, value)| parameter(name, value))
        .collect()
}

fn parameter(name: &str, value: u64) -> sys::virTypedParameter {
    // SAFETY: integers and an array of integers; all zeros is a value of each.
    let mut parameter: sys::virTypedParameter = unsafe { std::mem::zeroed() };
    // The last byte stays 0: the longest name here has 26, the field 80.
    for (at, byte) in parameter.field.iter_mut().zip(name.bytes()) {
        *at = byte.cast_signed();
    }
    parameter.type_ = sys::VIR_TYPED_PARAM_ULLONG.cast_signed();
    parameter.value.ul = value;
    parameter
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_types::Bytes;

    #[test]
    fn every_limit_is_named_so_that_an_old_one_does_not_stay() {
        let none = parameters(&Qos::default());
        assert_eq!(none.len(), 4);
        let burst = parameters(&Qos {
            iops: 100,
            iops_burst: 300,
            bandwidth: Bytes(0),
            bandwidth_burst: Bytes(0),
            burst_s: 7,
        });
        let name = |parameter: &sys::virTypedParameter| {
            let bytes = parameter.field.iter().take_while(|byte| **byte != 0);
            let bytes: Vec<u8> = bytes.map(|byte| byte.cast_unsigned()).collect();
            String::from_utf8(bytes).unwrap()
        };
        let names: Vec<String> = burst.iter().map(name).collect();
        assert_eq!(names.last().unwrap(), "total_iops_sec_max_length");
        // SAFETY: each was written as this member.
        let value = unsafe { burst.last().unwrap().value.ul };
        assert_eq!(value, 7);
    }
}
