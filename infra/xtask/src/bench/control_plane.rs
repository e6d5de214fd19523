//! From create to Running on simulated hosts, against the real API server and ledger.
//!
//! Programs are built for release. The hosts are the real agent over fakes, so what is measured is
//! the API server, the operator, the protocol and the agents' own work; not libvirt or tgt.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dc_crds::VirtualMachine;
use dc_lab::cargo;
use dc_lab::control_plane::{ControlPlane, api_server};
use dc_lab::inventory::{self, Size};
use dc_lab::kubectl::Kubectl;
use dc_lab::operator::{self, Agents, Replica};
use dc_lab::wait::{self, Look};
use dc_lab::{chart, process, progress, simulated};
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use serde_json::json;

use super::ControlPlaneArgs;
use super::metrics::{self, Requests, Traffic, Usage};
use futures::{StreamExt, TryStreamExt};

/// What the departments' names begin with.
const DEPARTMENT: &str = "bench";
/// Long after any machine should run; past it the bench says how many did.
const DEADLINE: Duration = Duration::from_secs(600);

pub async fn run(args: &ControlPlaneArgs) -> Result<()> {
    let step = progress::step("building the operator and the agent for release");
    let programs = cargo::build_release_programs()?;
    step.done("built");
    let plane = ControlPlane::start_for_test("bench").await?;
    let kubectl = plane.kubectl()?;
    chart::ensure(&plane).await?;
    operator::ensure(&plane, &programs.operator, Replica::First, Agents::Local).await?;
    let size = Size {
        compute: args.hosts,
        storage: 1,
        gateway: 1,
        folders: 0,
    };
    simulated::ensure(&plane, &programs.agent, size).await?;
    let step = progress::step(format!("preparing {} departments", args.departments));
    prepare(&kubectl, size, args.departments).await?;
    step.done("all are ready");

    let look = || look(&plane, &kubectl);
    let before = look()?;
    let step = progress::step(format!("creating {} machines", args.vms));
    let latencies = create(&plane, args).await?;
    let after = look()?;
    step.done("all run");
    // Statuses that count wait for their quiet moment, such as those of hosts and pools.
    let step = progress::step("waiting until nothing is written any more");
    let quiet = quiet(look).await?;
    step.done("it is quiet");
    tokio::time::sleep(Duration::from_secs(args.idle)).await;
    let idle = look()?;
    report(args, &latencies, &[before, after, quiet, idle]);
    plane.stop()
}

/// What is counted at one moment.
struct Moment {
    requests: Requests,
    /// In the order of [`Part::ALL`].
    usage: [Usage; 5],
    /// Of the operator, by whom it speaks with.
    traffic: Traffic,
}

/// A process that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Operator,
    ApiServer,
    ApiStore,
    Ledger,
    Agents,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Operator,
        Self::ApiServer,
        Self::ApiStore,
        Self::Ledger,
        Self::Agents,
    ];

    fn process(self) -> &'static str {
        match self {
            Self::Operator => Replica::First.process_name(),
            Self::ApiServer => api_server::PROCESS,
            Self::ApiStore => "etcd",
            Self::Ledger => "ledger",
            Self::Agents => simulated::PROCESS,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::ApiServer => "API server",
            Self::ApiStore => "its etcd",
            Self::Ledger => "ledger's etcd",
            Self::Agents => "all agents",
        }
    }
}

fn look(plane: &ControlPlane, kubectl: &Kubectl) -> Result<Moment> {
    let pid = |part: Part| {
        let working = process::working(plane.lab(), part.process())?;
        let working = working.with_context(|| format!("{} does not run", part.process()))?;
        anyhow::Ok(working.pid)
    };
    let usage = |part: Part| metrics::usage(pid(part)?.cast_signed());
    let [a, b, c, d, e] = Part::ALL.map(usage);
    Ok(Moment {
        requests: metrics::api_requests(&kubectl.run(&["get", "--raw", "/metrics"])?),
        usage: [a?, b?, c?, d?, e?],
        traffic: metrics::traffic(pid(Part::Operator)?)?,
    })
}

/// The moment after which nothing of ours was written for a while.
async fn quiet(look: impl Fn() -> Result<Moment>) -> Result<Moment> {
    const WHILE: Duration = Duration::from_secs(6);
    let mut before = look()?;
    let end = Instant::now() + DEADLINE;
    loop {
        tokio::time::sleep(WHILE).await;
        let now = look()?;
        let grown = metrics::difference(&before.requests, &now.requests);
        let ours = |(verb, resource): &&(String, String)| is_write(verb) && resource != "leases";
        let Some(written) = grown.keys().find(ours) else {
            return Ok(now);
        };
        if Instant::now() > end {
            bail!("{written:?} is still written after {DEADLINE:?}");
        }
        before = now;
    }
}

