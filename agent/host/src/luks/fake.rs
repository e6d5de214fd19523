//! Volumes that remember the key they were formatted with. Formatting is done at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dc_agent_core::vm::luks::{FormatOrder, FormatStage, Formats, Formatting};
use dc_types::plan::Secret;
use dc_types::{Epoch, InstanceId};

use super::{Formatter, LuksError};
use crate::knobs::Knobs;

/// Clones share all; the formatter of a new agent has the volumes alone.
#[derive(Clone)]
pub struct FakeFormatter {
    knobs: Knobs,
    volumes: Arc<Mutex<BTreeMap<InstanceId, Volume>>>,
    formats: Arc<Mutex<Formats>>,
}

struct Volume {
    key: Secret,
    written: u32,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeFormatter {
    #[must_use]
    pub fn new(knobs: Knobs) -> Self {
        Self {
            knobs,
            volumes: Arc::default(),
            formats: Arc::default(),
        }
    }

    #[must_use]
    pub fn of_new_agent(&self) -> Self {
        Self {
            formats: Arc::default(),
            ..self.clone()
        }
    }

    /// The key that a volume's header opens with.
    #[must_use]
    pub fn key_of(&self, place: InstanceId) -> Option<Secret> {
        lock(&self.volumes).get(&place).map(|of| of.key.clone())
    }

    /// How often a header was written to a volume.
    #[must_use]
    pub fn written(&self, place: InstanceId) -> u32 {
        lock(&self.volumes).get(&place).map_or(0, |of| of.written)
    }
}

#[async_trait]
impl Formatter for FakeFormatter {
    async fn formats(&self) -> Result<Formats, LuksError> {
        self.knobs.gate("luks.formats").await?;
        Ok(lock(&self.formats).clone())
    }

    async fn format(&self, order: &FormatOrder) -> Result<(), LuksError> {
        self.knobs.gate("luks.format").await?;
        {
            let mut volumes = lock(&self.volumes);
            let volume = volumes.entry(order.place).or_insert_with(|| Volume {
                key: order.key.clone(),
                written: 0,
            });
            if volume.key != order.key {
                return Err(LuksError::OtherKey {
                    disk: order.name.clone(),
                    said: "it was formatted with another".into(),
                });
            }
            if volume.written == 0 {
                volume.written += 1;
            }
            let formatting = Formatting {
                vm: order.vm,
                stage: FormatStage::Done,
            };
            lock(&self.formats).insert((order.place, order.grant), formatting);
        }
        self.knobs.answer("luks.format")?;
        Ok(())
    }

    async fn stop(&self, place: InstanceId, grant: Epoch) -> Result<(), LuksError> {
        self.knobs.gate("luks.stop").await?;
        lock(&self.formats).remove(&(place, grant));
        self.knobs.answer("luks.stop")?;
        Ok(())
    }
}
