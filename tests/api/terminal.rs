//! `dcctl` at a terminal: signing in with a code, asking, approving, explaining.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use dc_lab::wait::Look;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::Make;
use super::browser::{Browser, Screen};
use super::desk::{ADMINISTRATOR, AUDITOR, CENTRE, Desk, LEADER, OURS, STRANGER};
use super::requests::new_request;

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial("a_request_is_written_and_granted_at_a_terminal", asks),
        trial("backups_and_volumes_are_kept_at_a_terminal", keeps),
        trial("somebody_signs_in_at_a_terminal_with_a_code", signs_in),
    ]
}

fn command(desk: &Desk) -> Command {
    let mut command = Command::new(&desk.programs.dcctl);
    command.env_clear();
    command.env("DCCTL_API", desk.url());
    command.env("DCCTL_CA", &desk.dex.ca);
    command.env("DCCTL_DEPARTMENT", OURS);
    command
}

fn run(desk: &Desk, login: &str, args: &[&str]) -> Result<Output> {
    let token = desk.run(desk.token(login))?;
    let mut command = command(desk);
    Ok(command.env("DCCTL_TOKEN", token).args(args).output()?)
}

fn said(output: &Output) -> Result<String> {
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout.clone())?)
}

fn refused(output: &Output, with: &str) -> Result<()> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && error.contains(with),
        "{output:?}"
    );
    Ok(())
}

