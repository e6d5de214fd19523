use std::collections::BTreeMap;

use dc_crds::backup::{BackupSpec, BackupVolume};
use dc_crds::machine_class::MachineClassSpec;
use dc_crds::pool::OwnerClass;
use dc_crds::proof::{ProofResult, ProofStep, RestoreProofStatus};
use dc_crds::{
    Backup, BackupStatus, FINALIZER, MachineClass, Restore, RestoreProof, RestoreStatus,
    StoragePool, VirtualMachine, Volume,
};
use dc_types::plan::{ItemHash, ItemKey, ItemKind};
use dc_types::report::{Detail, Guest, ItemState, Observation, Probed, Trouble};
use dc_types::{Epoch, ObjectRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::sandbox::{NewObject, probes_of};
use super::*;
use crate::conditions::{Judged, find};
use crate::object;
use crate::plan::{Hold, Plan};
use crate::words::Fact;

const OPERATORS: &str = "dc-system";
const SUM: &str = "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14";

fn meta(namespace: &str, name: &str, uid: u128) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(namespace.into()),
        uid: Some(Uuid::from_u128(uid).to_string()),
        finalizers: Some(vec![FINALIZER.into()]),
        ..ObjectMeta::default()
    }
}

/// A proof, what it looks at, and a sandbox that tests play.
struct Bench {
    proof: RestoreProof,
    backup: Option<Backup>,
    vm: Option<VirtualMachine>,
    volumes: BTreeMap<String, Volume>,
    pool: StoragePool,
    class: MachineClass,
    owner_class: OwnerClass,
    turn: Turn,
    restores: BTreeMap<String, (Restore, Option<Observation>)>,
    tried: BTreeMap<String, Volume>,
    machine: Option<VirtualMachine>,
    machine_said: Option<Observation>,
    now: Timestamp,
}

impl Bench {
    /// Of a machine with two disks, of which the backup names the second first.
    fn new() -> Self {
        let spec = json!({"backup": "one", "bootSeconds": 100, "restoreSeconds": 1000});
        let mut proof = RestoreProof::new("trial", serde_json::from_value(spec).unwrap());
        proof.metadata = meta("so-nnmt", "trial", 1);
        let mut backup = Backup::new(
            "one",
            BackupSpec {
                vm: "web".into(),
                repository: "main".into(),
                policy: None,
                scheduled_at: None,
            },
        );
        backup.metadata = meta("so-nnmt", "one", 2);
        let of = |name: &str| BackupVolume {
            volume: name.into(),
            file: format!("{name}.raw"),
            size: "1Gi".into(),
            incremental: false,
            why_full: None,
        };
        backup.status = Some(BackupStatus {
            snapshot_id: Some("a".repeat(64)),
            volumes: vec![of("data"), of("web-root")],
            ..BackupStatus::default()
        });
        let spec = json!({"system": "land", "class": "small", "firmware": "uefi", "interfaces": [],
            "disks": [{"name": "root", "template": {"pool": "san", "size": "1Gi"}},
                      {"name": "data", "volume": "data"}]});
        let mut vm = VirtualMachine::new("web", serde_json::from_value(spec).unwrap());
        vm.metadata = meta("so-nnmt", "web", 3);
        let volume = |name: &str, method: &str| {
            let spec =
                json!({"system": "land", "pool": "san", "size": "1Gi", "eraseMethod": method});
            let mut volume = Volume::new(name, serde_json::from_value(spec).unwrap());
            volume.metadata = meta("so-nnmt", name, 4);
            (name.to_owned(), volume)
        };
        let pool = json!({"driver": {"iscsi": {"host": "s1"}}});
        Self {
            proof,
            backup: Some(backup),
            vm: Some(vm),
            volumes: [volume("data", "Zero"), volume("web-root", "Discard")].into(),
            pool: StoragePool::new("san", serde_json::from_value(pool).unwrap()),
            class: MachineClass::new(
                "small",
                MachineClassSpec {
                    vcpus: 1,
                    memory: "1Gi".into(),
                    cpu_model: "qemu64".into(),
                },
            ),
            owner_class: OwnerClass::Shared,
            turn: Turn::Come,
            restores: BTreeMap::new(),
            tried: BTreeMap::new(),
            machine: None,
            machine_said: None,
            now: "2026-11-27T00:00:00Z".parse().unwrap(),
        }
    }

