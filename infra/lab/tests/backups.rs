//! The server of backups on a storage machine. Needs root and the packages of a lab.

use anyhow::{Context, Result, ensure};
use dc_lab::apt::{self, Packages};
use dc_lab::backups::{self, Server, logins_file};
use dc_lab::inventory::HostRole;
use dc_lab::lab::{Lab, Owner};
use dc_lab::machine::{Machine, MachineSpec};
use dc_lab::process::{self, Identity};
use dc_lab::teardown;
use serde_json::Value;

/// A lab of this test alone, taken away also when the test fails.
struct TestLab(Lab);

impl TestLab {
    fn new(name: &str) -> Result<Self> {
        apt::ensure(Packages::All)?;
        let name = format!("b-{name}-{}", std::process::id()).parse()?;
        let owner = Owner::Test(Identity::own()?);
        Ok(Self(Lab::open_or_create(&name, owner)?))
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if self.0.folder().exists()
            && let Err(error) = teardown::remove(&self.0)
        {
            eprintln!("{error:#}");
        }
    }
}

fn login(lab: &Lab, department: &str) -> Result<String> {
    let logins: Value = serde_json::from_slice(&std::fs::read(logins_file(lab))?)?;
    let password = logins[department]["password"].as_str();
    Ok(password.context("it has no login")?.to_owned())
}

/// What the server says to one request of a department, as an HTTP status.
fn ask(
    machine: &Machine,
    server: &Server,
    (department, password): (&str, &str),
    method: &str,
    path: &str,
) -> Result<String> {
    let asked = Server {
        url: format!("{}/{path}", server.url),
        ..server.clone()
    };
    let mut command = backups::curl(machine, &asked);
    command
        .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
        .args(["--request", method, "--user"])
        .arg(format!("{department}:{password}"));
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "curl: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn each_department_adds_to_its_own_and_removes_nothing() -> Result<()> {
    let lab = TestLab::new("bag")?;
    let spec = MachineSpec::new("storage-1", 21, HostRole::Storage);
    let machine = Machine::ensure(&lab.0, &spec).await?;
    let names = ["so-y-te", "so-gddt"].map(str::to_owned);
    backups::ensure(&machine, &names[..1]).await?;
    let running = process::running(&lab.0, &backups::process_name(&machine))?;

    // What is there is kept; who is new is let in.
    backups::ensure(&machine, &names[..1]).await?;
    let again = process::running(&lab.0, &backups::process_name(&machine))?;
    ensure!(running == again, "it was started anew for nothing");
    let server = backups::ensure(&machine, &names).await?;
    let passwords = [login(&lab.0, &names[0])?, login(&lab.0, &names[1])?];
    let first = (names[0].as_str(), passwords[0].as_str());
    let second = (names[1].as_str(), passwords[1].as_str());
    for department in [first, second] {
        let create = format!("{}/?create=true", department.0);
        let made = ask(&machine, &server, department, "POST", &create)?;
        ensure!(made == "200", "{made}");
    }
    // SHA-256 of nothing, as the server itself compares.
    let file = "so-y-te/index/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let stranger = (first.0, "guessed");
    for (who, method, expected) in [
        (first, "POST", "200"),
        (first, "GET", "200"),
        (first, "DELETE", "403"),
        (second, "GET", "401"),
        (stranger, "GET", "401"),
    ] {
        let said = ask(&machine, &server, who, method, file)?;
        ensure!(said == expected, "{method} of {}: {said}", who.0);
    }

    // It lies on the machine's disk, which outlives its power.
    let spec = machine.power_cut()?;
    let machine = Machine::ensure(&lab.0, &spec).await?;
    let server = backups::ensure(&machine, &names).await?;
    let kept = ask(&machine, &server, first, "GET", file)?;
    ensure!(kept == "200", "{kept}");
    Ok(())
}
