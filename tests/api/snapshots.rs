//! Snapshots: taken and deleted by administrators. No host takes them here: they stay pending.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use reqwest::Method;
use serde_json::{Value, json};

use super::Make;
use super::desk::{ADMINISTRATOR, AUDITOR, Desk, OPERATOR, OURS, send};

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![trial(
        "a_snapshot_is_asked_for_shown_and_deleted_by_administrators_alone",
        life,
    )]
}

pub fn new_snapshot(name: &str) -> Value {
    json!({"name": name, "system": "a01", "volume": "data"})
}

fn life(desk: &Desk) -> Result<()> {
    desk.run(async {
        let list = format!("{OURS}/volumesnapshots");
        let path = format!("{list}/before");
        let asked = desk.ask(ADMINISTRATOR, Method::POST, &list).await?;
        let asked = asked.header("idempotency-key", "before-1");
        let made = send(asked.json(&new_snapshot("before"))).await?;
        ensure!(made.expect(201)?["volume"] == "data", "{made:?}");
        let asked = desk.ask(ADMINISTRATOR, Method::POST, &list).await?;
        let asked = asked.header("idempotency-key", "before-1");
        let again = send(asked.json(&new_snapshot("before"))).await?;
        ensure!(again.expect(201)?["uid"] == made.body["uid"], "{again:?}");

        let machine = json!({"name": "of-web", "system": "a01", "virtualMachine": "web-1"});
        let made = desk.post(ADMINISTRATOR, &list, &machine).await?;
        ensure!(made.expect(201)?["virtualMachine"] == "web-1", "{made:?}");
        let both = json!({"name": "both", "system": "a01", "virtualMachine": "web-1",
                          "volume": "data"});
        let neither = json!({"name": "neither", "system": "a01"});
        let status = json!({"name": "status", "system": "a01", "volume": "data",
                            "state": "Taken"});
        for wrong in [both, neither, status] {
            let refused = desk.post(ADMINISTRATOR, &list, &wrong).await?;
            refused.expect_problem(422, "invalid")?;
        }
        for login in [OPERATOR, AUDITOR] {
            desk.get(login, &path).await?.expect(200)?;
            let made = desk.post(login, &list, &new_snapshot("mine")).await?;
            made.expect_problem(403, "forbidden")?;
            let gone = desk.delete(login, &path).await?;
            gone.expect_problem(403, "forbidden")?;
        }
        let seen = desk
            .get(ADMINISTRATOR, &format!("{list}?system=a01"))
            .await?;
        let seen = seen.expect(200)?["items"].as_array().map(Vec::len);
        ensure!(seen == Some(2), "{seen:?}");
        // It is of one moment: there is nothing to change.
        let changed = desk.patch(ADMINISTRATOR, &path, &json!({})).await?;
        changed.expect_problem(405, "method-not-allowed")?;
        for name in ["before", "of-web"] {
            let gone = desk
                .delete(ADMINISTRATOR, &format!("{list}/{name}"))
                .await?;
            gone.expect(202)?;
        }
        Ok(())
    })
}
