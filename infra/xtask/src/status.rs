//! `cargo xtask status`: how the data centre stands and where its doors are.

use anyhow::Result;
use dc_lab::address::Port;
use dc_lab::control_plane::api_server;
use dc_lab::lab::{Lab, LabName};
use dc_lab::operator::{Agents, Replica};
use dc_lab::process;
use dc_lab::status::{self, Counts};
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
    /// gRPC over mTLS, for agents.
    pub operator_agents: String,
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
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", render(&report));
    }
    Ok(())
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
    let agents = match state.hosts {
        Hosts::Real => Agents::OnMachines,
        Hosts::Fake => Agents::Local,
    };
    Endpoints {
        api_server: state.given_cluster.is_none().then(|| api_server::url(lab)),
        ledger: format!("http://{}", lab.addresses().loopback(Port::Ledger)),
        operator: Replica::First.http_url(lab),
        operator_agents: Replica::First.agents_address(lab, agents).to_string(),
    }
}

pub fn render(report: &Report) -> String {
    let Report {
        lab,
        up,
        counts,
        hosts_are: _,
        wave: _,
        kubeconfig,
        endpoints,
        daemons,
        logs,
    } = report;
    if !up {
        let dead: Vec<_> = daemons
            .iter()
            .filter(|daemon| daemon.pid.is_none())
            .collect();
        let dead = match dead.is_empty() {
            true => String::new(),
            false => format!(" (not running: {})", names(&dead)),
        };
        return format!("The lab {lab} is not up{dead}. Start it: cargo xtask up --name {lab}\n");
    }
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
    let mut text = format!(
        "The data centre {lab}, ready of wanted\n\
         \x20 departments  {departments}\n\
         \x20 systems      {systems}\n\
         \x20 hosts        {hosts}\n\
         \x20 pools        {pools}\n\
         \x20 images       {images}\n\
         \x20 subnets      {subnets}\n\
         \x20 volumes      {volumes}\n\
         \x20 VMs          {vms}\n"
    );
    let dead: Vec<_> = daemons
        .iter()
        .filter(|daemon| daemon.pid.is_none())
        .collect();
    if !dead.is_empty() {
        text.push_str(&format!(
            "  NOT RUNNING  {} (`up` starts them)\n",
            names(&dead)
        ));
    }
    text.push_str("\nHow to go on\n");
    if let Some(kubeconfig) = kubeconfig {
        text.push_str(&format!("  export KUBECONFIG={}\n", kubeconfig.display()));
    }
    text.push_str(&format!(
        "  cargo xtask kubectl --name {lab} get vm,vol,subnet -A   (or any other kubectl)\n"
    ));
    if let Some(endpoints) = endpoints {
        text.push_str(&format!("  metrics: curl {}/metrics\n", endpoints.operator));
    }
    if let Some(logs) = logs {
        text.push_str(&format!("  logs:    {}\n", logs.display()));
    }
    text.push_str(&format!("  cargo xtask down --name {lab}\n"));
    text
}

fn names(daemons: &[&Daemon]) -> String {
    daemons
        .iter()
        .map(|daemon| daemon.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}
