//! What of a department is backed up, by which policies, and why the rest is not.

use anyhow::{Context, Result, ensure};
use dc_lab::wait::Look;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::Make;
use super::backups::{names, of_platform};
use super::desk::{AUDITOR, Desk, OPERATOR, OURS, STRANGER, THEIRS, list, object};

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![trial(
        "each_volume_says_what_backs_it_up_and_policies_show_nothing_of_others",
        protection,
    )]
}

/// They leave backups behind that others would count.
pub fn trials_that_leave_records(trial: Make<'_>) -> Vec<Trial> {
    vec![trial(
        "a_run_unlike_those_before_it_is_told_until_somebody_has_looked",
        unusual,
    )]
}

/// Its time comes once a year, and not while a test runs: what was due before a policy was made is not
/// made up for.
pub fn policy(name: &str, departments: &[&str]) -> Value {
    let spec = json!({"repository": "main", "selector": {"departments": departments},
        "schedule": {"cron": "0 1 1 1 *"}, "keep": {"daily": 30, "monthly": 12}});
    of_platform("BackupPolicy", name, spec)
}

fn protection(desk: &Desk) -> Result<()> {
    let all = format!("{OURS}/protection");
    let shown = |what: &str, wanted: &[(&str, &str)]| {
        desk.until(what, async || match desk.get(AUDITOR, &all).await {
            Ok(answer) if answer.status == 200 => {
                let items = answer.body["items"].as_array().cloned().unwrap_or_default();
                let told = |volume: &str| {
                    let found = items.iter().find(|item| item["volume"] == volume);
                    let reason =
                        found.map(|item| item["reason"].as_str().unwrap_or("-").to_owned());
                    reason.unwrap_or_default()
                };
                match wanted
                    .iter()
                    .all(|(volume, reason)| told(volume) == *reason)
                {
                    true => Look::Holds(answer.body),
                    false => Look::NotYet(answer.body.to_string()),
                }
            }
            other => Look::NotYet(format!("{other:?}")),
        })
    };
    let machine = json!({"system": "a01", "class": "small", "interfaces": [{"subnet": "web"}],
        "disks": [{"name": "root", "volume": "kept-data"}]});
    let volume = json!({"system": "a01", "pool": "san-1", "size": "1Gi"});
    let objects = vec![
        object("Volume", OURS, "kept-data", volume),
        object("VirtualMachine", OURS, "kept", machine),
    ];
    desk.kubectl()?.apply_text(&list(objects), "test")?;
    shown(
        "what has no policy",
        &[("data", "NoMachine"), ("kept-data", "NoPolicy")],
    )?;
    let policies = [policy("ours", &[OURS]), policy("theirs", &[THEIRS])];
    let mut both = policy("both", &[OURS, THEIRS]);
    both["spec"]["suspend"] = json!(true);
    let kubectl = desk.kubectl()?;
    kubectl.apply_text(&list([policies.to_vec(), vec![both]].concat()), "test")?;
    let seen = shown("what has one", &[("data", "NoMachine"), ("kept-data", "-")])?;
    let items = seen["items"].as_array().context("no items")?;
    let root = items.iter().find(|item| item["volume"] == "kept-data");
    let root = root.context("no root")?;
    ensure!(
        root["policies"] == json!(["ours"]) && root["protected"] == true,
        "{root}"
    );
    desk.run(async {
        let bare = desk
            .get(OPERATOR, &format!("{all}?protected=false"))
            .await?;
        let bare = bare.expect(200)?["items"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        ensure!(
            bare.iter().all(|item| item["protected"] == false),
            "{bare:?}"
        );
        ensure!(bare.iter().any(|item| item["volume"] == "data"), "{bare:?}");
        let message = bare[0]["message"].as_str().unwrap_or_default();
        ensure!(message.contains(" · "), "{message}");
        let odd = desk
            .get(OPERATOR, &format!("{all}?protected=perhaps"))
            .await?;
        odd.expect_problem(400, "unreadable")?;
        let policies = desk.get(AUDITOR, &format!("{OURS}/backuppolicies")).await?;
        let body = policies.expect(200)?;
        ensure!(names(body) == ["both", "ours"], "{body}");
        ensure!(!body.to_string().contains(THEIRS), "{body}");
        let ours = desk
            .get(AUDITOR, &format!("{OURS}/backuppolicies/ours"))
            .await?;
        let ours = ours.expect(200)?;
        ensure!(
            ours["virtualMachines"]
                .as_array()
                .is_some_and(|all| all.contains(&json!("web-1"))),
            "{ours}"
        );
        ensure!(
            ours["keep"]["daily"] == 30 && ours["prove"]["everyDays"] == 7,
            "{ours}"
        );
        ensure!(
            ours["watch"]["leastChange"] == "1Gi" && ours["next"].is_string(),
            "{ours}"
        );
        for name in ["theirs", "no-such-policy"] {
            let path = format!("{OURS}/backuppolicies/{name}");
            desk.get(AUDITOR, &path)
                .await?
                .expect_problem(404, "not-found")?;
        }
        let seen = desk
            .get(STRANGER, &format!("{THEIRS}/backuppolicies"))
            .await?;
        ensure!(names(seen.expect(200)?) == ["both", "theirs"], "{seen:?}");
        Ok(())
    })
}

const GIB: i64 = 1 << 30;

/// A backup of a policy with the figures of its run, as the operator records it.
fn ran(desk: &Desk, day: u32, read: i64, added: i64) -> Result<()> {
    let at = format!("2026-11-{day:02}T18:00:00Z");
    let name = format!("web-1-ours-{day}");
    let spec = json!({"vm": "web-1", "repository": "main", "policy": "ours", "scheduledAt": at});
    let kubectl = desk.kubectl()?;
    let backup = object("Backup", OURS, &name, spec);
    kubectl.apply_text(&backup.to_string(), "test")?;
    let status = json!({
        "state": "Done", "snapshotId": "d".repeat(64), "takenAt": at,
        "figures": {"sizeBytes": 20 * GIB, "readBytes": read, "addedBytes": added},
        "volumes": [{"volume": "web-1-root", "file": "web-1-root.raw", "size": "20Gi",
                     "incremental": true}],
    });
    let patch = json!({ "status": status }).to_string();
    kubectl.run(&[
        "patch",
        "backup",
        &name,
        "--namespace",
        OURS,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &patch,
    ])?;
    Ok(())
}

/// By the operator on the backup, and by the API of the policy.
fn told(desk: &Desk, reason: &str, unusual: &Value) -> Result<()> {
    let kubectl = desk.kubectl()?;
    let reason_at = "{.status.conditions[?(@.type==\"Usual\")].reason}";
    let output = format!("jsonpath={reason_at}");
    let args = [
        "get",
        "backup",
        "web-1-ours-14",
        "--namespace",
        OURS,
        "--output",
        &output,
    ];
    let path = format!("{OURS}/backuppolicies/ours");
    desk.until(&format!("{reason} to be told"), async || {
        let said = kubectl.run(&args);
        let policy = desk.get(AUDITOR, &path).await;
        match (said, policy) {
            (Ok(said), Ok(policy)) if said == reason && policy.body["unusual"] == *unusual => {
                Look::Holds(())
            }
            other => Look::NotYet(format!("{other:?}")),
        }
    })
}

fn unusual(desk: &Desk) -> Result<()> {
    let kubectl = desk.kubectl()?;
    kubectl.apply_text(&policy("ours", &[OURS]).to_string(), "test")?;
    for day in 10..14 {
        ran(desk, day, GIB / 2, GIB / 10)?;
    }
    ran(desk, 14, 8 * GIB, 8 * GIB)?;
    // A quiet run after it takes nothing back.
    ran(desk, 15, GIB / 2, GIB / 10)?;
    told(desk, "LooksEncrypted", &json!(["web-1-ours-14"]))?;
    let count = "jsonpath={.status.unusual} {.status.unusualBackups}";
    let args = ["get", "backuppolicy", "ours", "--output", count];
    desk.until("the policy to count it", async || {
        match kubectl.run(&args) {
            Ok(said) if said == format!("1 [\"{OURS}/web-1-ours-14\"]") => Look::Holds(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })?;
    let looked = "dc.sonla.gov.vn/looked-at=an upgrade";
    kubectl.run(&[
        "annotate",
        "backup",
        "web-1-ours-14",
        "--namespace",
        OURS,
        looked,
    ])?;
    told(desk, "LookedAt", &json!([]))
}