fn in_state(desk: &Desk, state: &str) -> Result<Value> {
    let args = ["get", "request", "terminal", "-o", "json"];
    desk.until(&format!("the request to be {state}"), async || {
        let token = match desk.token(ADMINISTRATOR).await {
            Ok(token) => token,
            Err(error) => return Look::NotYet(format!("{error:#}")),
        };
        let got = command(desk).env("DCCTL_TOKEN", token).args(args).output();
        let got = got.map_err(anyhow::Error::from).and_then(|got| said(&got));
        let got = got.and_then(|text| Ok(serde_json::from_str::<Value>(&text)?));
        match got {
            Ok(got) if got["state"] == state && got["hash"] != "" => Look::Holds(got),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
}

fn asks(desk: &Desk) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("request.json");
    let mut new = new_request("terminal");
    new["wanted"] = json!("Draft");
    std::fs::write(&file, new.to_string())?;
    let file = file.to_str().context("a path that is text")?;
    said(&run(desk, ADMINISTRATOR, &["request", "-f", file])?)?;
    in_state(desk, "Draft")?;
    said(&run(desk, ADMINISTRATOR, &["submit", "terminal"])?)?;
    in_state(desk, "Submitted")?;
    refused(
        &run(desk, ADMINISTRATOR, &["approve", "terminal"])?,
        "forbidden",
    )?;
    refused(&run(desk, STRANGER, &["get", "requests"])?, "not-found")?;
    let table = said(&run(
        desk,
        LEADER,
        &["get", "requests", "--state", "Submitted"],
    )?)?;
    ensure!(
        table.contains("WAITS FOR") && table.contains("terminal"),
        "{table}"
    );
    let yaml = said(&run(
        desk,
        LEADER,
        &["get", "rreq", "terminal", "-o", "yaml"],
    )?)?;
    ensure!(yaml.contains("waitsFor: leader"), "{yaml}");
    let why = said(&run(desk, LEADER, &["explain", "request", "terminal"])?)?;
    ensure!(why.contains("WaitsForLeader"), "{why}");
    said(&run(
        desk,
        LEADER,
        &["approve", "terminal", "--reason", "as agreed"],
    )?)?;
    in_state(desk, "Approved")?;
    said(&run(
        desk,
        CENTRE,
        &["approve", "terminal", "--as", "centre"],
    )?)?;
    let granted = in_state(desk, "Granted")?;
    ensure!(granted["history"][1]["why"] == "as agreed", "{granted}");
    let shell = said(&command(desk).args(["completions", "bash"]).output()?)?;
    ensure!(shell.contains("dcctl"), "{shell}");
    Ok(())
}

fn keeps(desk: &Desk) -> Result<()> {
    let ours = |args: &[&str]| run(desk, ADMINISTRATOR, args);
    let json = |args: &[&str]| -> Result<Value> {
        let args = [args, &["-o", "json"]].concat();
        Ok(serde_json::from_str(&said(&ours(&args)?)?)?)
    };
    let place = ["--system", "a01", "--pool", "san-1"];
    let made = json(
        &[
            &["volume", "create", "at-terminal", "--size", "1Gi"],
            &place[..],
        ]
        .concat(),
    )?;
    ensure!(made["name"] == "at-terminal", "{made}");
    let grown = json(&["volume", "grow", "at-terminal", "--size", "2Gi"])?;
    ensure!(grown["size"] == "2Gi", "{grown}");
    let bare = said(&ours(&["volume", "protection", "--unprotected"])?)?;
    ensure!(
        bare.contains("at-terminal") && bare.contains("NoMachine"),
        "{bare}"
    );
    let report = ["volume", "protection", "--unprotected", "--everywhere"];
    let report = said(&run(desk, AUDITOR, &report)?)?;
    ensure!(
        report.contains("so-y-te") && report.contains(OURS),
        "{report}"
    );
    let of = ["--system", "a01", "--volume", "at-terminal"];
    json(&[&["snapshot", "create", "snap-at-terminal"], &of[..]].concat())?;
    let taken = said(&ours(&["snapshot", "list"])?)?;
    ensure!(taken.contains("snap-at-terminal"), "{taken}");
    refused(&ours(&["snapshot", "create", "both"])?, "--volume")?;
    let of = ["--machine", "web-1", "--repository", "main"];
    let backup = json(&[&["backup", "create", "bak-at-terminal"], &of[..]].concat())?;
    ensure!(backup["virtualMachine"] == "web-1", "{backup}");
    let table = said(&ours(&["backup", "list", "--machine", "web-1"])?)?;
    ensure!(
        table.contains("PROVEN") && table.contains("bak-at-terminal"),
        "{table}"
    );
    let yaml = said(&ours(&["backup", "get", "bak-at-terminal", "-o", "yaml"])?)?;
    ensure!(yaml.contains("repository: main"), "{yaml}");
    refused(&ours(&["backup", "prove", "bak-at-terminal"])?, "forbidden")?;
    said(&ours(&["backup", "policies"])?)?;
    said(&ours(&["backup", "proofs"])?)?;
    let of = [
        "--backup",
        "bak-at-terminal",
        "--volume",
        "web-1-root",
        "--verify",
    ];
    let args = [&["restore", "create", "rest-at-terminal"], &of[..], &place].concat();
    let order = json(&args)?;
    ensure!(order["to"]["newVolume"]["verify"] == true, "{order}");
    let list = said(&ours(&["restore", "list"])?)?;
    ensure!(list.contains("rest-at-terminal"), "{list}");
    said(&ours(&["restore", "cancel", "rest-at-terminal"])?)?;
    said(&ours(&["snapshot", "delete", "snap-at-terminal"])?)?;
    said(&ours(&["volume", "delete", "at-terminal"])?)?;
    refused(&run(desk, STRANGER, &["backup", "list"])?, "not-found")?;
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&command(desk).args(["completions", shell]).output()?)?;
        ensure!(
            script.contains("protection") && script.contains("restore"),
            "{shell}"
        );
    }
    Ok(())
}

fn signs_in(desk: &Desk) -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut child = command(desk)
        .env("HOME", home.path())
        .args(["login", "--issuer", &desk.dex.issuer])
        .stderr(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stderr.take().context("its words")?).lines();
    let address = lines
        .map_while(Result::ok)
        .find(|line| line.contains("user_code="));
    let entered = address.context("no address").and_then(|address| {
        desk.run(async {
            let browser = Browser::open(desk, Screen::Desktop).await?;
            browser.enter_code(desk, &address, ADMINISTRATOR).await?;
            browser.close().await
        })
    });
    if entered.is_err() {
        child.kill()?;
    }
    let ended = child.wait()?;
    entered?;
    ensure!(ended.success(), "{ended:?}");
    let mut get = command(desk);
    let got = get
        .env("HOME", home.path())
        .args(["get", "vm", "web-1"])
        .output()?;
    ensure!(said(&got)?.contains("web-1"), "{got:?}");
    let file = home.path().join(".config/dcctl/token.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let mut leave = command(desk);
    said(&leave.env("HOME", home.path()).arg("logout").output()?)?;
    ensure!(!file.exists());
    Ok(())
}