/// What is written for one machine, as opposed to what sums machines up.
fn is_of_machines(resource: &str) -> bool {
    ["virtualmachines", "volumes", "events"].contains(&resource.split('/').next().unwrap_or(""))
}

fn is_write(verb: &str) -> bool {
    ["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(&verb)
}

/// Departments with all that a machine needs.
async fn prepare(kubectl: &Kubectl, size: Size, departments: usize) -> Result<()> {
    let object = |kind: &str, namespace: Option<&str>, name: &str, spec: serde_json::Value| {
        let mut metadata = json!({"name": name});
        if let Some(namespace) = namespace {
            metadata["namespace"] = json!(namespace);
        }
        json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": kind, "metadata": metadata,
               "spec": spec})
    };
    let names = json!({"vi": "Đo tốc độ", "en": "Bench"});
    let zone = json!({"type": "internal", "poolV4": {"cidr": "10.0.0.0/8", "prefixLength": 22}});
    let named: Vec<String> = (0..departments).map(department).collect();
    let class = json!({"vcpus": 1, "memory": "128Mi"});
    let mut first = vec![
        object("Zone", None, "internal", zone),
        object("MachineClass", None, "tiny", class),
    ];
    let body = json!({"displayName": names, "kind": "office"});
    first.extend(
        named
            .iter()
            .map(|name| object("Department", None, name, body.clone())),
    );
    kubectl.apply_text(&inventory::list(first).to_string(), "bench")?;
    wait_ready(kubectl, "departments", departments).await?;
    wait_ready(kubectl, "hosts", size.hosts().len()).await?;
    wait_ready(kubectl, "storagepools", 1).await?;
    let system = json!({"displayName": names});
    let owned = named.iter().flat_map(|name| {
        let name = Some(name.as_str());
        [
            object("InformationSystem", name, "bench", system.clone()),
            object("Subnet", name, "internal", json!({"zone": "internal"})),
        ]
    });
    kubectl.apply_text(&inventory::list(owned.collect()).to_string(), "bench")?;
    wait_ready(kubectl, "subnets", departments).await
}

fn department(number: usize) -> String {
    format!("{DEPARTMENT}-{number}")
}

async fn wait_ready(kubectl: &Kubectl, kind: &str, wanted: usize) -> Result<()> {
    wait::until(
        &format!("{wanted} {kind} to be ready"),
        DEADLINE,
        async || {
            let list = match kubectl.list(&format!("{kind}.dc.sonla.gov.vn")) {
                Ok(list) => list,
                Err(error) => return Look::NotYet(format!("{error:#}")),
            };
            let ready =
                |o: &&serde_json::Value| dc_lab::status::condition(o, "Ready") == Some("True");
            match list.iter().filter(ready).count() {
                ready if ready >= wanted => Look::Holds(()),
                ready => Look::NotYet(format!("{ready} are")),
            }
        },
    )
    .await
}

fn machine(number: usize, departments: usize) -> Result<VirtualMachine> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "VirtualMachine",
        "metadata": {"name": format!("vm-{number}"), "namespace": department(number % departments)},
        "spec": {
            "system": "bench", "class": "tiny",
            "disks": [{"name": "root", "template": {"pool": "san-1", "size": "1Gi"}}],
            "interfaces": [{"subnet": "internal"}],
        },
    }))?)
}

/// Creates the machines at the asked rate; gives the seconds from create to Running, sorted.
async fn create(plane: &ControlPlane, args: &ControlPlaneArgs) -> Result<Vec<f64>> {
    let client = client(plane).await?;
    let seen = tokio::spawn(running(Api::all(client.clone()), args.vms));
    let mut created = HashMap::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / args.rate));
    for number in 0..args.vms {
        ticks.tick().await;
        let machine = machine(number, args.departments)?;
        let name = machine.metadata.name.clone().unwrap_or_default();
        let api = Api::namespaced(client.clone(), &department(number % args.departments));
        created.insert(name, Instant::now());
        api.create(&PostParams::default(), &machine).await?;
    }
    let running = seen.await??;
    let mut latencies: Vec<f64> = running
        .iter()
        .filter_map(|(name, at)| Some(at.duration_since(*created.get(name)?).as_secs_f64()))
        .collect();
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

