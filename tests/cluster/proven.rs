//! Proofs of backups, by the real operator and the real agents: on simulated hosts, whose
//! repositories are in memory and are what the archiver writes.

use std::collections::BTreeMap;

use dc_agent_core::vm::seen::Off;
use dc_backup::store::{Kind, Store};
use dc_crds::certificate::Signature;
use dc_crds::condition::types;
use dc_crds::proof::{ProofResult, ProofStep};
use dc_crds::{
    Backup, BackupPolicy, Department, ErasureCertificate, Restore, RestoreProof, VirtualMachine,
    Volume,
};
use dc_host::Rule;
use dc_host::drivers::Driver;
use dc_lab::wait::{Look, until};
use dc_operator::evidence;
use dc_operator::operator::Parts;
use dc_operator_core::conditions::find;
use dc_types::InstanceId;
use dc_types::plan::RepositoryPlace;
use dc_types::report::Sha256;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use sha2::Digest;

use super::machines::lead;
use super::machines::province::{DEADLINE, DEPARTMENT, Province};
use super::sessions::running::{Operator, eventually};

/// What the second disk of the machine holds; no two blocks of it are alike.
pub(super) fn written() -> Vec<u8> {
    let numbers = (0..(16_u32 << 20) / 4).flat_map(u32::to_le_bytes);
    numbers.collect()
}

pub(super) struct Centre {
    operator: Option<Operator>,
    pub(super) province: Province,
    pub(super) parts: Parts,
}

