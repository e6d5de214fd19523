//! A volume as QEMU's programs open it: options, and the secrets that they name.

use std::io;
use std::net::IpAddr;

use dc_agent_core::vm::luks::FormatOrder;
use dc_types::plan::{DiskSource, GrantItem, Portal};

use super::memory::Memory;

/// The ids of the secrets.
const LOGIN: &str = "login";
const KEY: &str = "key";

pub struct Target {
    /// What is opened, as options below `file.`.
    file: String,
    login: Option<Memory>,
    key: Memory,
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
                let login = Memory::holding("login", chap.secret.0.as_bytes())?;
                (file.join(","), Some(login))
            }
            DiskSource::File { path } => (
                format!("file.driver=file,file.filename={}", escaped(path)),
                None,
            ),
            DiskSource::Rbd { .. } => {
                // `dc_agent_core::vm::luks::check` has refused it before.
                return Err(io::Error::from(io::ErrorKind::Unsupported));
            }
        };
        Ok(Self { file, login, key })
    }

    /// The secrets, each as an argument that names a file in memory.
    pub fn objects(&self) -> Vec<String> {
        let object = |id: &str, memory: &Memory| {
            let path = memory.path();
            [
                "--object".to_owned(),
                format!("secret,id={id},format=raw,file={path}"),
            ]
        };
        let login = self.login.iter().flat_map(|login| object(LOGIN, login));
        login.chain(object(KEY, &self.key)).collect()
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
        let login = target.login.as_ref().unwrap();
        assert_eq!(login.read(0, 11).unwrap(), b"chap-secret");
        assert_eq!(
            std::fs::read(target.key.path()).unwrap(),
            "0f".repeat(32).as_bytes()
        );
    }
}