/// When each machine was first seen Running, by a watch.
async fn running(api: Api<VirtualMachine>, wanted: usize) -> Result<HashMap<String, Instant>> {
    let mut seen = HashMap::new();
    let end = tokio::time::Instant::now() + DEADLINE;
    let mut version = "0".to_owned();
    while seen.len() < wanted {
        let mut events = api.watch(&WatchParams::default(), &version).await?.boxed();
        while let Some(event) = tokio::time::timeout_at(end, events.try_next())
            .await
            .with_context(|| {
                format!("{} of {wanted} machines run after {DEADLINE:?}", seen.len())
            })??
        {
            let machine = match event {
                WatchEvent::Added(machine) | WatchEvent::Modified(machine) => machine,
                WatchEvent::Error(error) => bail!("the watch broke: {error:?}"),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => continue,
            };
            version = machine.metadata.resource_version.unwrap_or(version);
            if machine
                .status
                .is_some_and(|status| status.state == "Running")
            {
                seen.entry(machine.metadata.name.unwrap_or_default())
                    .or_insert_with(Instant::now);
            }
            if seen.len() >= wanted {
                break;
            }
        }
    }
    Ok(seen)
}

async fn client(plane: &ControlPlane) -> Result<kube::Client> {
    let file = kube::config::Kubeconfig::read_from(plane.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

fn report(args: &ControlPlaneArgs, latencies: &[f64], moments: &[Moment; 4]) {
    let [before, _, quiet, idle] = moments;
    let vms = args.vms as f64;
    println!(
        "{} hosts, {} departments, {} machines at {}/s",
        args.hosts, args.departments, args.vms, args.rate
    );
    let p = |percent| metrics::percentile(latencies, percent);
    println!(
        "create to Running: P50 {:.3} s, P95 {:.3} s, P99 {:.3} s, longest {:.3} s",
        p(50.0),
        p(95.0),
        p(99.0),
        p(100.0)
    );
    println!("API requests for each machine (ours and the bench's own create):");
    let requests = metrics::difference(&before.requests, &quiet.requests);
    for ((verb, resource), count) in &requests {
        println!("  {verb:<8} {resource:<32} {:.2}", count / vms);
    }
    let writes = |own: bool| -> f64 {
        let counted = requests.iter().filter(|((verb, resource), _)| {
            is_write(verb) && resource != "leases" && is_of_machines(resource) == own
        });
        counted.map(|(_, count)| count).sum()
    };
    println!(
        "writes of ours for each machine: {:.2}; beside them {} statuses that count machines, \
         written once it was quiet",
        writes(true) / vms - 1.0,
        writes(false)
    );
    report_usage(vms, moments);
    report_idle(args, quiet, idle);
}

/// CPU until all machines ran, and memory that stayed afterwards.
fn report_usage(vms: f64, [before, after, quiet, _]: &[Moment; 4]) {
    println!("CPU and memory for each machine:");
    for (at, part) in Part::ALL.into_iter().enumerate() {
        let cpu = after.usage[at].cpu_seconds - before.usage[at].cpu_seconds;
        let memory = quiet.usage[at].resident_bytes - before.usage[at].resident_bytes;
        println!(
            "  {:<14} {:6.1} ms {:7.1} kB",
            part.name(),
            cpu * 1000.0 / vms,
            memory / vms / 1000.0
        );
    }
}

fn report_idle(args: &ControlPlaneArgs, quiet: &Moment, idle: &Moment) {
    let minutes = args.idle as f64 / 60.0;
    println!("idle, requests a minute (of all clients, Kubernetes' own controllers among them):");
    for ((verb, resource), count) in metrics::difference(&quiet.requests, &idle.requests) {
        println!("  {verb:<8} {resource:<32} {:.1}", count / minutes);
    }
    let (sent, received) = metrics::traffic_between(&quiet.traffic, &idle.traffic);
    let kilobytes = |bytes: u64| bytes as f64 / minutes / 1000.0;
    println!(
        "idle operator: {:.1} kB sent and {:.1} kB received a minute, over all its connections",
        kilobytes(sent),
        kilobytes(received),
    );
    for (at, part) in Part::ALL.into_iter().enumerate() {
        let used = idle.usage[at].cpu_seconds - quiet.usage[at].cpu_seconds;
        println!(
            "idle {}: {:.2} % of a core",
            part.name(),
            used / args.idle as f64 * 100.0
        );
    }
}
