//! A small data centre of simulated hosts: one department, two computes, one storage host, and the
//! real agents over fakes.

use std::path::Path;
use std::time::Duration;

use dc_agent::metrics::Metrics;
use dc_agent::simulate::{self, Options, Simulated};
use dc_crds::{VirtualMachine, Volume};
use dc_lab::wait::{Look, until};
use dc_types::{HostName, InstanceId, PoolName};
use kube::{Api, ResourceExt};
use tempfile::TempDir;

use crate::lent::lend;
use crate::sessions::running::Place;

/// A guest is there in a second or two; a busy machine of two cores takes longer.
pub const DEADLINE: Duration = Duration::from_secs(600);
pub const DEPARTMENT: &str = "so-nnmt";
const HOSTS: [(&str, &str); 4] = [
    ("compute-1", "[compute]"),
    ("compute-2", "[compute]"),
    ("storage-1", "[storage]"),
    ("gateway-1", "[gateway]"),
];

/// Directory pools that the agents of computes serve; a test that uses one makes its object.
const FOLDERS: [(&str, &str); 2] = [("compute-1", "local-1"), ("compute-2", "local-2")];

const BASE: &str = "
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: Department
metadata: {name: so-nnmt}
spec: {displayName: {vi: Sở Nông nghiệp và Môi trường, en: Agriculture}, kind: department}
---
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: Zone
metadata: {name: internal}
spec:
  type: internal
  poolV4: {cidr: 10.48.0.0/12, prefixLength: 26}
  poolV6: {cidr: 'fd5a:1a01::/32'}
---
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: MachineClass
metadata: {name: tiny}
spec: {vcpus: 1, memory: 128Mi, cpuModel: qemu64}
---
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: StoragePool
metadata: {name: san-1}
spec: {driver: {iscsi: {host: storage-1}}}
";

const OWNED: &str = "
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: InformationSystem
metadata: {name: land, namespace: so-nnmt}
spec: {displayName: {vi: Đất đai, en: Land}}
---
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: Subnet
metadata: {name: app, namespace: so-nnmt}
spec: {zone: internal}
";

pub struct Province {
    pub place: Place,
    pub hosts: Vec<Simulated>,
    folder: TempDir,
}

fn vm(name: &str) -> String {
    format!(
        "
---
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: VirtualMachine
metadata: {{name: {name}, namespace: {DEPARTMENT}}}
spec:
  system: land
  class: tiny
  firmware: bios
  disks: [{{name: root, template: {{pool: san-1, size: 1Gi, reclaim: Erase}}}}]
  interfaces: [{{subnet: app}}]
"
    )
}

fn folder((host, pool): (&str, &str)) -> (HostName, PoolName) {
    (HostName::new(host).unwrap(), PoolName::new(pool).unwrap())
}

impl Province {
    /// The objects of a province, and an API server to hold them.
    pub async fn start() -> Self {
        let place = Place::start(lend().await).await;
        let hosts = HOSTS.map(|(host, roles)| {
            format!(
                "---\n{{apiVersion: dc.sonla.gov.vn/v1alpha1, kind: Host, metadata: {{name: {host}}}, \
                 spec: {{roles: {roles}}}}}\n"
            )
        });
        place.apply(&format!("{BASE}{}", hosts.concat()));
        Self {
            place,
            hosts: Vec::new(),
            folder: TempDir::new().unwrap(),
        }
    }

    /// Agents for every host, with the tokens that an operator made for them.
    pub async fn start_agents(&mut self) {
        for (host, _) in HOSTS {
            let token = self.place.token(host).await;
            let json = serde_json::to_vec(&token).unwrap();
            std::fs::write(self.joins().join(format!("{host}.json")), json).unwrap();
        }
        self.run_agents(&[]);
        self.own().await;
    }

    /// The same without the agent of the storage host, which the test plays itself.
    pub async fn start_agents_but_storage(&mut self) {
        for (host, roles) in HOSTS {
            if roles == "[storage]" {
                continue;
            }
            let token = self.place.token(host).await;
            let json = serde_json::to_vec(&token).unwrap();
            std::fs::write(self.joins().join(format!("{host}.json")), json).unwrap();
        }
        self.run_agents(&[]);
        self.own().await;
    }

    /// What is the department's, once it has its namespace.
    async fn own(&self) {
        self.wait_namespace().await;
        self.place.apply(OWNED);
    }