    fn me(&self) -> ObjectRef {
        object::object_ref(&self.proof.metadata).unwrap()
    }

    fn status(&self) -> RestoreProofStatus {
        self.proof.status.clone().unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.restores.is_empty() && self.tried.is_empty() && self.machine.is_none()
    }

    fn decide(&self) -> (Plan, RestoreProofStatus) {
        let me = self.me();
        let volumes = self.volumes.iter().map(|(name, v)| (name.clone(), v));
        let tried = self.tried.iter().map(|(name, v)| (name.clone(), v));
        let restores = self.restores.iter();
        let restores = restores.map(|(name, (r, said))| (name.clone(), (r, said.as_ref())));
        let seen = Seen {
            proof: &self.proof,
            me: &me,
            namespace: OPERATORS,
            backup: self.backup.as_ref(),
            vm: self.vm.as_ref(),
            volumes: &volumes.collect(),
            class: Some(&self.class),
            pool: Some(&self.pool),
            owner_class: self.owner_class,
            turn: self.turn,
            sandbox: Sandbox {
                restores: &restores.collect(),
                volumes: &tried.collect(),
                machine: self.machine.as_ref(),
                machine_said: self.machine_said.as_ref(),
                host: Some("h1"),
                nothing_left: self.is_empty(),
            },
            now: self.now,
        };
        let (plan, course) = plan(&seen);
        let now = self.now.to_string();
        let judged = Judged {
            generation: 1,
            now: &now,
        };
        let sign = |evidence: &mut dc_crds::proof::ProofEvidence| {
            evidence.signature.value = "signed".into();
        };
        let status = status(&seen, &plan, &course, &judged, sign);
        (plan, status)
    }

    /// One look: what it makes and takes away is done; `written` whether its status is.
    fn look(&mut self, written: bool) -> Hold {
        let before = self.status();
        let (plan, status) = self.decide();
        assert!(
            before.trial.is_some() || plan.try_out.is_empty(),
            "made of nothing"
        );
        assert!(
            before.verdict.is_none() || plan.try_out.is_empty(),
            "made after the verdict"
        );
        let ending = self.proof.metadata.deletion_timestamp.is_some();
        assert!(
            before.verdict.is_some() || ending || plan.remove.is_empty(),
            "erased before the verdict"
        );
        for new in &plan.try_out {
            match new {
                NewObject::Restore(new) => {
                    let restore = new.object();
                    assert_eq!(restore.metadata.namespace.as_deref(), Some(OPERATORS));
                    let name = restore.metadata.name.clone().unwrap();
                    let mut volume = self.volumes["data"].clone();
                    volume.metadata = meta(OPERATORS, &name, 50);
                    self.tried.insert(name.clone(), volume);
                    let mut restore = restore;
                    restore.metadata.uid = Some(Uuid::from_u128(51).to_string());
                    self.restores.insert(name, (restore, None));
                }
                NewObject::Machine(new) => {
                    let mut machine = new.object();
                    assert_eq!(machine.spec.interfaces, []);
                    machine.metadata.uid = Some(Uuid::from_u128(52).to_string());
                    self.machine = Some(machine);
                }
                NewObject::Snapshot(new) => panic!("a proof takes no snapshot: {new:?}"),
            }
        }
        for old in &plan.remove {
            self.restores.remove(&old.name);
            self.tried.remove(&old.name);
            if self
                .machine
                .as_ref()
                .and_then(|vm| vm.metadata.name.as_ref())
                == Some(&old.name)
            {
                self.machine = None;
                self.machine_said = None;
            }
        }
        if written {
            if let Some(evidence) = &before.evidence {
                assert_eq!(status.evidence.as_ref(), Some(evidence), "evidence changes");
            } else if status.evidence.is_some() {
                assert!(self.is_empty(), "evidence while something is left");
            }
            if let Some(verdict) = &before.verdict {
                assert_eq!(
                    status.verdict.as_ref(),
                    Some(verdict),
                    "the verdict changes"
                );
            }
            self.proof.status = Some(status);
        }
        plan.hold
    }

