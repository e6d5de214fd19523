//! A host as placement scans it: numbers and bit sets, so that a thousand hosts are one short loop.

use std::collections::HashMap;

use dc_types::MiB;
use dc_types::plan::{Firmware, ZoneType};

use super::{Duty, HostState, Presence, Request, Service};
use crate::claims::HostPromise;

/// Numbers for the machine types and CPU models that were ever seen, a bit each.
///
/// Past 128 words a host is not compared by bits but by its texts; real fleets have a dozen.
#[derive(Debug, Default)]
pub(super) struct Words {
    bits: HashMap<String, u32>,
}

const BITS: u32 = 128;

/// A text as a set of one bit.
#[derive(Clone, Copy, Debug)]
enum Bit {
    Any,
    One(u128),
    /// Nobody has it.
    Nobody,
    /// Ran out of bits: look at the texts.
    ByText,
}

impl Words {
    fn learn(&mut self, words: &[String]) -> u128 {
        let mut set = 0;
        for word in words {
            let next = u32::try_from(self.bits.len()).unwrap_or(BITS);
            let bit = *self.bits.entry(word.clone()).or_insert(next);
            if bit < BITS {
                set |= 1u128 << bit;
            }
        }
        set
    }

    fn find(&self, word: &str) -> Bit {
        match self.bits.get(word) {
            None => Bit::Nobody,
            Some(&bit) if bit < BITS => Bit::One(1 << bit),
            Some(_) => Bit::ByText,
        }
    }

    pub(super) fn ask<'a>(&self, request: &'a Request) -> Asked<'a> {
        Asked {
            request,
            vcpus: u64::from(request.vcpus),
            memory: request.memory.0,
            zones: zone_set(&request.zones),
            firmware: firmware_bit(request.firmware),
            machine_type: request
                .machine_type
                .as_deref()
                .map_or(Bit::Any, |word| self.find(word)),
            cpu_model: self.find(&request.cpu_model),
        }
    }
}

/// A request in the same numbers.
pub(super) struct Asked<'a> {
    request: &'a Request,
    vcpus: u64,
    memory: u64,
    zones: u8,
    firmware: u8,
    machine_type: Bit,
    cpu_model: Bit,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) state: HostState,
    open: bool,
    zones: u8,
    firmwares: u8,
    machine_types: u128,
    cpu_models: u128,
    vcpus_used: u64,
    memory_used: u64,
    vms: u64,
}

impl Row {
    pub(super) fn new(state: HostState, promise: HostPromise, words: &mut Words) -> Self {
        let open = state.duty == Duty::Compute
            && state.presence == Presence::Connected
            && state.service == Service::Open;
        Self {
            open,
            zones: match state.zones.is_empty() {
                true => u8::MAX,
                false => zone_set(&state.zones),
            },
            firmwares: state
                .firmwares
                .iter()
                .fold(0, |set, f| set | firmware_bit(*f)),
            machine_types: words.learn(&state.machine_types),
            cpu_models: words.learn(&state.cpu_models),
            vcpus_used: promise.vcpus,
            memory_used: promise.memory.0,
            vms: promise.vms,
            state,
        }
    }

    pub(super) fn promise(&self) -> HostPromise {
        HostPromise {
            vms: self.vms,
            vcpus: self.vcpus_used,
            memory: MiB(self.memory_used),
        }
    }

    pub(super) fn set_promise(&mut self, promise: HostPromise) {
        let HostPromise { vms, vcpus, memory } = promise;
        self.vms = vms;
        self.vcpus_used = vcpus;
        self.memory_used = memory.0;
    }

    pub(super) fn vcpus_left(&self) -> u64 {
        self.state.vcpu_limit.saturating_sub(self.vcpus_used)
    }

    pub(super) fn memory_left(&self) -> u64 {
        self.state.memory_limit.0.saturating_sub(self.memory_used)
    }

    /// The same rules as `verdict::judge`, without words; a test holds the two together.
    pub(super) fn fits(&self, asked: &Asked<'_>) -> bool {
        self.open
            && self.memory_left() >= asked.memory
            && self.vcpus_left() >= asked.vcpus
            && self.zones & asked.zones == asked.zones
            && self.firmwares & asked.firmware != 0
            && self.has(asked.cpu_model, self.cpu_models, || {
                self.state.cpu_models.contains(&asked.request.cpu_model)
            })
            && self.has_machine_type(asked)
            && asked
                .request
                .only
                .as_ref()
                .is_none_or(|only| only.host == self.state.name)
    }

    fn has_machine_type(&self, asked: &Asked<'_>) -> bool {
        match &asked.request.machine_type {
            None => !self.state.machine_types.is_empty(),
            Some(word) => self.has(asked.machine_type, self.machine_types, || {
                self.state.machine_types.contains(word)
            }),
        }
    }

    fn has(&self, bit: Bit, set: u128, by_text: impl FnOnce() -> bool) -> bool {
        match bit {
            Bit::Any => true,
            Bit::One(bit) => set & bit != 0,
            Bit::Nobody => false,
            Bit::ByText => by_text(),
        }
    }

    /// The share of memory promised once the machine is there, in millionths.
    pub(super) fn load_with(&self, asked: &Asked<'_>) -> u64 {
        let used = self.memory_used.saturating_add(asked.memory);
        used.saturating_mul(1_000_000) / self.state.memory_limit.0.max(1)
    }
}

fn zone_set(zones: &[ZoneType]) -> u8 {
    zones.iter().fold(0, |set, zone| {
        set | match zone {
            ZoneType::Outside => 1,
            ZoneType::Dmz => 2,
            ZoneType::Internal => 4,
            ZoneType::Database => 8,
            ZoneType::Storage => 16,
            ZoneType::Management => 32,
            ZoneType::Soc => 64,
        }
    })
}

fn firmware_bit(firmware: Firmware) -> u8 {
    match firmware {
        Firmware::Bios => 1,
        Firmware::Uefi => 2,
    }
}
