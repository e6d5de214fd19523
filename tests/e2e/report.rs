//! What a failed test shows of the data centre: objects, guests, and the ends of logs.

use std::fmt::Write;

use dc_lab::lab::Lab;
use dc_lab::progress;

use crate::centre::Centre;

/// Lines of each log.
const LINES: usize = 25;
/// Of one line: a step may be long.
const WIDTH: usize = 600;

pub fn render(centre: &Centre) -> String {
    let mut text = String::new();
    let kinds = "hosts,storagepools,images,departments,subnets,volumes,virtualmachines";
    for args in [
        vec!["get", kinds, "--all-namespaces", "--output", "wide"],
        vec![
            "get",
            "events",
            "--all-namespaces",
            "--sort-by=.lastTimestamp",
        ],
    ] {
        let said = centre.kubectl.run(&args);
        let said = said.unwrap_or_else(|error| format!("{error:#}"));
        add(
            &mut text,
            &format!("kubectl {}", args.join(" ")),
            &end_of(&said, 60),
        );
    }
    for kind in ["hosts", "subnets", "volumes", "virtualmachines"] {
        let unready = dc_lab::status::read_unready(&centre.kubectl, kind);
        let unready = unready.unwrap_or_else(|error| vec![format!("{error:#}")]);
        add(
            &mut text,
            &format!("{kind} that are not ready"),
            &unready.join("\n"),
        );
    }
    for machine in &centre.machines {
        let mut virsh = machine.command("virsh");
        virsh.args([
            "--quiet",
            "--connect",
            "qemu:///system",
            "list",
            "--all",
            "--uuid",
            "--name",
        ]);
        if let Ok(said) = progress::run(&mut virsh) {
            add(&mut text, &format!("guests on {}", machine.name()), &said);
        }
    }
    text + &render_logs(centre.lab())
}

/// The ends of all logs of the lab's daemons but the API server's, which says little.
pub fn render_logs(lab: &Lab) -> String {
    let mut text = String::new();
    let logs = std::fs::read_dir(lab.logs_dir()).into_iter().flatten();
    let mut paths: Vec<_> = logs.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("kube-") || name.starts_with("etcd") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&bytes);
        add(
            &mut text,
            &format!("the end of {name}'s log"),
            &end_of(&log, LINES),
        );
    }
    text
}

fn add(text: &mut String, title: &str, body: &str) {
    if !body.trim().is_empty() {
        let _ = writeln!(text, "--- {title}\n{}", body.trim_end());
    }
}

fn end_of(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    let cut = |line: &&str| line.chars().take(WIDTH).collect::<String>();
    all[from..].iter().map(cut).collect::<Vec<_>>().join("\n")
}
