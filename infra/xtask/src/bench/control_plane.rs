//! From create to Running on simulated hosts, against the real API server and ledger.
//!
//! Programs are built for release. The hosts are the real agent over fakes, so what is measured is
//! the API server, the operator, the protocol and the agents' own work; not libvirt or tgt.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dc_crds::VirtualMachine;
use dc_lab::cargo;
use dc_lab::control_plane::ControlPlane;
use dc_lab::inventory::Size;
use dc_lab::kubectl::Kubectl;
use dc_lab::operator::{self, Agents, Replica};
use dc_lab::wait::{self, Look};
use dc_lab::{chart, process, progress, simulated};
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use serde_json::json;

use super::ControlPlaneArgs;
use super::metrics::{self, Requests, Usage};
use futures::{StreamExt, TryStreamExt};

const NAMESPACE: &str = "bench";
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
    };
    simulated::ensure(&plane, &programs.agent, size).await?;
    prepare(&kubectl, size).await?;

    let look = || look(&plane, &kubectl);
    let before = look()?;
    let latencies = create(&plane, args).await?;
    let after = look()?;
    // Statuses that wait for their quiet moment, such as those of hosts and pools.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let quiet = look()?;
    tokio::time::sleep(Duration::from_secs(args.idle)).await;
    let idle = look()?;
    report(args, &latencies, &[before, after, quiet, idle]);
    plane.stop()
}

/// What is counted at one moment.
struct Moment {
    requests: Requests,
    operator: Usage,
}

fn look(plane: &ControlPlane, kubectl: &Kubectl) -> Result<Moment> {
    let operator = process::working(plane.lab(), Replica::First.process_name())?
        .context("the operator does not run")?;
    Ok(Moment {
        requests: metrics::api_requests(&kubectl.run(&["get", "--raw", "/metrics"])?),
        operator: metrics::usage(operator.pid.cast_signed())?,
    })
}

/// A department with all that a machine needs.
async fn prepare(kubectl: &Kubectl, size: Size) -> Result<()> {
    let object = |kind: &str, namespaced: bool, name: &str, spec: serde_json::Value| {
        let mut metadata = json!({"name": name});
        if namespaced {
            metadata["namespace"] = json!(NAMESPACE);
        }
        json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": kind, "metadata": metadata,
               "spec": spec})
        .to_string()
    };
    let names = json!({"vi": "Đo tốc độ", "en": "Bench"});
    let zone = json!({"type": "internal", "poolV4": {"cidr": "10.64.0.0/12", "prefixLength": 18}});
    for text in [
        object(
            "Department",
            false,
            NAMESPACE,
            json!({"displayName": names, "kind": "office"}),
        ),
        object("Zone", false, "internal", zone),
        object(
            "MachineClass",
            false,
            "tiny",
            json!({"vcpus": 1, "memory": "128Mi"}),
        ),
    ] {
        kubectl.apply_text(&text, "bench")?;
    }
    wait_ready(kubectl, "departments", 1).await?;
    wait_ready(kubectl, "hosts", size.hosts().len()).await?;
    wait_ready(kubectl, "storagepools", 1).await?;
    for text in [
        object(
            "InformationSystem",
            true,
            "bench",
            json!({"displayName": names}),
        ),
        object("Subnet", true, "internal", json!({"zone": "internal"})),
    ] {
        kubectl.apply_text(&text, "bench")?;
    }
    wait_ready(kubectl, "subnets", 1).await
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

fn machine(number: usize) -> Result<VirtualMachine> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "VirtualMachine",
        "metadata": {"name": format!("vm-{number}"), "namespace": NAMESPACE},
        "spec": {
            "system": "bench", "class": "tiny",
            "disks": [{"name": "root", "template": {"pool": "san-1", "size": "1Gi"}}],
            "interfaces": [{"subnet": "internal"}],
        },
    }))?)
}

/// Creates the machines at the asked rate; gives the seconds from create to Running, sorted.
async fn create(plane: &ControlPlane, args: &ControlPlaneArgs) -> Result<Vec<f64>> {
    let api: Api<VirtualMachine> = Api::namespaced(client(plane).await?, NAMESPACE);
    let seen = tokio::spawn(running(api.clone(), args.vms));
    let mut created = HashMap::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / args.rate));
    for number in 0..args.vms {
        ticks.tick().await;
        let machine = machine(number)?;
        let name = machine.metadata.name.clone().unwrap_or_default();
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
    let [before, after, quiet, idle] = moments;
    let vms = args.vms as f64;
    println!(
        "{} hosts, {} machines at {}/s",
        args.hosts, args.vms, args.rate
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
    let writes: f64 = requests
        .iter()
        .filter(|((verb, _), _)| {
            ["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(&verb.as_str())
        })
        .map(|(_, count)| count)
        .sum();
    println!("writes of ours for each machine: {:.2}", writes / vms - 1.0);
    let cpu = after.operator.cpu_seconds - before.operator.cpu_seconds;
    let memory = quiet.operator.resident_bytes - before.operator.resident_bytes;
    println!(
        "operator: {:.1} ms CPU and {:.1} kB for each machine",
        cpu * 1000.0 / vms,
        memory / vms / 1000.0
    );
    println!("idle for {} s, requests:", args.idle);
    for ((verb, resource), count) in metrics::difference(&quiet.requests, &idle.requests) {
        println!("  {verb:<8} {resource:<32} {count}");
    }
    println!(
        "idle operator: {:.2} % of a core",
        (idle.operator.cpu_seconds - quiet.operator.cpu_seconds) / args.idle as f64 * 100.0
    );
}
