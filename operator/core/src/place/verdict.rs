//! Why a host does not fit: rule, need and have, and the smallest change that would help.

use std::fmt;

use dc_types::plan::ZoneType;
use dc_types::{HostName, MiB};

use super::row::Row;
use super::{Duty, Only, Presence, Request, Service};
use crate::words::list;
use crate::words::size::human_memory;

/// One rule of placement. The order is that of effort: what is easiest to change comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    Maintenance,
    Memory,
    Vcpus,
    Connection,
    Zones,
    CpuModel,
    MachineType,
    Firmware,
    Role,
    /// A folder of another host holds what the machine needs.
    Home,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Maintenance => "maintenance",
            Rule::Memory => "memory",
            Rule::Vcpus => "vCPUs",
            Rule::Connection => "connection",
            Rule::Zones => "zone types",
            Rule::CpuModel => "CPU model",
            Rule::MachineType => "machine type",
            Rule::Firmware => "firmware",
            Rule::Role => "role",
            Rule::Home => "host of the pool",
        })
    }
}

impl Rule {
    #[must_use]
    pub fn vietnamese(self) -> &'static str {
        match self {
            Rule::Maintenance => "bảo trì",
            Rule::Memory => "bộ nhớ",
            Rule::Vcpus => "vCPU",
            Rule::Connection => "kết nối",
            Rule::Zones => "loại vùng mạng",
            Rule::CpuModel => "dòng CPU",
            Rule::MachineType => "loại máy",
            Rule::Firmware => "firmware",
            Rule::Role => "vai trò",
            Rule::Home => "máy chủ của vùng lưu trữ",
        }
    }
}

/// What would have to be done, in both languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub en: String,
    pub vi: String,
}

impl Change {
    fn new(en: impl Into<String>, vi: impl Into<String>) -> Self {
        Self {
            en: en.into(),
            vi: vi.into(),
        }
    }

    /// Several, with a word of each language between them.
    fn join<'a>(changes: impl IntoIterator<Item = &'a Change>, en: &str, vi: &str) -> Self {
        let (ens, vis): (Vec<&str>, Vec<&str>) = changes
            .into_iter()
            .map(|change| (change.en.as_str(), change.vi.as_str()))
            .unzip();
        Self::new(ens.join(en), vis.join(vi))
    }
}

/// A rule that a host does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    pub rule: Rule,
    pub need: String,
    pub have: String,
    /// What would have to be done here.
    pub change: Change,
    /// How much is lacking, of what can be counted: to compare two hosts by.
    lack: u64,
}

/// All that one host does not meet; empty when it fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub host: HostName,
    pub misses: Vec<Miss>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.host)?;
        for (n, miss) in self.misses.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}{} (need {}, have {})",
                miss.rule, miss.need, miss.have
            )?;
        }
        Ok(())
    }
}

pub(super) fn judge(row: &Row, request: &Request) -> Verdict {
    let state = &row.state;
    let name = &state.name;
    let mut misses = Vec::new();
    let mut miss = |rule, need: String, have: String, change: Change| {
        misses.push(Miss {
            rule,
            need,
            have,
            change,
            lack: 0,
        });
    };
    if state.duty != Duty::Compute {
        miss(
            Rule::Role,
            "compute".into(),
            "another".into(),
            Change::new(
                format!("give {name} the role compute"),
                format!("giao vai trò compute cho {name}"),
            ),
        );
    }
    if state.service == Service::Maintenance {
        miss(
            Rule::Maintenance,
            "open".into(),
            "in maintenance".into(),
            Change::new(
                format!("end maintenance on {name}"),
                format!("kết thúc bảo trì {name}"),
            ),
        );
    }
    match state.presence {
        Presence::Connected => {}
        Presence::Silent => miss(
            Rule::Connection,
            "connected".into(),
            "silent".into(),
            Change::new(
                format!("bring {name} back"),
                format!("khôi phục kết nối với {name}"),
            ),
        ),
        Presence::Never => miss(
            Rule::Connection,
            "connected".into(),
            "not seen yet".into(),
            Change::new(
                format!("start the agent of {name}"),
                format!("khởi động agent của {name}"),
            ),
        ),
    }
    for zone in &request.zones {
        if !state.zones.is_empty() && !state.zones.contains(zone) {
            let kind = zone_name(*zone);
            miss(
                Rule::Zones,
                kind.into(),
                state
                    .zones
                    .iter()
                    .map(|z| zone_name(*z))
                    .collect::<Vec<_>>()
                    .join(" "),
                Change::new(
                    format!("add {kind} to the zones of {name}"),
                    format!("thêm {kind} vào zones của {name}"),
                ),
            );
        }
    }
    // What a host can do is not known before it has connected.
    if state.presence != Presence::Never {
        abilities(row, request, &mut misses);
        misses.extend(room(row, request.vcpus, request.memory));
    }
    misses.extend(request.only.as_ref().and_then(|only| elsewhere(name, only)));
    Verdict {
        host: name.clone(),
        misses,
    }
}

