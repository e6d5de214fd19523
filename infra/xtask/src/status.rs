//! `cargo xtask status`: how the data centre stands and where its doors are.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use dc_lab::address::Port;
use dc_lab::control_plane::api_server;
use dc_lab::inventory::Size;
use dc_lab::lab::{Lab, LabName};
use dc_lab::operator::{Agents, Replica};
use dc_lab::process;
use dc_lab::status::{self, Counts};
use dc_lab::{agents, api, dex, machines, simulated};
use serde::Serialize;

use crate::lab::kubectl_of;
use crate::state::State;
use crate::{Hosts, Wave};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub lab: LabName,
    /// Whether there is a cluster that answers.
    pub up: bool,
    #[serde(flatten)]
    pub counts: Counts,
    pub hosts_are: Option<Hosts>,
    pub wave: Option<Wave>,
    pub kubeconfig: Option<std::path::PathBuf>,
    pub endpoints: Option<Endpoints>,
    pub daemons: Vec<Daemon>,
    pub logs: Option<std::path::PathBuf>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Absent with a given cluster.
    pub api_server: Option<String>,
    pub ledger: String,
    /// `/metrics`, `/healthz`, `/readyz`.
    pub operator: String,
    /// For departments, over TLS, and where one signs in.
    pub departments: String,
    pub identity: String,
    /// Names and passwords of the lab's users, readable by their owner alone.
    pub logins: std::path::PathBuf,
    /// gRPC over mTLS, for agents.
    pub operator_agents: String,
    /// By host: `/metrics` and `/healthz`; one for all simulated hosts.
    pub agents: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Daemon {
    pub name: String,
    /// Absent when it does not run.
    pub pid: Option<u32>,
}

pub fn run(name: &LabName, json: bool) -> Result<()> {
    let report = read(name)?;
    let text = match json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => render(&report),
    };
    print(&text)
}

/// Writes to standard output; that its reader has seen enough (`| head`) is no error.
pub fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

pub fn read(name: &LabName) -> Result<Report> {
    let mut report = Report {
        lab: name.clone(),
        up: false,
        counts: Counts::default(),
        hosts_are: None,
        wave: None,
        kubeconfig: None,
        endpoints: None,
        daemons: Vec::new(),
        logs: None,
    };
    let Some(lab) = Lab::open(name)? else {
        return Ok(report);
    };
    report.daemons = read_daemons(&lab)?;
    report.logs = Some(lab.logs_dir());
    let Some(state) = State::read(&lab)? else {
        return Ok(report);
    };
    report.hosts_are = Some(state.hosts);
    report.wave = Some(state.wave);
    report.endpoints = Some(endpoints(&lab, &state));
    if let Some(kubectl) = kubectl_of(&state) {
        report.kubeconfig.clone_from(&state.kubeconfig);
        // A control plane that is down is a state to report, not an error of this command.
        if let Ok(counts) = status::read(&kubectl) {
            report.counts = counts;
            report.up = true;
        }
    }
    Ok(report)
}

fn read_daemons(lab: &Lab) -> Result<Vec<Daemon>> {
    let mut daemons = Vec::new();
    for name in process::recorded(lab)? {
        let pid = process::running(lab, &name)?.map(|identity| identity.pid);
        daemons.push(Daemon { name, pid });
    }
    Ok(daemons)
}

fn endpoints(lab: &Lab, state: &State) -> Endpoints {
    let (reach, agents) = match state.hosts {
        Hosts::Real => {
            let specs = machines::specs(Size::MACHINES);
            let urls = specs
                .iter()
                .map(|spec| (spec.name.clone(), agents::http_url(lab, spec)));
            (Agents::OnMachines, urls.collect())
        }
        Hosts::Fake => {
            let url = ("simulated".to_owned(), simulated::http_url(lab));
            (Agents::Local, BTreeMap::from([url]))
        }
    };
    Endpoints {
        api_server: state.given_cluster.is_none().then(|| api_server::url(lab)),
        ledger: format!("http://{}", lab.addresses().loopback(Port::Ledger)),
        operator: Replica::First.http_url(lab),
        departments: api::url(lab),
        identity: dex::issuer(lab),
        logins: dex::logins_file(lab),
        operator_agents: Replica::First.agents_address(lab, reach).to_string(),
        agents,
    }
}

pub fn render(report: &Report) -> String {
    let lab = &report.lab;
    let dead: Vec<_> = report
        .daemons
        .iter()
        .filter(|daemon| daemon.pid.is_none())
        .map(|daemon| daemon.name.as_str())
        .collect();
    let dead = match dead.as_slice() {
        [] => String::new(),
        names => format!("  NOT RUNNING  {} (`up` starts them)\n", names.join(", ")),
    };
    if !report.up {
        let start = format!("Start it: cargo xtask up --name {lab}");
        return format!("The lab {lab} is not up. {start}\n{dead}");
    }
    let counts = render_counts(&report.counts);
    let doors = render_doors(report);
    format!("The data centre {lab}, ready of wanted\n{counts}{dead}\nHow to go on\n{doors}")
}

fn render_counts(counts: &Counts) -> String {
    let Counts {
        vms,
        departments,
        systems,
        hosts,
        pools,
        images,
        volumes,
        subnets,
    } = counts;
    format!(
        "  departments  {departments}\n\
         \x20 systems      {systems}\n\
         \x20 hosts        {hosts}\n\
         \x20 pools        {pools}\n\
         \x20 images       {images}\n\
         \x20 subnets      {subnets}\n\
         \x20 volumes      {volumes}\n\
         \x20 VMs          {vms}\n"
    )
}

fn render_doors(report: &Report) -> String {
    let lab = &report.lab;
    let mut lines = Vec::new();
    if let Some(kubeconfig) = &report.kubeconfig {
        lines.push(format!("export KUBECONFIG={}", kubeconfig.display()));
    }
    lines.push(format!(
        "cargo xtask kubectl --name {lab} get vm,vol,subnet -A   (or any other kubectl)"
    ));
    if report.hosts_are == Some(Hosts::Real) {
        lines.push(format!("cargo xtask console --name {lab} NAMESPACE/VM"));
        lines.push(format!("cargo xtask shell --name {lab} compute-1"));
    }
    if let Some(endpoints) = &report.endpoints {
        let Endpoints {
            operator,
            agents,
            departments,
            identity,
            logins,
            ..
        } = endpoints;
        lines.push(format!(
            "departments' API: {departments}/api/v1   (docs/api.md)"
        ));
        lines.push(format!(
            "sign-on: {identity}   (users: {})",
            logins.display()
        ));
        lines.push(format!("metrics: curl {operator}/metrics   (operator)"));
        let agents = agents.iter();
        lines.extend(agents.map(|(host, url)| format!("         curl {url}/metrics   ({host})")));
    }
    if let Some(logs) = &report.logs {
        lines.push(format!("logs:    {}", logs.display()));
    }
    lines.push(format!("cargo xtask down --name {lab}"));
    lines.iter().map(|line| format!("  {line}\n")).collect()
}
