//! A volume as QEMU's programs open it: options, and the secrets that they name.

use std::io;
use std::net::IpAddr;

use dc_agent_core::vm::luks::FormatOrder;
use dc_types::plan::{Cephx, DiskSource, GrantItem, Portal, RbdCluster};

use super::memory::Memory;

/// The ids of the secrets.
const LOGIN: &str = "login";
const KEY: &str = "key";

pub struct Target {
    /// What is opened, as options below `file.`.
    file: String,
    login: Option<Login>,
    key: Memory,
}

/// What the storage lets it in by.
struct Login {
    memory: Memory,
    /// How it is written there.
    format: &'static str,
}

impl Target {
    pub fn new(order: &FormatOrder) -> io::Result<Self> {
        let key = Memory::holding("key", order.key.0.as_bytes())?;
        let (file, login) = match &order.source {
            DiskSource::Iscsi { portal, chap } => {
                let target = GrantItem::target_name(order.place, order.grant);
                let file = [
                    "file.driver=iscsi".to_owned(),
                    "file.transport=tcp".to_owned(),
                    format!("file.portal={}", address(portal)),
                    // Unit 1: unit 0 is tgt's own controller.
                    format!("file.target={},file.lun=1", escaped(&target)),
                    format!("file.initiator-name={}", escaped(&order.initiator)),
                    format!("file.user={}", escaped(&chap.user)),
                    format!("file.password-secret={LOGIN}"),
                ];
                let memory = Memory::holding("login", chap.secret.0.as_bytes())?;
                let format = "raw";
                (file.join(","), Some(Login { memory, format }))
            }
            DiskSource::File { path } => (
                format!("file.driver=file,file.filename={}", escaped(path)),
                None,
            ),
            DiskSource::Rbd {
                cluster,
                image,
                cephx,
            } => {
                // The key as Ceph writes it; QEMU gives its bytes to librados in the same form.
                let memory = Memory::holding("login", cephx.key.0.as_bytes())?;
                let format = "base64";
                let file = image_of_ceph(cluster, image, cephx);
                (file, Some(Login { memory, format }))
            }
        };
        Ok(Self { file, login, key })
    }

    /// The secrets, each as an argument that names a file in memory.
    pub fn objects(&self) -> Vec<String> {
        let object = |id: &str, format: &str, memory: &Memory| {
            let path = memory.path();
            [
                "--object".to_owned(),
                format!("secret,id={id},format={format},file={path}"),
            ]
        };
        let login = self.login.iter();
        let login = login.flat_map(|login| object(LOGIN, login.format, &login.memory));
        login.chain(object(KEY, "raw", &self.key)).collect()
    }

    /// The bytes as they lie at the storage.
    pub fn raw(&self) -> String {
        format!("driver=raw,{}", self.file)
    }

    /// So many of them, from the first on.
    pub fn raw_first(&self, len: u64) -> String {
        format!("driver=raw,offset=0,size={len},{}", self.file)
    }

    /// The bytes as the guest sees them.
    pub fn decrypted(&self) -> String {
        format!("driver=luks,key-secret={KEY},{}", self.file)
    }

    /// The same of a file in memory.
    pub fn decrypted_memory(&self, memory: &Memory) -> String {
        let path = memory.path();
        format!("driver=luks,key-secret={KEY},file.driver=file,file.filename={path}")
    }

    pub fn format_options(&self) -> String {
        // The key is 256 bits by chance: to make a guess take longer adds nothing to it.
        format!(
            "key-secret={KEY},cipher-alg=aes-256,cipher-mode=xts,ivgen-alg=plain64,hash-alg=sha256,\
             iter-time=10"
        )
    }
}