/// Its volumes lie in a folder of another host.
fn elsewhere(name: &HostName, only: &Only) -> Option<Miss> {
    let Only {
        host,
        pools,
        volumes,
    } = only;
    let (pools, volumes) = (list(pools), list(volumes));
    (name != host).then(|| Miss {
        rule: Rule::Home,
        need: format!("{host}, which has pool {pools}"),
        have: name.to_string(),
        change: Change::new(
            format!("have volume {volumes} in a pool that every host reaches, not in {pools}"),
            format!(
                "đặt volume {volumes} ở vùng mà mọi máy chủ đều truy cập được, không ở {pools}"
            ),
        ),
        lack: 0,
    })
}

fn abilities(row: &Row, request: &Request, misses: &mut Vec<Miss>) {
    let state = &row.state;
    let mut lacks = |rule: Rule, need: &str, have: &[String]| {
        misses.push(Miss {
            rule,
            need: need.to_owned(),
            have: match have.is_empty() {
                true => "none".to_owned(),
                false => have.iter().take(3).cloned().collect::<Vec<_>>().join(" "),
            },
            change: Change::new(
                format!("provide {rule} {need} on {}", state.name),
                format!("bổ sung {} {need} trên {}", rule.vietnamese(), state.name),
            ),
            lack: 0,
        });
    };
    if !state.cpu_models.contains(&request.cpu_model) {
        lacks(Rule::CpuModel, &request.cpu_model, &state.cpu_models);
    }
    match &request.machine_type {
        None if state.machine_types.is_empty() => lacks(Rule::MachineType, "any", &[]),
        Some(word) if !state.machine_types.contains(word) => {
            lacks(Rule::MachineType, word, &state.machine_types);
        }
        None | Some(_) => {}
    }
    if !state.firmwares.contains(&request.firmware) {
        let have: Vec<String> = state.firmwares.iter().map(|f| format!("{f:?}")).collect();
        lacks(Rule::Firmware, &format!("{:?}", request.firmware), &have);
    }
}

/// What a host lacks in vCPUs and memory.
pub(super) fn room(row: &Row, vcpus: u32, memory: MiB) -> Vec<Miss> {
    let name = &row.state.name;
    let mut misses = Vec::new();
    let left = row.memory_left();
    if left < memory.0 {
        let lack = memory.0 - left;
        misses.push(Miss {
            rule: Rule::Memory,
            need: human_memory(memory),
            have: human_memory(MiB(left)),
            change: Change::new(
                format!("{name} needs {} more free memory", human_memory(MiB(lack))),
                format!("{name} cần thêm {} bộ nhớ trống", human_memory(MiB(lack))),
            ),
            lack,
        });
    }
    let left = row.vcpus_left();
    if left < u64::from(vcpus) {
        let lack = u64::from(vcpus) - left;
        misses.push(Miss {
            rule: Rule::Vcpus,
            need: vcpus.to_string(),
            have: left.to_string(),
            change: Change::new(
                format!("{name} needs {lack} more free vCPUs"),
                format!("{name} cần thêm {lack} vCPU trống"),
            ),
            lack,
        });
    }
    misses
}

/// The one or two smallest changes that would make it fit, in words.
#[must_use]
pub fn smallest_change(verdicts: &[Verdict]) -> Change {
    let mut ranked: Vec<&Verdict> = verdicts.iter().filter(|v| !v.misses.is_empty()).collect();
    ranked.sort_by_key(|verdict| {
        let hardest = verdict.misses.iter().map(|m| m.rule).max();
        let lack: u64 = verdict.misses.iter().map(|m| m.lack).sum();
        (verdict.misses.len(), hardest, lack, verdict.host.clone())
    });
    let say =
        |verdict: &Verdict| Change::join(verdict.misses.iter().map(|m| &m.change), " and ", " và ");
    // The second choice is of another kind, so that it is a choice.
    let hardest = |verdict: &Verdict| verdict.misses.iter().map(|m| m.rule).max();
    match ranked.split_first() {
        None => Change::new("add a compute host", "thêm một máy chủ compute"),
        Some((first, rest)) => {
            let other = rest
                .iter()
                .find(|v| v.misses.len() == 1 && hardest(v) != hardest(first));
            match other {
                Some(other) => Change::join(&[say(first), say(other)], "; or ", "; hoặc "),
                None => say(first),
            }
        }
    }
}

#[must_use]
pub fn zone_name(zone: ZoneType) -> &'static str {
    match zone {
        ZoneType::Outside => "outside",
        ZoneType::Dmz => "dmz",
        ZoneType::Internal => "internal",
        ZoneType::Database => "database",
        ZoneType::Storage => "storage",
        ZoneType::Management => "management",
        ZoneType::Soc => "soc",
    }
}
