//! From the kernel's files.

use async_trait::async_trait;
use dc_types::MiB;

use super::{Machine, MachineError, MachineSize};

const MEMINFO: &str = "/proc/meminfo";

pub struct RealMachine;

#[async_trait]
impl Machine for RealMachine {
    async fn size(&self) -> Result<MachineSize, MachineError> {
        let text =
            tokio::fs::read_to_string(MEMINFO)
                .await
                .map_err(|source| MachineError::Read {
                    path: MEMINFO,
                    source,
                })?;
        let vcpus = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(MachineSize {
            vcpus: u32::try_from(vcpus).unwrap_or(u32::MAX),
            memory: meminfo(&text, "MemTotal")?,
            memory_available: meminfo(&text, "MemAvailable")?,
        })
    }
}

/// One line of /proc/meminfo, such as `MemTotal:       16314036 kB`.
fn meminfo(text: &str, field: &'static str) -> Result<MiB, MachineError> {
    let value = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| *name == field)
        .and_then(|(_, rest)| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    value.map(|kib| MiB(kib >> 10)).ok_or(MachineError::Field {
        path: MEMINFO,
        field,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_whole_mib_or_the_missing_field_is_named() {
        let text = "MemTotal:       16314036 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(meminfo(text, "MemTotal").unwrap(), MiB(15931));
        assert_eq!(meminfo(text, "MemAvailable").unwrap(), MiB(2));
        let error = meminfo(text, "MemFree").unwrap_err().to_string();
        assert_eq!(error, "/proc/meminfo does not say MemFree");
    }

    #[tokio::test]
    async fn this_machine_has_a_size() {
        let size = RealMachine.size().await.unwrap();
        assert!(size.vcpus > 0 && size.memory >= size.memory_available);
    }
}