    fn restored(&mut self) {
        for (restore, _) in self.restores.values_mut() {
            restore.status = Some(RestoreStatus {
                state: "Done".into(),
                sha256: Some(SUM.into()),
                ..RestoreStatus::default()
            });
        }
    }

    fn guest(&mut self, guest: Guest, console: bool) {
        if self.machine.is_none() {
            return;
        }
        let detail = Detail::Vm {
            guest,
            last_stop: None,
            machine_type: None,
            started_at: None,
            restart: String::new(),
            held: None,
            moves: Vec::new(),
            used: Vec::new(),
            formatted: Vec::new(),
            probed: Some(Box::new(Probed {
                console,
                ..Probed::default()
            })),
        };
        self.machine_said = Some(said(ItemState::Ready, detail));
    }

    fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }
}

fn said(state: ItemState, detail: Detail) -> Observation {
    Observation {
        key: ItemKey::new(ItemKind::Vm, Uuid::from_u128(9)),
        epoch: Epoch::default(),
        hash: ItemHash(0),
        state,
        detail,
    }
}

#[test]
fn a_proof_goes_its_way_and_says_what_was_shown_and_how_long_it_took() {
    let mut bench = Bench::new();
    bench.look(true);
    let trial = bench.status().trial.unwrap();
    let volumes: Vec<&str> = trial.volumes.iter().map(|v| v.volume.as_str()).collect();
    assert_eq!(
        volumes,
        ["web-root", "data"],
        "it boots from the first disk"
    );
    assert_eq!(
        (trial.pool.as_str(), trial.class.as_str()),
        ("san", "small")
    );
    assert_eq!(trial.firmware, dc_crds::vm::FirmwareKind::Uefi);
    bench.look(true);
    assert_eq!(bench.restores.len(), 2);
    let (restore, _) = &bench.restores[&volume_name(&trial.sandbox, 1)];
    assert_eq!(restore.spec.department.as_deref(), Some("so-nnmt"));
    assert_eq!(
        restore.spec.to.erase_method,
        dc_crds::volume::EraseMethod::Zero
    );
    assert!(restore.spec.verify);
    bench.later(60);
    bench.restored();
    bench.look(true);
    let machine = bench.machine.clone().unwrap();
    let asked = probes_of(&machine, OPERATORS).unwrap();
    assert_eq!(asked.console.as_deref(), Some("login:"));
    assert_eq!(
        probes_of(&machine, "so-nnmt"),
        None,
        "it counts in the sandbox alone"
    );
    bench.later(5);
    bench.guest(Guest::Running, false);
    bench.look(true);
    assert_eq!(bench.status().state, "Probing");
    bench.later(20);
    bench.guest(Guest::Running, true);
    bench.look(true);
    assert_eq!(bench.status().state, "Erasing");
    assert!(bench.machine.is_some(), "written down first");
    bench.look(true);
    assert!(bench.is_empty());
    bench.later(3);
    bench.look(true);
    let status = bench.status();
    assert_eq!(status.state, "Proven");
    let evidence = status.evidence.unwrap();
    assert_eq!(evidence.signature.value, "signed");
    assert_eq!(evidence.trial.host.as_deref(), Some("h1"));
    assert!(
        evidence
            .trial
            .volumes
            .iter()
            .all(|v| v.sha256.as_deref() == Some(SUM))
    );
    let took = |step| {
        let time = evidence
            .steps
            .iter()
            .find(|time| time.step == step)
            .unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        at(time.ended_at.as_ref().unwrap()) - at(&time.began_at)
    };
    let steps = [
        ProofStep::Restore,
        ProofStep::Boot,
        ProofStep::Probe,
        ProofStep::Erase,
    ];
    assert_eq!(steps.map(took), [60, 5, 20, 3]);
    let ready = find(&status.conditions, dc_crds::condition::types::READY).unwrap();
    assert_eq!(ready.reason, "Proven");
    // Nothing more is done, and nothing of it changes.
    let (plan, again) = bench.decide();
    assert_eq!(plan, Plan::default());
    assert_eq!(again, bench.status());
}

