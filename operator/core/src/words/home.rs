//! Words for machines whose volumes lie in a folder of one host.

use super::Standing::{Settled, Troubled, Unseen};
use super::platform::list;
use super::{Fact, Words};
use crate::vm::Lies;

/// What follows from a directory pool. Named after its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeFact {
    /// The disks of a machine lie in the folders of several hosts.
    PoolsApart { disks: Vec<Lies> },
    /// The machine is on another host than a disk of its.
    DiskElsewhere { lies: Lies, vm_host: String },
    /// A host that has a machine's volumes in its own folders does not answer.
    HomeSilent {
        host: String,
        pools: Vec<String>,
        deleting: bool,
    },
    /// On the one host that can open its volumes.
    PlacedHome {
        host: String,
        pools: Vec<String>,
        spread: Option<String>,
    },
    /// Its host has a pool of this name by another driver than the object names.
    PoolServedOtherwise {
        pool: String,
        driver: &'static str,
        host: String,
        served: &'static str,
    },
}

pub(super) fn words(fact: &Fact) -> Option<Words> {
    let Fact::Home(fact) = fact else {
        return None;
    };
    Some(match fact {
        HomeFact::PoolsApart { disks } => {
            let en = disks.iter().map(|lies| {
                let Lies {
                    disk,
                    volume,
                    pool,
                    host,
                } = lies;
                format!("disks[{disk}] (Volume {volume}) in {pool} of {host}")
            });
            let vi = disks.iter().map(|lies| {
                let Lies {
                    disk,
                    volume,
                    pool,
                    host,
                } = lies;
                format!("disks[{disk}] (Volume {volume}) ở {pool} của {host}")
            });
            Words::new(
                Troubled,
                "PoolsApart",
                format!(
                    "disks: no host can open all of them, because each of these pools is a folder \
                     that its own host alone can open: {}; name pools of one host, or pools that \
                     every host reaches",
                    list(&en.collect::<Vec<_>>())
                ),
                format!(
                    "disks: không máy chủ nào mở được tất cả, vì mỗi vùng này là thư mục mà chỉ \
                     máy chủ của nó mở được: {}; hãy chọn các vùng của cùng một máy chủ, hoặc vùng \
                     mà mọi máy chủ đều truy cập được",
                    list(&vi.collect::<Vec<_>>())
                ),
            )
        }
        HomeFact::DiskElsewhere { lies, vm_host } => {
            let Lies {
                disk,
                volume,
                pool,
                host,
            } = lies;
            Words::new(
                Troubled,
                "DiskElsewhere",
                format!(
                    "disks[{disk}]: Volume {volume} is in pool {pool}, a folder of {host} that \
                     machines of {host} alone can open, and this machine is on {vm_host}; name a \
                     volume of a pool that {vm_host} reaches, or make a new machine for this one"
                ),
                format!(
                    "disks[{disk}]: Volume {volume} ở vùng {pool}, là thư mục mà chỉ máy ảo trên \
                     {host} mở được, còn máy này ở {vm_host}; hãy chọn volume ở vùng mà {vm_host} \
                     truy cập được, hoặc tạo máy mới cho volume này"
                ),
            )
        }
        HomeFact::HomeSilent {
            host,
            pools,
            deleting,
        } => {
            let pools = list(pools);
            let (en, vi) = match deleting {
                false => (
                    "It cannot be started elsewhere",
                    "Không thể khởi động ở nơi khác",
                ),
                true => (
                    "It is given back, and its volumes are free, when the host has confirmed it",
                    "Máy và volume chỉ được thu hồi khi máy chủ đã xác nhận",
                ),
            };
            Words::new(
                Unseen,
                "HostSilent",
                format!(
                    "host {host} does not answer, how this stands is not known, and its volumes in \
                     {pools} lie on that host alone. {en}: bring {host} back, or restore its \
                     volumes from a backup"
                ),
                format!(
                    "máy chủ {host} không trả lời, chưa rõ tình trạng, và volume của máy ở {pools} \
                     chỉ nằm trên máy chủ đó. {vi}: hãy khôi phục {host}, hoặc phục hồi volume từ \
                     bản sao lưu"
                ),
            )
        }
        HomeFact::PlacedHome {
            host,
            pools,
            spread,
        } => {
            let pools = list(pools);
            let (en, vi) = match spread {
                None => (String::new(), String::new()),
                Some(group) => (
                    format!("; its spread group {group} could not choose another"),
                    format!("; nhóm phân tán {group} không thể chọn máy chủ khác"),
                ),
            };
            Words::new(
                Settled,
                "Placed",
                format!("claimed on {host}, which alone can open pool {pools}{en}"),
                format!("đã cấp trên {host}, máy chủ duy nhất mở được vùng {pools}{vi}"),
            )
        }
        HomeFact::PoolServedOtherwise {
            pool,
            driver,
            host,
            served,
        } => Words::new(
            Troubled,
            "PoolServedOtherwise",
            format!(
                "driver: pool {pool} is to be one of {driver} and the agent of {host} serves it as \
                 one of {served}; correct the agent's configuration there, or make another \
                 StoragePool. No volume is made in it meanwhile"
            ),
            format!(
                "driver: vùng {pool} khai báo là {driver} nhưng agent trên {host} phục vụ như \
                 {served}; hãy sửa cấu hình agent, hoặc tạo StoragePool khác. Trong lúc đó không \
                 tạo volume nào"
            ),
        ),
    })
}