impl Centre {
    /// A machine `web`, and a backup `one` of it.
    pub(super) async fn with_backup() -> Self {
        let mut province = Province::start().await;
        let (operator, parts) = lead(&mut province).await;
        let repository = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "BackupRepository",
            "metadata": {"name": "main"},
            "spec": {"folder": {"path": "/backups"}, "recoveryKey": "first"}});
        province.place.apply(&repository.to_string());
        let centre = Self {
            operator: Some(operator),
            province,
            parts,
        };
        let data = json!({"system": "land", "pool": "san-1", "size": "16Mi"});
        centre.apply("Volume", "data", data);
        let volumes = centre.province.volumes();
        let ready = centre.province.wait_volume("data", "Ready", "16Mi");
        ready.await;
        let data = volumes.get("data").await.unwrap().uid().unwrap();
        let driver = centre.storage().pool(&"san-1".parse().unwrap());
        let bytes = driver.open_volume(data.parse().unwrap()).await.unwrap();
        bytes.write(0, written()).await.unwrap();
        drop(bytes);
        let web = json!({"system": "land", "class": "tiny", "firmware": "bios",
            "disks": [
                {"name": "root", "template": {"pool": "san-1", "size": "64Mi", "reclaim": "Erase"}},
                {"name": "data", "volume": "data"}],
            "interfaces": [{"subnet": "app"}]});
        centre.apply("VirtualMachine", "web", web);
        centre.province.wait_state("web", "Running").await;
        centre.apply("Backup", "one", json!({"vm": "web", "repository": "main"}));
        centre
            .backup("one", |status| status.snapshot_id.is_some())
            .await;
        centre
    }

    pub(super) fn apply(&self, kind: &str, name: &str, spec: serde_json::Value) {
        let object = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": DEPARTMENT}, "spec": spec});
        self.province.place.apply(&object.to_string());
    }

    fn prove(&self, name: &str) {
        self.apply("RestoreProof", name, json!({"backup": "one"}));
    }

    fn proofs(&self) -> Api<RestoreProof> {
        Api::namespaced(self.province.place.client(), DEPARTMENT)
    }

    /// In the sandbox.
    fn tried<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.province.place.client(), &self.parts.namespace)
    }

    pub(super) async fn backup(
        &self,
        name: &str,
        holds: impl Fn(&dc_crds::BackupStatus) -> bool,
    ) -> Backup {
        let api: Api<Backup> = Api::namespaced(self.province.place.client(), DEPARTMENT);
        until(&format!("backup {name}"), DEADLINE, async || {
            let found = api.get(name).await.unwrap();
            match found.status.as_ref().is_some_and(&holds) {
                true => Look::Holds(found),
                false => Look::NotYet(format!("{:#?}", found.status)),
            }
        })
        .await
        .unwrap()
    }

    async fn proof(&self, name: &str, state: &str) -> RestoreProof {
        let api = self.proofs();
        until(
            &format!("proof {name} to be {state}"),
            DEADLINE,
            async || {
                let found = api.get(name).await.unwrap();
                let status = found.status.clone().unwrap_or_default();
                match status.state == state {
                    true => Look::Holds(found),
                    false => Look::NotYet(format!("{status:#?}")),
                }
            },
        )
        .await
        .unwrap()
    }

    /// The machine in the sandbox, once its guest runs.
    async fn guest(&self) -> InstanceId {
        let find = || {
            let id = self.parts.ledger.with_claims(|claims| {
                let mut vms = claims.vms.values();
                let tried = vms.find(|vm| vm.value.owner.namespace == self.parts.namespace);
                tried.map(|vm| vm.value.vm)
            });
            id.filter(|vm| !self.province.runs_on(*vm).is_empty())
        };
        eventually("the guest of the sandbox to run", || find().is_some()).await;
        find().unwrap()
    }

    fn host_of(&self, vm: InstanceId) -> &dc_host::Fakes {
        let hosts = self.province.runs_on(vm);
        let [host] = &hosts[..] else {
            panic!("{vm} runs on {hosts:?}");
        };
        &self.province.host(host).fakes
    }

    pub(super) fn storage(&self) -> &dc_host::Fakes {
        &self.province.host("storage-1").fakes
    }

    /// Its console shows what a Linux that has come up shows.
    async fn comes_up(&self) -> InstanceId {
        let guest = self.guest().await;
        self.host_of(guest).seeds.show(guest, "web login: ");
        guest
    }

    /// No object and no claim is left of any sandbox.
    async fn nothing_left(&self) {
        eventually("nothing of a sandbox is claimed", || {
            self.parts.ledger.with_claims(|claims| {
                let ours = |namespace: &str| namespace == self.parts.namespace;
                claims.restores.is_empty()
                    && claims.erased.is_empty()
                    && claims.vms.values().all(|c| !ours(&c.value.owner.namespace))
                    && claims
                        .volumes
                        .values()
                        .all(|c| !ours(&c.value.owner.namespace))
            })
        })
        .await;
        let all = ListParams::default();
        let machines = self.tried::<VirtualMachine>().list(&all).await.unwrap();
        let volumes = self.tried::<Volume>().list(&all).await.unwrap();
        let restores = self.tried::<Restore>().list(&all).await.unwrap();
        let left = (
            machines.items.len(),
            volumes.items.len(),
            restores.items.len(),
        );
        assert_eq!(left, (0, 0, 0));
    }

    /// SIGKILL, and a new operator at the same address.
    pub(super) async fn replace_operator(&mut self) {
        let operator = self.operator.take().unwrap();
        let address = operator.address();
        operator.kill();
        let operator = self.province.place.real_operator_at(address).await;
        self.parts = operator.leading().await;
        self.operator = Some(operator);
    }

    pub(super) async fn close(mut self) {
        self.province.stop_agents().await;
        self.operator.unwrap().stop().await;
    }
}