#[test]
fn what_fails_says_where_and_why() {
    type Play = fn(&mut Bench);
    let damaged: Play = |bench| {
        let trouble = Trouble {
            reason: "RepositoryDamaged".into(),
            message: "pack 123 is damaged".into(),
        };
        let detail = Detail::Restore {
            progress: None,
            done: None,
        };
        for (_, told) in bench.restores.values_mut() {
            *told = Some(said(ItemState::Failed(trouble.clone()), detail.clone()));
        }
    };
    let unread: Play = |bench| {
        bench.restored();
        for (restore, _) in bench.restores.values_mut() {
            restore.status.as_mut().unwrap().sha256 = None;
        }
    };
    let slow: Play = |bench| bench.later(1000);
    let crashed: Play = |bench| {
        bench.restored();
        bench.look(true);
        bench.guest(Guest::Crashed, false);
    };
    let off: Play = |bench| {
        bench.restored();
        bench.look(true);
        bench.guest(Guest::Stopped, false);
    };
    let silent: Play = |bench| {
        bench.restored();
        bench.look(true);
        bench.guest(Guest::Running, false);
        bench.look(true);
        bench.later(100);
    };
    let never: Play = |bench| {
        bench.restored();
        bench.look(true);
        bench.later(100);
    };
    for (play, step, reason, says) in [
        (damaged, ProofStep::Restore, "RepositoryDamaged", "pack 123"),
        (unread, ProofStep::Restore, "NotCompared", "web-root"),
        (slow, ProofStep::Restore, "TooLong", "1000 s"),
        (crashed, ProofStep::Probe, "Crashed", "h1"),
        (off, ProofStep::Probe, "StoppedByItself", "h1"),
        (silent, ProofStep::Probe, "TooLong", "console: \"login:\""),
        (never, ProofStep::Boot, "TooLong", "100 s"),
    ] {
        let mut bench = Bench::new();
        bench.look(true);
        bench.look(true);
        play(&mut bench);
        for _ in 0..3 {
            bench.look(true);
        }
        let evidence = bench.status().evidence.unwrap();
        assert_eq!(evidence.result, ProofResult::Failed);
        assert_eq!(
            (evidence.failed_at, &*evidence.reason),
            (Some(step), reason)
        );
        assert!(evidence.message.contains(says), "{}", evidence.message);
        assert!(evidence.message.contains(" · "), "in both languages");
        assert!(bench.is_empty());
    }
}

#[test]
fn it_does_not_begin_where_it_may_not_and_goes_only_when_nothing_is_left() {
    let mut bench = Bench::new();
    bench.owner_class = OwnerClass::Soc;
    let (plan, _) = bench.decide();
    assert!(
        matches!(plan.found[..], [Fact::ClassDiffers { .. }]),
        "{:?}",
        plan.found
    );
    bench.owner_class = OwnerClass::Shared;
    bench.turn = Turn::Waits;
    bench.look(true);
    assert_eq!(bench.status().trial, None);
    bench.turn = Turn::Come;
    // The machine is gone: what would be taken from it has to be named.
    bench.vm = None;
    let (plan, _) = bench.decide();
    assert_eq!(plan.found.len(), 2, "{:?}", plan.found);
    bench.proof.spec.class = Some("small".into());
    bench.proof.spec.firmware = Some(dc_crds::vm::FirmwareKind::Bios);
    bench.look(true);
    bench.look(true);
    assert!(!bench.is_empty());
    bench.proof.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(bench.look(true), Hold::Keep);
    assert!(bench.is_empty());
    assert_eq!(bench.look(true), Hold::LetGo);
}

proptest! {
    /// Whatever happens in whatever order, and whichever statuses are lost: see [`Bench::look`] for
    /// what holds then; and it ends.
    #[test]
    fn decided_once_whatever_dies(events in prop::collection::vec(0..9_u8, 0..40)) {
        let mut bench = Bench::new();
        for event in events {
            match event {
                0..=2 => { bench.look(true); }
                // The operator dies before it writes down what it decided.
                3 => { bench.look(false); }
                4 => bench.restored(),
                5 => bench.guest(Guest::Running, true),
                6 => bench.guest(Guest::Crashed, false),
                7 => bench.later(40),
                // Somebody takes something away.
                _ => bench.machine = None,
            }
        }
        for _ in 0..20 {
            bench.later(200);
            bench.restored();
            bench.look(true);
        }
        prop_assert!(bench.status().evidence.is_some(), "{:#?}", bench.status());
        prop_assert!(bench.is_empty());
    }
}
