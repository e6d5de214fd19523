//! One machine as the operator would order it, and the loop that carries the order out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use dc_agent::vm::{apply, read};
use dc_agent_core::names::{bridge_name, netns_name};
use dc_agent_core::vm::{Seen, Step, plan, status};
use dc_agent_core::wanted::{Releases, WantedOwned};
use dc_host::Tools;
use dc_lab::wait::{self, Look};
use dc_types::plan::{
    Chap, DiskItem, DiskSource, Disposition, Firmware, GrantItem, Item, ItemBody, ItemKey,
    ItemKind, Items, NetworkItem, NetworkRole, NicItem, OnStop, Power, Qos, Release, Secret,
    SeedItem, Segment, VmItem, ZoneType,
};
use dc_types::report::{Detail, Guest, HoldSeen, ItemState, MoveSeen, Stop};
use dc_types::{
    Bytes, DepartmentName, Epoch, InstanceId, Mac, MiB, ObjectRef, ObjectUid, SubnetUid, Vni,
};
use uuid::Uuid;

use crate::carrier::Carrier;

pub const TRANSIT: Vni = Vni(4999);
const SEGMENT: Vni = Vni(5001);
/// A guest of the tiny image is up in four seconds on an idle computer.
pub const DEADLINE: Duration = Duration::from_secs(600);

pub struct Order {
    pub vm: VmItem,
    pub epoch: Epoch,
    released: bool,
}

/// One look, as the operator is told of it.
#[derive(Debug)]
pub struct Looked {
    pub seen: Seen,
    pub state: ItemState,
    pub guest: Guest,
    pub last_stop: Option<Stop>,
    pub held: Option<HoldSeen>,
    pub moves: Vec<MoveSeen>,
    pub formatted: Vec<InstanceId>,
    pub released: bool,
}

#[derive(Debug)]
enum Turn {
    Worked,
    /// Nothing is left to do.
    Settled(Box<Looked>),
}

impl Looked {
    pub fn reason(&self) -> &str {
        match &self.state {
            ItemState::Ready => "Ready",
            ItemState::Pending(trouble) | ItemState::Failed(trouble) => &trouble.reason,
        }
    }
}

impl Order {
    pub fn new(carrier: &Carrier) -> Self {
        let vm = InstanceId(Uuid::from_u128(0xa11c_e000_0000_4000_8000_0000_0000_0001));
        let disk = DiskItem {
            volume: InstanceId(Uuid::from_u128(0xd15c_0000_0000_4000_8000_0000_0000_0001)),
            name: "system".into(),
            grant: epoch(6),
            initiator: GrantItem::initiator_name(&carrier.host.name, vm),
            source: DiskSource::Iscsi {
                portal: carrier.host.portal.clone().expect("the carrier stores"),
                chap: Chap {
                    user: "dc".into(),
                    secret: Secret("0123456789abcdef01234567".into()),
                },
            },
            size: Bytes(64 << 20),
            qos: Qos::default(),
            stored: None,
            mirror: None,
            luks: None,
        };
        Self {
            vm: VmItem {
                vm,
                department: DepartmentName::new("so-nnmt").expect("a label"),
                system: "w30-land".into(),
                name: "web-1".into(),
                power: Power::On,
                restart: String::new(),
                vcpus: 1,
                memory: MiB(128),
                cpu_model: "qemu64".into(),
                machine_type: "pc-q35-7.2".into(),
                firmware: Firmware::Bios,
                disks: vec![disk],
                nics: vec![NicItem {
                    card: 0,
                    subnet: SubnetUid(Uuid::from_u128(1)),
                    mac: Mac::of_instance(vm, 0, 0),
                    v4: Some([10, 1, 0, 5].into()),
                    v6: Some("fd00:1::5".parse().expect("an address")),
                }],
                seed: SeedItem {
                    hostname: "web-1".into(),
                    user_data: Secret("#cloud-config\nruncmd: [[echo, hello]]\n".into()),
                },
                stop_deadline_s: 60,
                on_stop: OnStop::Restart,
                hold: None,
                probes: None,
            },
            epoch: epoch(10),
            released: false,
        }
    }

    /// What the network reconciler would have made.
    pub fn network_script(&self) -> String {
        let (netns, bridge) = (netns_name(TRANSIT), bridge_name(SEGMENT));
        format!(
            "set -e; ip netns add {netns}; ip -n {netns} link add {bridge} type bridge
             ip -n {netns} link set {bridge} address 02:dc:00:00:00:01 up
             ip -n {netns} addr add 10.1.0.1/24 dev {bridge}
             ip -n {netns} addr add fd00:1::1/64 dev {bridge} nodad"
        )
    }

    pub fn release(&mut self) {
        self.released = true;
    }

