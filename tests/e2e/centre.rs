//! The data centre that all tests share: made when the first test asks for it.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use dc_lab::cache::Cache;
use dc_lab::cargo::{self, Programs};
use dc_lab::control_plane::{ControlPlane, Durability, test_lab};
use dc_lab::images::GuestImage;
use dc_lab::inventory::{Size, Storage};
use dc_lab::kubectl::Kubectl;
use dc_lab::lab::{Lab, work_tree};
use dc_lab::machine::Machine;
use dc_lab::operator::{self, Agents, Replica};
use dc_lab::wires::Outside;
use dc_lab::{chart, machines, progress, teardown};
use tokio::runtime::Runtime;

use crate::reader::Reader;
use crate::{objects, report};

/// Generous: two cores carry the control plane, four machines, and all their guests.
pub const DEADLINE: Duration = Duration::from_secs(600);

/// Who applies the tests' objects, to server-side apply.
pub const FIELD_MANAGER: &str = "e2e";

pub struct Centre {
    runtime: Runtime,
    pub plane: ControlPlane,
    pub programs: Programs,
    pub machines: Vec<Machine>,
    pub kubectl: Kubectl,
    pub reader: Reader,
    pub outside: Outside,
}

/// Where the tests play: empty, with a centre on it, or spoilt.
#[derive(Default)]
pub struct Stage(Mutex<Set>);

#[derive(Default)]
struct Set {
    lab: Option<Lab>,
    centre: Option<Result<Arc<Centre>, String>>,
}

impl Stage {
    /// Runs a test in the centre; what it fails with says how the centre stands.
    pub fn run(&self, name: &str, test: fn(&Arc<Centre>) -> Result<()>) -> Result<(), String> {
        let centre = self.centre()?;
        progress::note(format!("{name}:"));
        test(&centre).map_err(|error| format!("{error:#}\n\n{}", report::render(&centre)))
    }

    fn centre(&self) -> Result<Arc<Centre>, String> {
        let mut set = self.lock();
        if set.centre.is_none() {
            let made = Self::make(&mut set).map(Arc::new);
            let told = made.map_err(|error| match &set.lab {
                Some(lab) => format!("{error:#}\n\n{}", report::render_logs(lab)),
                None => format!("{error:#}"),
            });
            set.centre = Some(told);
        }
        match &set.centre {
            Some(Ok(centre)) => Ok(centre.clone()),
            Some(Err(error)) => Err(format!("there is no data centre: {error}")),
            None => Err("there is no data centre".to_owned()),
        }
    }

    fn make(set: &mut Set) -> Result<Centre> {
        teardown::remove_orphans().context("an orphaned lab of an earlier test stays")?;
        let lab = test_lab("e2e")?;
        // From here on `clear` takes it away.
        set.lab = Some(lab.clone());
        Centre::make(&lab)
    }

    /// The lab, if one was made; whoever takes it clears it.
    pub fn take(&self) -> Option<Lab> {
        let mut set = self.lock();
        set.centre = None;
        set.lab.take()
    }

    pub fn clear(&self) -> Result<()> {
        match self.take() {
            Some(lab) => teardown::remove(&lab),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Centre {
    fn make(lab: &Lab) -> Result<Self> {
        let runtime = Runtime::new()?;
        let programs = cargo::build_programs()?;
        let cache = Cache::from_env()?;
        let mut images = Vec::new();
        for image in GuestImage::ALL {
            images.push((image, image.ensure(&cache)?));
        }
        let (plane, machines) = runtime.block_on(async {
            let plane = ControlPlane::ensure(lab, Durability::InMemory).await?;
            chart::ensure(&plane).await?;
            operator::ensure(
                &plane,
                &programs.operator,
                Replica::First,
                Agents::OnMachines,
            )
            .await?;
            let size = Size::MACHINES;
            let machines =
                machines::ensure(&plane, &programs, size, Storage::Iscsi, &images).await?;
            anyhow::Ok((plane, machines))
        })?;
        let kubectl = plane.kubectl()?;
        let reader = runtime.block_on(Reader::open(plane.kubeconfig()))?;
        for file in ["zones.yaml", "classes.yaml"] {
            let path: PathBuf = work_tree().join("infra/sonla/province").join(file);
            kubectl.apply(&[&path], FIELD_MANAGER)?;
        }
        Ok(Self {
            runtime,
            outside: Outside::ensure(lab)?,
            plane,
            programs,
            machines,
            kubectl,
            reader,
        })
    }

    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub fn lab(&self) -> &Lab {
        self.plane.lab()
    }

    pub fn machine(&self, host: &str) -> Result<&Machine> {
        let found = self.machines.iter().find(|machine| machine.name() == host);
        found.with_context(|| format!("there is no machine {host}"))
    }

    /// The one storage machine.
    pub fn storage(&self) -> Result<&Machine> {
        self.machine("storage-1")
    }

    pub fn apply(&self, objects: Vec<serde_json::Value>) -> Result<()> {
        let list = dc_lab::inventory::list(objects);
        self.kubectl.apply_text(&list.to_string(), FIELD_MANAGER)
    }

    /// Changes part of a spec, as `kubectl patch` does.
    pub fn patch(
        &self,
        kind: &str,
        department: &str,
        name: &str,
        spec: &serde_json::Value,
    ) -> Result<()> {
        let patch = serde_json::json!({ "spec": spec }).to_string();
        let args = ["patch", kind, name, "--namespace", department];
        let how = ["--type", "merge", "--patch", &patch];
        self.kubectl.run(&[&args[..], &how[..]].concat()).map(drop)
    }

    pub fn get(&self, kind: &str, department: &str, name: &str) -> Result<serde_json::Value> {
        let found = self.find(kind, department, name)?;
        found.with_context(|| format!("there is no {kind} {department}/{name}"))
    }

    /// The object, or nothing when there is none.
    pub fn find(
        &self,
        kind: &str,
        department: &str,
        name: &str,
    ) -> Result<Option<serde_json::Value>> {
        self.reader.find(kind, department, name)
    }

    /// Asks for the deletion and does not wait for it.
    pub fn delete(&self, kind: &str, department: &str, name: &str) -> Result<()> {
        self.kubectl
            .run(&[
                "delete",
                kind,
                name,
                "--namespace",
                department,
                "--wait=false",
            ])
            .map(drop)
    }

    /// Messages of the events about an object of this name, each with its reason.
    pub fn events(&self, department: &str, name: &str) -> Result<Vec<String>> {
        let events = self.reader.list("event", department)?;
        let about = events
            .iter()
            .filter(|event| event.pointer("/regarding/name") == Some(&name.into()));
        let text = |event: &serde_json::Value, field: &str| {
            event[field].as_str().unwrap_or_default().to_owned()
        };
        Ok(about
            .map(|event| format!("{}: {}", text(event, "reason"), text(event, "note")))
            .collect())
    }

    /// The uuid of a machine or volume, as its status says.
    pub fn instance_id(&self, kind: &str, department: &str, name: &str) -> Result<String> {
        let object = self.get(kind, department, name)?;
        objects::text(&object, "/status/instanceId")
            .ok_or_else(|| anyhow!("{kind} {department}/{name} has no instanceId: {object}"))
    }
}