fn known(parts: &Parts) -> BTreeMap<String, String> {
    BTreeMap::from([(parts.evidence.id(), parts.evidence.public_key())])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_tried_through_an_operator_killed_at_every_step_and_nothing_of_it_is_left() {
    let mut centre = Centre::with_backup().await;
    let before = centre.storage().pool(&"san-1".parse().unwrap()).erased();

    // While it is written.
    centre.storage().knobs.set("pool.write", Rule::hang());
    centre.prove("trial");
    centre.proof("trial", "Restoring").await;
    eventually("it is written", || {
        let claims = |claims: &dc_operator_core::claims::Claims| claims.restores.len();
        centre.parts.ledger.with_claims(claims) > 0
    })
    .await;
    centre.replace_operator().await;
    centre.storage().knobs.clear("pool.write");

    // While it is probed: it reaches nothing, and nobody pays for it.
    centre.proof("trial", "Probing").await;
    let guest = centre.guest().await;
    let xml = centre.host_of(guest).hypervisor.xml(guest).unwrap();
    assert!(!xml.contains("<interface"), "{xml}");
    let departments: Api<Department> = Api::all(centre.province.place.client());
    let told = departments.get(DEPARTMENT).await.unwrap().status.unwrap();
    assert_eq!((told.virtual_machines, told.volumes), (1, 2));
    centre.replace_operator().await;
    centre.proof("trial", "Probing").await;
    assert_eq!(centre.guest().await, guest, "the same machine");

    // While it is erased.
    centre
        .storage()
        .knobs
        .set("pool.erase_volume", Rule::hang());
    centre.comes_up().await;
    centre.proof("trial", "Erasing").await;
    centre.replace_operator().await;
    let still = centre.proof("trial", "Erasing").await;
    assert_eq!(still.status.unwrap().evidence, None, "bytes are left");
    centre.storage().knobs.clear("pool.erase_volume");

    let proven = centre.proof("trial", "Proven").await;
    centre.nothing_left().await;
    let erased = centre.storage().pool(&"san-1".parse().unwrap()).erased();
    assert_eq!(erased.len(), before.len() + 2);
    let evidence = proven.status.clone().unwrap().evidence.unwrap();
    assert_eq!(evidence.result, ProofResult::Proven);
    let steps: Vec<ProofStep> = evidence.steps.iter().map(|time| time.step).collect();
    assert_eq!(steps.first(), Some(&ProofStep::Restore));
    assert_eq!(steps.last(), Some(&ProofStep::Erase));
    assert!(evidence.steps.iter().all(|time| time.ended_at.is_some()));
    let sum = |bytes: &[u8]| Some(Sha256(sha2::Sha256::digest(bytes).into()).to_string());
    let sums: Vec<_> = evidence
        .trial
        .volumes
        .iter()
        .map(|volume| (volume.volume.as_str(), volume.sha256.clone()))
        .collect();
    let expected = [
        ("web-root", sum(&vec![0; 64 << 20])),
        ("data", sum(&written())),
    ];
    assert_eq!(sums, expected);
    assert_eq!(
        evidence::verify_proof(&proven, &known(&centre.parts)),
        Some(Ok(()))
    );
    let mut forged = proven.clone();
    forged.metadata.name = Some("another".into());
    let forged = evidence::verify_proof(&forged, &known(&centre.parts));
    assert_eq!(forged, Some(Err(evidence::VerifyError::Forged)));

    // The backup tells it, also when the proof is gone.
    let told = centre
        .backup("one", |status| status.proven_at.is_some())
        .await;
    let told = told.status.unwrap();
    assert_eq!(told.proven_by.as_deref(), Some("trial"));
    assert_eq!(
        find(&told.conditions, types::PROVEN).unwrap().reason,
        "Proven"
    );
    let api = centre.proofs();
    api.delete("trial", &DeleteParams::default()).await.unwrap();
    eventually_gone(&api, "trial").await;
    let told = centre.backup("one", |_| true).await.status.unwrap();
    assert!(told.proven_at.is_some());
    // The real one was never touched.
    centre.province.wait_state("web", "Running").await;
    let certificates: Api<ErasureCertificate> = Api::all(centre.province.place.client());
    assert_eq!(
        certificates
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    centre.close().await;
}

async fn eventually_gone(api: &Api<RestoreProof>, name: &str) {
    until(
        &format!("{name} to be gone"),
        DEADLINE,
        async || match api.get_opt(name).await.unwrap() {
            None => Look::Holds(()),
            Some(found) => Look::NotYet(format!("{:#?}", found.status)),
        },
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_come_back_or_up_fails_and_says_where_and_why() {
    let centre = Centre::with_backup().await;

    // It crashes; it shows nothing in time; it is deleted while it runs.
    centre.prove("crashes");
    centre.proof("crashes", "Probing").await;
    let guest = centre.guest().await;
    centre
        .host_of(guest)
        .hypervisor
        .guest_stops(guest, Off::Crashed);
    let crashed = centre.proof("crashes", "Failed").await.status.unwrap();
    let verdict = crashed.verdict.unwrap();
    assert_eq!(
        (verdict.failed_at, &*verdict.reason),
        (Some(ProofStep::Probe), "Crashed")
    );
    centre.nothing_left().await;

    let short = json!({"backup": "one", "bootSeconds": 45, "probes": {"console": "ready", "guestAgent": true}});
    centre.apply("RestoreProof", "silent", short);
    let silent = centre.proof("silent", "Failed").await;
    let verdict = silent.status.clone().unwrap().verdict.unwrap();
    assert_eq!(verdict.reason, "TooLong");
    assert!(
        verdict.message.contains("console: \"ready\""),
        "{}",
        verdict.message
    );
    assert!(
        !verdict.message.contains("guestAgent"),
        "{}",
        verdict.message
    );
    assert_eq!(
        evidence::verify_proof(&silent, &known(&centre.parts)),
        Some(Ok(()))
    );
    let told = centre
        .backup("one", |status| status.failed_proof.is_some())
        .await;
    let conditions = told.status.unwrap().conditions;
    assert_eq!(
        find(&conditions, types::PROVEN).unwrap().reason,
        "ProofFailed"
    );

    centre.prove("given-up");
    centre.guest().await;
    let api = centre.proofs();
    api.delete("given-up", &DeleteParams::default())
        .await
        .unwrap();
    eventually_gone(&api, "given-up").await;
    centre.nothing_left().await;

    // A byte of a pack.
    let place = RepositoryPlace::Folder {
        path: format!("/backups/{DEPARTMENT}"),
    };
    let store = centre.storage().repositories.store(&place);
    let packs = store.list(Kind::Pack).unwrap().into_iter();
    let (pack, _) = packs.max_by_key(|(_, length)| *length).unwrap();
    let mut bytes = store.read(Kind::Pack, pack, None).unwrap();
    // In the middle. What no block of the volumes is in is tried by `--test backup back`.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    store.remove(Kind::Pack, pack).unwrap();
    store.write(Kind::Pack, pack, &bytes).unwrap();
    centre.prove("damaged");
    let damaged = centre.proof("damaged", "Failed").await.status.unwrap();
    let verdict = damaged.verdict.unwrap();
    assert_eq!(verdict.failed_at, Some(ProofStep::Restore));
    assert_eq!(verdict.reason, "RepositoryDamaged", "{}", verdict.message);
    let name = pack.to_hex().as_str().to_owned();
    assert!(verdict.message.contains(&name), "{}", verdict.message);
    centre.nothing_left().await;
    centre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_department_reads_its_proofs_and_can_neither_make_forge_nor_touch_one() {
    let centre = Centre::with_backup().await;
    let officer = json!({"kind": "User", "name": "officer"});
    let department = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Department",
        "metadata": {"name": DEPARTMENT},
        "spec": {"displayName": {"vi": "Sở", "en": "Department"}, "kind": "department",
                 "members": {"administrators": [officer]}}});
    centre.province.place.apply(&department.to_string());
    let kubectl = centre.province.place.kubectl();
    let as_officer = |namespace: &str, deed: &[&str]| {
        let namespace = format!("--namespace={namespace}");
        let all = deed.iter().copied().chain(["--as=officer", &namespace]);
        kubectl.run(&all.collect::<Vec<_>>())
    };
    centre.prove("trial");
    centre.guest().await;
    until(
        "the officer to have his role",
        DEADLINE,
        async || match as_officer(DEPARTMENT, &["get", "restoreproof", "trial"]) {
            Ok(_) => Look::Holds(()),
            Err(error) => Look::NotYet(format!("{error:#}")),
        },
    )
    .await
    .unwrap();
    let file = |name: &str, object: serde_json::Value| {
        let path = centre.province.folder().join(name);
        std::fs::write(&path, object.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let proof = |namespace: &str| {
        json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "RestoreProof",
            "metadata": {"name": "forged", "namespace": namespace}, "spec": {"backup": "one"}})
    };
    let own = file("own.json", proof(DEPARTMENT));
    let sandbox = centre.parts.namespace.clone();
    let patch = "{\"status\":{\"state\":\"Proven\"}}";
    for (namespace, deed) in [
        (DEPARTMENT, &["create", "-f", &own][..]),
        (DEPARTMENT, &["delete", "restoreproof", "trial"]),
        (
            DEPARTMENT,
            &[
                "patch",
                "restoreproof",
                "trial",
                "--subresource=status",
                "--type=merge",
                "-p",
                patch,
            ],
        ),
        (&sandbox, &["get", "virtualmachines"]),
        (&sandbox, &["get", "volumes"]),
    ] {
        let error = format!("{:#}", as_officer(namespace, deed).unwrap_err());
        assert!(
            error.to_lowercase().contains("forbidden"),
            "{deed:?}: {error}"
        );
    }

    // What counts in the sandbox counts nowhere else.
    let theirs = json!({"snapshot": {"repository": "main", "id": "0".repeat(64)}, "volume": "web-root",
        "department": "so-khcn",
        "to": {"name": "stolen", "system": "land", "pool": "san-1", "size": "1Gi"}});
    centre.apply("Restore", "steal", theirs);
    let restores: Api<Restore> = Api::namespaced(centre.province.place.client(), DEPARTMENT);
    until("the restore to be refused", DEADLINE, async || {
        let status = restores
            .get("steal")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        match find(&status.conditions, types::READY) {
            Some(ready) if ready.reason == "OfAnother" => Look::Holds(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    restores
        .delete("steal", &DeleteParams::default())
        .await
        .unwrap();

    // Evidence stays as it is, also for an administrator.
    centre.comes_up().await;
    let proven = centre.proof("trial", "Proven").await;
    let mut forged = proven.clone();
    let evidence = forged.status.as_mut().unwrap().evidence.as_mut().unwrap();
    evidence.signature = Signature {
        algorithm: "Ed25519".into(),
        key_id: "0".into(),
        value: "0".into(),
    };
    forged.metadata.managed_fields = None;
    let name = forged.name_any();
    let refused = centre
        .proofs()
        .replace_status(&name, &kube::api::PostParams::default(), &forged)
        .await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("evidence is never changed"), "{refused}");
    centre.nothing_left().await;
    centre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_has_the_last_backup_tried_once_and_shows_who_is_unproven() {
    let centre = Centre::with_backup().await;
    let policy = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "BackupPolicy",
        "metadata": {"name": "minutes"},
        "spec": {"repository": "main", "schedule": {"cron": "* * * * *"}, "keep": {"last": 1},
                 "prove": {"sample": 0}}});
    centre.province.place.apply(&policy.to_string());
    let proofs = centre.proofs();
    let made = until("a proof by the policy", DEADLINE, async || {
        let found = proofs.list(&ListParams::default()).await.unwrap().items;
        found
            .into_iter()
            .next()
            .map_or_else(|| Look::NotYet("none".into()), Look::Holds)
    })
    .await
    .unwrap();
    let name = made.name_any();
    assert_eq!(made.spec.backup, name);
    let owners: Vec<String> = made
        .owner_references()
        .iter()
        .map(|o| o.kind.clone())
        .collect();
    assert_eq!(owners, ["Backup"]);
    centre.proof(&name, "Probing").await;
    let guest = centre.guest().await;
    centre
        .host_of(guest)
        .hypervisor
        .guest_stops(guest, Off::ByGuest);
    let failed = centre.proof(&name, "Failed").await.status.unwrap();
    assert_eq!(failed.verdict.unwrap().reason, "StoppedByItself");
    let policies: Api<BackupPolicy> = Api::all(centre.province.place.client());
    until("the policy to tell it", DEADLINE, async || {
        let status = policies
            .get("minutes")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        match status.unproven_machines == ["so-nnmt/web"] {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{status:#?}")),
        }
    })
    .await
    .unwrap();
    // The next backup is tried at once, and that is enough for a week.
    let second = until("the next proof", DEADLINE, async || {
        let found = proofs.list(&ListParams::default()).await.unwrap().items;
        let next = found.into_iter().find(|proof| proof.name_any() != name);
        next.map_or_else(|| Look::NotYet("one".into()), Look::Holds)
    })
    .await
    .unwrap();
    centre.comes_up().await;
    let second = second.name_any();
    centre.proof(&second, "Proven").await;
    until("the policy to be content", DEADLINE, async || {
        let status = policies
            .get("minutes")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        match status.unproven {
            0 => Look::Holds(()),
            _ => Look::NotYet(format!("{status:#?}")),
        }
    })
    .await
    .unwrap();
    let backups: Api<Backup> = Api::namespaced(centre.province.place.client(), DEPARTMENT);
    until("a newer backup", DEADLINE, async || {
        let found = backups.list(&ListParams::default()).await.unwrap().items;
        let newer = found.iter().filter(|other| {
            other.name_any() > second
                && other
                    .status
                    .as_ref()
                    .is_some_and(|s| s.snapshot_id.is_some())
        });
        match newer.count() {
            0 => Look::NotYet(format!("{}", found.len())),
            _ => Look::Holds(()),
        }
    })
    .await
    .unwrap();
    let all = proofs.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(all.len(), 2, "a proven machine rests");
    centre.close().await;
}
