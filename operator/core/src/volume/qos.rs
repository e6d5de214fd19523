//! How fast a volume may be read and written.

use dc_crds::volume::QosSpec;
use dc_types::Bytes;
use dc_types::plan::Qos;

use crate::words::Fact;
use crate::words::size::human;

/// What the object asks, as hosts are told; nothing asked is no limit.
pub fn validate_qos(spec: Option<&QosSpec>) -> Result<Qos, Fact> {
    let Some(spec) = spec else {
        return Ok(Qos::default());
    };
    let QosSpec {
        iops,
        iops_burst,
        bandwidth,
        bandwidth_burst,
        burst_seconds,
    } = spec;
    let bytes = |field: &str, text: &Option<String>| match text {
        None => Ok(Bytes(0)),
        Some(text) => text.parse::<Bytes>().map_err(|error| Fact::QosInvalid {
            error: format!("{field}: {error}"),
        }),
    };
    let qos = Qos {
        iops: iops.map_or(0, u64::from),
        iops_burst: iops_burst.map_or(0, u64::from),
        bandwidth: bytes("qos.bandwidth", bandwidth)?,
        bandwidth_burst: bytes("qos.bandwidthBurst", bandwidth_burst)?,
        burst_s: burst_seconds.unwrap_or(1),
    };
    let bursts = qos.iops_burst > 0 || qos.bandwidth_burst.0 > 0;
    let lower = |burst: u64, limit: u64| burst > 0 && (limit == 0 || burst < limit);
    if lower(qos.iops_burst, qos.iops) || lower(qos.bandwidth_burst.0, qos.bandwidth.0) {
        return Err(Fact::QosInvalid {
            error: "qos: a burst is not less than the limit that it exceeds for a while".to_owned(),
        });
    }
    Ok(Qos {
        burst_s: if bursts { qos.burst_s } else { 0 },
        ..qos
    })
}

/// For people; `None` when there is no limit.
#[must_use]
pub fn describe(qos: &Qos) -> Option<String> {
    let Qos {
        iops,
        iops_burst,
        bandwidth,
        bandwidth_burst,
        burst_s,
    } = *qos;
    let with_burst = |limit: String, burst: Option<String>| match burst {
        Some(burst) => format!("{limit} ({burst} for {burst_s} s)"),
        None => limit,
    };
    let operations = (iops > 0).then(|| {
        let burst = (iops_burst > 0).then(|| iops_burst.to_string());
        with_burst(format!("{iops} IOPS"), burst)
    });
    let bytes = (bandwidth.0 > 0).then(|| {
        let burst = (bandwidth_burst.0 > 0).then(|| human(bandwidth_burst.0));
        with_burst(format!("{}/s", human(bandwidth.0)), burst)
    });
    let both: Vec<String> = operations.into_iter().chain(bytes).collect();
    (!both.is_empty()).then(|| both.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_told_with_their_bursts() {
        let spec = QosSpec {
            iops: Some(300),
            iops_burst: Some(900),
            bandwidth: Some("10Mi".into()),
            bandwidth_burst: None,
            burst_seconds: Some(5),
        };
        let qos = validate_qos(Some(&spec)).unwrap();
        let told = describe(&qos);
        assert_eq!(told.as_deref(), Some("300 IOPS (900 for 5 s), 10 MiB/s"));
        assert_eq!(describe(&validate_qos(None).unwrap()), None);
        // Without a burst its length is nothing that a host could be told.
        let plain = QosSpec {
            iops_burst: None,
            ..spec.clone()
        };
        assert_eq!(validate_qos(Some(&plain)).unwrap().burst_s, 0);
        let low = QosSpec {
            iops_burst: Some(200),
            ..spec.clone()
        };
        assert!(validate_qos(Some(&low)).is_err());
        let bad = QosSpec {
            bandwidth: Some("fast".into()),
            ..spec
        };
        let Err(Fact::QosInvalid { error }) = validate_qos(Some(&bad)) else {
            panic!("not a size");
        };
        assert!(error.starts_with("qos.bandwidth: "), "{error}");
    }
}