fn image_of_ceph(cluster: &RbdCluster, image: &str, cephx: &Cephx) -> String {
    let RbdCluster { monitors, pool } = cluster;
    let mut file = vec![
        "file.driver=rbd".to_owned(),
        format!("file.pool={}", escaped(pool)),
        format!("file.image={}", escaped(image)),
        format!("file.user={}", escaped(&cephx.user)),
        format!("file.key-secret={LOGIN}"),
    ];
    if !cephx.namespace.is_empty() {
        file.push(format!("file.namespace={}", escaped(&cephx.namespace)));
    }
    for (n, monitor) in monitors.iter().enumerate() {
        let (address, port) = (monitor.address, monitor.port);
        file.push(format!(
            "file.server.{n}.host={address},file.server.{n}.port={port}"
        ));
    }
    file.join(",")
}

fn address(portal: &Portal) -> String {
    let Portal { address, port } = portal;
    match address {
        IpAddr::V4(v4) => format!("{v4}:{port}"),
        IpAddr::V6(v6) => format!("[{v6}]:{port}"),
    }
}

/// A comma ends an option, unless it is written twice.
fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_types::plan::{Chap, Secret};
    use dc_types::{Bytes, Epoch, InstanceId};

    fn order(source: DiskSource) -> FormatOrder {
        FormatOrder {
            vm: InstanceId(uuid::Uuid::from_u128(1)),
            name: "data".into(),
            place: InstanceId(uuid::Uuid::from_u128(2)),
            grant: Epoch {
                incarnation: 1,
                revision: 7,
            },
            initiator: "iqn.2025-06.vn:host:h1".into(),
            source,
            key: Secret("0f".repeat(32)),
            payload: Bytes(1 << 20),
        }
    }

    #[test]
    fn no_secret_is_in_an_argument_and_a_comma_ends_nothing() {
        let portal = Portal {
            address: "fd00::2".parse().unwrap(),
            port: 3260,
        };
        let chap = Chap {
            user: "u,lun=0".into(),
            secret: Secret("chap-secret".into()),
        };
        let target = Target::new(&order(DiskSource::Iscsi { portal, chap })).unwrap();
        let all = [target.objects().join(" "), target.raw(), target.decrypted()].join(" ");
        assert!(
            !all.contains("chap-secret") && !all.contains("0f0f"),
            "{all}"
        );
        assert!(all.contains("file.portal=[fd00::2]:3260,"), "{all}");
        assert!(all.contains("file.user=u,,lun=0,"), "{all}");
        let login = &target.login.as_ref().unwrap().memory;
        assert_eq!(login.read(0, 11).unwrap(), b"chap-secret");
        assert_eq!(
            std::fs::read(target.key.path()).unwrap(),
            "0f".repeat(32).as_bytes()
        );
    }

    #[test]
    fn an_image_of_ceph_is_opened_by_its_users_key_which_is_in_no_argument() {
        let monitor = |address: &str| Portal {
            address: address.parse().unwrap(),
            port: 6789,
        };
        let source = DiskSource::Rbd {
            cluster: RbdCluster {
                monitors: vec![monitor("10.0.0.1"), monitor("fd00::1")],
                pool: "dc".into(),
            },
            image: "v".into(),
            cephx: Cephx {
                user: "dc-2-7".into(),
                key: Secret("Y2VwaC1zZWNyZXQ=".into()),
                namespace: String::new(),
            },
        };
        let target = Target::new(&order(source)).unwrap();
        let all = [target.objects().join(" "), target.raw(), target.decrypted()].join(" ");
        assert!(!all.contains("Y2Vw") && !all.contains("0f0f"), "{all}");
        let file = "file.driver=rbd,file.pool=dc,file.image=v,file.user=dc-2-7,file.key-secret=login,\
                    file.server.0.host=10.0.0.1,file.server.0.port=6789,\
                    file.server.1.host=fd00::1,file.server.1.port=6789";
        assert_eq!(target.raw(), format!("driver=raw,{file}"));
        assert!(all.contains("secret,id=login,format=base64,file="), "{all}");
        assert!(all.contains("secret,id=key,format=raw,file="), "{all}");
    }
}
