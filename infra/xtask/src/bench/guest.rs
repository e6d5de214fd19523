//! From `kubectl apply` to the guest's first serial line, against raw `virsh create`.
//!
//! In turns, on a lab that is up: our whole way (API server, operator, claim, clone, grant, network,
//! libvirt, boot), then the same domain handed to libvirt by hand, with its disk as a local file
//! and without its card. What the ratio shows is what the platform adds to a boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dc_lab::cache::Cache;
use dc_lab::images::GuestImage;
use dc_lab::inventory::Size;
use dc_lab::kubectl::Kubectl;
use dc_lab::lab::LabName;
use dc_lab::machine::Machine;
use dc_lab::wait::{self, Look};
use dc_lab::{machines, progress};

use super::metrics::percentile;
use crate::lab;

const NAMESPACE: &str = "so-khcn";
const FIRST_LINE: &str = "dc-tiny: starting";
const DEADLINE: Duration = Duration::from_secs(120);

pub async fn run(name: &LabName, rounds: usize) -> Result<()> {
    let (lab, kubectl) = lab::open_with_cluster(name)?;
    let specs = machines::specs(Size::MACHINES);
    let found: Result<Vec<_>> = specs.iter().map(|spec| Machine::find(&lab, spec)).collect();
    let hosts: Vec<Machine> = found?.into_iter().flatten().collect();
    let image = GuestImage::Tiny.ensure(&Cache::from_env()?)?.path;
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let name = format!("bench-guest-{round}");
        let seconds = one(&kubectl, &hosts, &name, &image, &mut raw).await;
        kubectl.run(&["delete", "virtualmachine", &name, "--namespace", NAMESPACE])?;
        ours.push(seconds?);
    }
    ours.sort_by(f64::total_cmp);
    raw.sort_by(f64::total_cmp);
    let median = |sorted: &[f64]| percentile(sorted, 50.0);
    println!("{rounds} rounds in turns, seconds to the first serial line:");
    println!("  apply        median {:.2}, all {ours:.2?}", median(&ours));
    println!("  virsh create median {:.2}, all {raw:.2?}", median(&raw));
    println!("  ratio of medians {:.2}", median(&ours) / median(&raw));
    Ok(())
}

async fn one(
    kubectl: &Kubectl,
    hosts: &[Machine],
    name: &str,
    image: &Path,
    raw: &mut Vec<f64>,
) -> Result<f64> {
    let manifest = format!(
        "{{apiVersion: dc.sonla.gov.vn/v1alpha1, kind: VirtualMachine, \
         metadata: {{name: {name}, namespace: {NAMESPACE}}}, \
         spec: {{system: a05, class: tiny, disks: [{{name: root, template: {{pool: san-1, \
         size: 1Gi, source: {{image: tiny}}, reclaim: Erase}}}}], \
         interfaces: [{{subnet: internal}}]}}}}"
    );
    let start = Instant::now();
    kubectl.apply_text(&manifest, "bench")?;
    let vm = kubectl.json(&["get", "virtualmachine", name, "--namespace", NAMESPACE])?;
    let uuid = vm
        .pointer("/metadata/uid")
        .and_then(|uid| uid.as_str())
        .context("no uid")?;
    let consoles: Vec<PathBuf> = hosts
        .iter()
        .map(|host| console(host, uuid))
        .collect::<Result<_>>()?;
    let at = first_line(&consoles).await?;
    let seconds = start.elapsed().as_secs_f64();
    progress::note(format!("{name}: applied, first line after {seconds:.2} s"));
    raw.push(by_hand(&hosts[at], uuid, image).await?);
    Ok(seconds)
}

/// Where the agent lets QEMU write what the guest says.
fn console(host: &Machine, uuid: &str) -> Result<PathBuf> {
    let folder = host.folder("agent")?.join("state/consoles");
    Ok(folder.join(format!("{uuid}.log")))
}

/// The number of the file in which the first line came.
async fn first_line(files: &[PathBuf]) -> Result<usize> {
    wait::until("the guest's first serial line", DEADLINE, async || {
        let said = |file: &PathBuf| fs::read(file).is_ok_and(|text| contains(&text, FIRST_LINE));
        match files.iter().position(said) {
            Some(at) => Look::Holds(at),
            None => Look::NotYet("the console says nothing".to_owned()),
        }
    })
    .await
}

fn contains(text: &[u8], line: &str) -> bool {
    text.windows(line.len())
        .any(|window| window == line.as_bytes())
}

/// The same domain by `virsh create`, with a copy of the image as its disk; seconds.
async fn by_hand(host: &Machine, uuid: &str, image: &Path) -> Result<f64> {
    let xml = virsh(host, &["dumpxml", "--inactive", uuid])?;
    let folder = tempfile::Builder::new()
        .prefix("bench")
        .tempdir_in(host.folder("agent")?)?;
    let (disk, log) = (
        folder.path().join("disk.raw"),
        folder.path().join("console.log"),
    );
    fs::copy(image, &disk)?;
    let twin = "00000000-0000-4000-8000-00000000be0c";
    let xml = twin_of(&xml, uuid, twin, &disk, &log)?;
    let file = folder.path().join("domain.xml");
    fs::write(&file, xml)?;
    let start = Instant::now();
    virsh(host, &["create", &file.display().to_string()])?;
    let line = first_line(&[log]).await;
    let seconds = start.elapsed().as_secs_f64();
    virsh(host, &["destroy", twin])?;
    line?;
    progress::note(format!("by hand, first line after {seconds:.2} s"));
    Ok(seconds)
}

fn virsh(host: &Machine, args: &[&str]) -> Result<String> {
    progress::run(host.command("virsh").args(args))
}

/// The domain under another id, of nobody, with a file for a disk, no card, and a log of its own.
fn twin_of(xml: &str, uuid: &str, twin: &str, disk: &Path, log: &Path) -> Result<String> {
    // The seed is read-only and stays where it is.
    let mut xml = xml
        .replace(uuid, twin)
        .replace(&format!("/{twin}/"), &format!("/{uuid}/"));
    cut(&mut xml, "<metadata>", "</metadata>")?;
    cut(&mut xml, "<interface ", "</interface>")?;
    cut(&mut xml, "<name>", "</name>")?;
    cut(&mut xml, "<log file=", "/>")?;
    let network = cut(&mut xml, "<disk type='network'", "</disk>")?;
    let file = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/>\
         <source file='{}'/><target dev='vda' bus='virtio'/><boot order='1'/></disk>",
        disk.display()
    );
    xml.insert_str(network, &file);
    let name = xml.find("<uuid>").context("a domain without a uuid")?;
    xml.insert_str(name, "<name>bench-twin</name>");
    let serial = xml
        .find("<target type='isa-serial'")
        .context("a domain without a serial port")?;
    xml.insert_str(
        serial,
        &format!("<log file='{}' append='on'/>", log.display()),
    );
    Ok(xml)
}

/// Takes out the first element that begins so; gives where it stood.
fn cut(xml: &mut String, begin: &str, end: &str) -> Result<usize> {
    let Some(start) = xml.find(begin) else {
        bail!("the domain has no {begin}")
    };
    let length = xml[start..]
        .find(end)
        .with_context(|| format!("no {end} after {begin}"))?;
    xml.replace_range(start..start + length + end.len(), "");
    Ok(start)
}