    pub fn wanted(&self, carrier: &Carrier) -> WantedOwned {
        let network = network_item(&self.vm.department);
        let item = Item {
            key: ItemKey::new(ItemKind::Vm, self.vm.vm.0),
            epoch: self.epoch,
            object: object("web-1"),
            body: ItemBody::Vm(Box::new(self.vm.clone())),
        };
        let release = Release {
            key: item.key,
            epoch: self.epoch,
            object: item.object.clone(),
            disposition: Disposition::Remove,
        };
        let ready = BTreeSet::from([network.key, ItemKey::endpoint(self.vm.vm, 0)]);
        let releases: Releases = self
            .released
            .then_some((release.key, release))
            .into_iter()
            .collect();
        WantedOwned {
            items: Arc::new(Items::from([(network.key, network), (item.key, item)])),
            releases: Arc::new(releases),
            host: Arc::clone(&carrier.host),
            ready: Arc::new(ready),
        }
    }

    async fn see(&self, carrier: &Carrier, tools: &Tools) -> Result<Seen> {
        let (tools, wanted) = (tools.clone(), self.wanted(carrier));
        carrier
            .inside(async move { Ok(read(&tools, &wanted).await?) })
            .await
    }

    pub async fn plan(&self, carrier: &Carrier, tools: &Tools) -> Result<Vec<Step>> {
        let seen = self.see(carrier, tools).await?;
        Ok(plan(&self.wanted(carrier).as_wanted(), &seen))
    }

    pub async fn apply(&self, carrier: &Carrier, tools: &Tools, step: Step) -> Result<()> {
        let tools = tools.clone();
        carrier
            .inside(async move {
                apply(&tools, &step)
                    .await
                    .map_err(|trouble| anyhow!("{}: {}", trouble.reason, trouble.message))
            })
            .await
    }

    pub async fn look(&self, carrier: &Carrier, tools: &Tools) -> Result<Looked> {
        let seen = self.see(carrier, tools).await?;
        let wanted = self.wanted(carrier);
        let status = status(
            &wanted.as_wanted(),
            &seen,
            &BTreeMap::new(),
            &BTreeSet::new(),
        );
        let observation = status.observations.into_iter().next();
        let observation = observation.ok_or_else(|| anyhow!("nothing is said of the machine"))?;
        let Detail::Vm {
            guest,
            last_stop,
            held,
            moves,
            formatted,
            ..
        } = observation.detail
        else {
            bail!("not a machine's detail: {:?}", observation.detail);
        };
        Ok(Looked {
            seen,
            state: observation.state,
            guest,
            last_stop,
            held: held.as_deref().copied(),
            moves,
            formatted,
            released: !status.released.is_empty(),
        })
    }

    /// The agent's loop, until a look shows what is waited for and nothing is left to do.
    pub async fn settle(
        &self,
        carrier: &Carrier,
        tools: &Tools,
        what: &str,
        done: impl Fn(&Looked) -> bool,
    ) -> Result<Looked> {
        let deadline = Instant::now() + DEADLINE;
        let mut pause = tokio::time::interval(Duration::from_millis(200));
        let mut last = None;
        loop {
            pause.tick().await;
            match self.turn(carrier, tools).await {
                Ok(Turn::Settled(looked)) if done(&looked) => return Ok(*looked),
                other => last = Some(other).or(last),
            }
            if Instant::now() > deadline {
                let console = carrier.console(self.vm.vm);
                bail!("not reached: {what}; {last:?}; console:\n{console}");
            }
        }
    }

    /// One turn of the agent's loop.
    async fn turn(&self, carrier: &Carrier, tools: &Tools) -> Result<Turn> {
        let steps = self.plan(carrier, tools).await?;
        if steps.is_empty() {
            return Ok(Turn::Settled(Box::new(self.look(carrier, tools).await?)));
        }
        for step in steps {
            self.apply(carrier, tools, step).await?;
        }
        Ok(Turn::Worked)
    }

    /// Waits for a text of the guest's nth start, from 1, and returns what it has said in it.
    pub async fn console_says(
        &self,
        carrier: &Carrier,
        start: usize,
        text: &str,
    ) -> Result<String> {
        wait::until(text, DEADLINE, async || {
            let console = carrier.console(self.vm.vm);
            match console.split("dc-tiny: starting").nth(start) {
                Some(now) if now.contains(text) => Look::Holds(now.to_owned()),
                _ => Look::NotYet(console),
            }
        })
        .await
    }
}

fn network_item(department: &DepartmentName) -> Item {
    Item {
        key: ItemKey::network(department),
        epoch: epoch(1),
        object: object("so-nnmt"),
        body: ItemBody::Network(NetworkItem {
            department: department.clone(),
            transit: TRANSIT,
            segments: vec![Segment {
                subnet: SubnetUid(Uuid::from_u128(1)),
                name: "web".into(),
                zone: ZoneType::Dmz,
                vni: SEGMENT,
                v4: Some("10.1.0.0/24".parse().expect("a prefix")),
                v6: Some("fd00:1::/64".parse().expect("a prefix")),
                gateway_v4: Some([10, 1, 0, 1].into()),
                gateway_v6: Some("fd00:1::1".parse().expect("an address")),
                gateway_mac: Mac::of_gateway(SEGMENT),
                dns: vec![[10, 1, 0, 1].into()],
            }],
            flows: Vec::new(),
            peers: Vec::new(),
            role: NetworkRole::Compute,
        }),
    }
}

fn epoch(revision: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        revision,
    }
}

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: name.to_owned(),
        uid: ObjectUid(Uuid::from_u128(200)),
    }
}
