//! The shell's keys, as plain texts: what is wrapped can be read, and by whom.

use dc_types::InstanceId;
use dc_types::claim::VolumeKey;
use dc_types::plan::{Formatted, Secret};

use super::Sim;
use crate::words::EncryptionFact;

impl Sim {
    pub fn new_key(&self, volume: InstanceId) -> Result<VolumeKey, EncryptionFact> {
        let master = self.masters.last().ok_or(EncryptionFact::NoMasterKey)?;
        self.drawn.set(self.drawn.get() + 1);
        Ok(VolumeKey {
            volume,
            master: (*master).to_owned(),
            nonce: "0".repeat(24),
            wrapped: Secret(format!("wrapped {}", self.drawn.get())),
            formatted: Formatted::Never,
            former: Vec::new(),
        })
    }

    pub fn open_key(&self, key: &VolumeKey, volume: &str) -> Result<Secret, EncryptionFact> {
        match self.masters.contains(&key.master.as_str()) {
            true => Ok(Secret(key.wrapped.0.replace("wrapped", "key"))),
            false => Err(EncryptionFact::MasterKeyUnknown {
                volume: volume.to_owned(),
                id: key.master.clone(),
            }),
        }
    }
}