    /// `operators` in addition to those that the hosts know.
    pub fn run_agents(&mut self, operators: &[String]) {
        let options = Options {
            joins: self.joins().to_owned(),
            state: Some(self.folder.path().join("state")),
            pools: vec![PoolName::new("san-1").unwrap()],
            folders: FOLDERS.map(folder).into(),
            operators: operators.to_vec(),
        };
        self.hosts = simulate::start(&options, &Metrics::default()).unwrap();
    }

    fn joins(&self) -> &Path {
        self.folder.path()
    }

    /// A place for files of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn wait_namespace(&self) {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.place.client());
        until(
            "the department's namespace",
            DEADLINE,
            async || match namespaces.get_opt(DEPARTMENT).await.unwrap() {
                Some(_) => Look::Holds(()),
                None => Look::NotYet("none".into()),
            },
        )
        .await
        .unwrap();
    }

    pub fn apply_vms<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let manifests: String = names.into_iter().map(vm).collect();
        self.place.apply(&manifests);
    }

    pub fn vms(&self) -> Api<VirtualMachine> {
        Api::namespaced(self.place.client(), DEPARTMENT)
    }

    pub fn volumes(&self) -> Api<Volume> {
        Api::namespaced(self.place.client(), DEPARTMENT)
    }

    /// Waits until a machine's state, and the reason of its Ready, are as given.
    pub async fn wait_state(&self, name: &str, state: &str) -> VirtualMachine {
        let vms = self.vms();
        until(&format!("{name} to be {state}"), DEADLINE, async || {
            let vm = vms.get(name).await.unwrap();
            let status = vm.status.clone().unwrap_or_default();
            match status.state == state {
                true => Look::Holds(vm),
                false => Look::NotYet(format!("{status:#?}")),
            }
        })
        .await
        .unwrap()
    }

    /// Waits for a volume's reason and the size that is there; answers with its message.
    pub async fn wait_volume(&self, name: &str, reason: &str, size: &str) -> String {
        let volumes = self.volumes();
        until(&format!("{name} to be {reason}"), DEADLINE, async || {
            let volume = volumes.get(name).await.unwrap();
            let status = volume.status.clone().unwrap_or_default();
            let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
            let there = status.size.as_deref() == Some(size);
            match ready.filter(|ready| ready.reason == reason && there) {
                Some(ready) => Look::Holds(ready.message.clone()),
                None => Look::NotYet(format!("{status:#?}")),
            }
        })
        .await
        .unwrap()
    }

    /// All machines as people see them, to find out later whether anything was written.
    pub async fn versions(&self) -> Vec<(String, String)> {
        let vms = self.vms().list(&Default::default()).await.unwrap();
        let version = |vm: &VirtualMachine| (vm.name_any(), vm.resource_version().unwrap());
        vms.iter().map(version).collect()
    }

    pub fn host(&self, name: &str) -> &Simulated {
        let wanted = HostName::new(name).unwrap();
        self.hosts.iter().find(|h| h.agent.host == wanted).unwrap()
    }

    /// Hosts on which a guest runs.
    pub fn runs_on(&self, vm: InstanceId) -> Vec<String> {
        let on = self
            .hosts
            .iter()
            .filter(|h| h.fakes.hypervisor.power(vm).is_some());
        on.map(|h| h.agent.host.to_string()).collect()
    }

    /// How often each host's machine was changed: guests, targets, volumes, taps, rules.
    pub fn changes(&self) -> Vec<(String, u64)> {
        const CHANGING: [&str; 12] = [
            "start", "create", "delete", "remove", "make", "plug", "change", "apply", "load",
            "erase", "retain", "stop",
        ];
        let of = |host: &Simulated| {
            let name = host.agent.host.to_string();
            let counts = host.fakes.knobs.counts().into_iter();
            let changing = |call: &str| CHANGING.iter().any(|word| call.contains(word));
            counts
                .filter(|(call, _)| changing(call))
                .map(|(call, n)| (format!("{name} {call}"), n))
                .collect::<Vec<_>>()
        };
        self.hosts.iter().flat_map(of).collect()
    }

    /// Every host speaks with an operator.
    pub async fn wait_connected(&self) {
        until("all hosts to be connected", DEADLINE, async || {
            let away = self
                .hosts
                .iter()
                .filter(|host| !host.agent.health.is_connected());
            let away: Vec<_> = away.map(|host| host.agent.host.to_string()).collect();
            match away.is_empty() {
                true => Look::Holds(()),
                false => Look::NotYet(format!("{away:?} are not")),
            }
        })
        .await
        .unwrap();
    }

    pub async fn stop_agents(&mut self) {
        for host in std::mem::take(&mut self.hosts) {
            host.agent.stop().await;
        }
    }
}
