//! Backups, restores and proofs as departments see them. No host makes them here: they stay pending,
//! and what is done is written by hand into their status, which is their record.

use anyhow::{Context, Result, ensure};
use dc_lab::wait::Look;
use libtest_mimic::Trial;
use reqwest::Method;
use serde_json::{Value, json};

use super::Make;
use super::browser::{Browser, Screen};
use super::desk::{
    ADMINISTRATOR, AUDITOR, Desk, LEADER, OPERATOR, OURS, THEIRS, list, new_volume, object, send,
};
use super::protection;

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial(
            "a_machine_is_backed_up_now_by_those_who_may_and_the_record_is_shown",
            life,
        ),
        trial(
            "a_restore_is_ordered_followed_and_stopped_by_administrators_alone",
            restores,
        ),
        trial(
            "a_volume_is_restored_over_and_a_machine_built_anew_by_administrators_alone",
            anew,
        ),
        trial(
            "a_proof_is_read_by_the_department_and_asked_for_by_whom_rbac_lets",
            proofs,
        ),
        trial("a_backup_is_restored_from_in_a_browser", clicks),
    ]
}

pub fn new_backup(name: &str) -> Value {
    json!({"name": name, "virtualMachine": "web-1", "repository": "main"})
}

pub fn new_restore(name: &str, backup: &str) -> Value {
    json!({"name": name, "backup": backup, "to": {"newVolume": {
        "of": "web-1-root", "name": name, "system": "a01", "pool": "san-1"}}})
}

pub fn new_proof(name: &str, backup: &str) -> Value {
    json!({"name": name, "backup": backup})
}

pub fn of_platform(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": kind,
           "metadata": {"name": name}, "spec": spec})
}

/// Where backups go. Nothing of it is there.
fn repository() -> Value {
    let spec = json!({"recoveryKey": "lab", "folder": {"path": "/srv/backups"}});
    of_platform("BackupRepository", "main", spec)
}

/// As the operator records a backup that is done.
fn record(desk: &Desk, name: &str, proven: bool) -> Result<()> {
    let mut status = json!({
        "state": "Done", "snapshotId": "c".repeat(64), "consistency": "FileSystem",
        "takenAt": "2026-11-26T18:00:03Z", "beganAt": "2026-11-26T18:00:05Z",
        "endedAt": "2026-11-26T18:09:00Z", "host": "san-1",
        "size": "20 GiB", "read": "812 MiB", "added": "203 MiB",
        "volumes": [{"volume": "web-1-root", "file": "web-1-root.raw", "size": "20Gi",
                     "incremental": true}],
    });
    if proven {
        status["provenAt"] = json!("2026-11-26T20:00:00Z");
        status["provenBy"] = json!("the-proof");
    }
    let patch = json!({ "status": status }).to_string();
    let args = [
        "patch",
        "backup",
        name,
        "--namespace",
        OURS,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &patch,
    ];
    desk.kubectl()?.run(&args)?;
    // The operator judges what it finds recorded.
    let path = format!("{OURS}/backups/{name}");
    desk.until("the record to be judged", async || {
        match desk.get(ADMINISTRATOR, &path).await {
            Ok(answer) if answer.body["ready"]["reason"] == "BackedUp" => Look::Holds(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
}

pub fn names(answer: &Value) -> Vec<&str> {
    let items = answer["items"].as_array().into_iter().flatten();
    items.filter_map(|item| item["name"].as_str()).collect()
}

fn life(desk: &Desk) -> Result<()> {
    desk.kubectl()?
        .apply_text(&repository().to_string(), "test")?;
    let all = format!("{OURS}/backups");
    desk.run(async {
        for login in [ADMINISTRATOR, OPERATOR] {
            let name = match login {
                ADMINISTRATOR => "before-upgrade",
                _ => "by-operator",
            };
            let mut uids = Vec::new();
            for _ in 0..2 {
                let asked = desk.ask(login, Method::POST, &all).await?;
                let asked = asked.header("idempotency-key", format!("backup-{name}"));
                let made = send(asked.json(&new_backup(name))).await?;
                ensure!(made.expect(201)?["virtualMachine"] == "web-1", "{made:?}");
                ensure!(!made.header("etag").is_empty(), "{made:?}");
                uids.push(made.body["uid"].clone());
            }
            ensure!(uids[0] == uids[1], "{uids:?}");
        }
        let again = desk
            .post(ADMINISTRATOR, &all, &new_backup("before-upgrade"))
            .await?;
        again.expect_problem(409, "exists")?;
        // That a policy made it only the operator says.
        let mut forged = new_backup("forged");
        forged["policy"] = json!("nightly");
        let mut nowhere = new_backup("nowhere");
        nowhere["repository"] = Value::Null;
        for wrong in [forged, nowhere] {
            let refused = desk.post(ADMINISTRATOR, &all, &wrong).await?;
            refused.expect_problem(422, "invalid")?;
        }
        for login in [AUDITOR, LEADER] {
            let refused = desk.post(login, &all, &new_backup("mine")).await?;
            refused.expect_problem(403, "forbidden")?;
        }
        // What is done is the platform's to remove, and nothing of it changes.
        let one = format!("{all}/before-upgrade");
        let deleted = desk.delete(ADMINISTRATOR, &one).await?;
        deleted.expect_problem(405, "method-not-allowed")?;
        let changed = desk.patch(ADMINISTRATOR, &one, &json!({})).await?;
        changed.expect_problem(405, "method-not-allowed")?;
        anyhow::Ok(())
    })?;
    record(desk, "before-upgrade", true)?;
    desk.run(async {
        let one = format!("{all}/before-upgrade");
        let seen = desk.get(AUDITOR, &one).await?;
        let body = seen.expect(200)?;
        for (at, wanted) in [
            ("/state", "Done"),
            ("/takenAt", "2026-11-26T18:00:03Z"),
            ("/consistency", "FileSystem"),
            ("/size", "20 GiB"),
            ("/volumes/0/volume", "web-1-root"),
            ("/proven/status", "True"),
            ("/proven/reason", "Proven"),
            ("/proven/at", "2026-11-26T20:00:00Z"),
            ("/proven/by", "the-proof"),
            ("/kept/reason", "NotScheduled"),
        ] {
            ensure!(body.pointer(at) == Some(&json!(wanted)), "{at}: {body}");
        }
        let tag = seen.header("etag").to_owned();
        let asked = desk.ask(AUDITOR, Method::GET, &one).await?;
        let same = send(asked.header("if-none-match", tag)).await?;
        ensure!(same.status == 304, "{same:?}");
        let done = desk.get(AUDITOR, &format!("{all}?state=Done&virtualMachine=web-1"));
        ensure!(names(done.await?.expect(200)?) == ["before-upgrade"]);
        let page = desk.get(AUDITOR, &format!("{all}?limit=1")).await?;
        ensure!(names(page.expect(200)?) == ["before-upgrade"], "{page:?}");
        let token = page.body["continue"].as_str().context("no next page")?;
        let next = desk.get(AUDITOR, &format!("{all}?limit=1&continue={token}"));
        ensure!(names(next.await?.expect(200)?) == ["by-operator"]);
        let other = desk.get(AUDITOR, &format!("{all}?virtualMachine=db-1"));
        ensure!(names(other.await?.expect(200)?).is_empty());
        let odd = desk
            .get(AUDITOR, &format!("{all}?virtualMachine=Web"))
            .await?;
        odd.expect_problem(400, "unreadable")?;
        let offered = format!("{}/api/v1/catalogue", desk.url());
        let asked = desk.client.get(offered);
        let offered = send(asked.bearer_auth(desk.token(OPERATOR).await?)).await?;
        let repositories = offered.expect(200)?["repositories"].clone();
        ensure!(repositories == json!([{"name": "main"}]), "{offered:?}");
        Ok(())
    })
}

fn restores(desk: &Desk) -> Result<()> {
    desk.run(async {
        let all = format!("{OURS}/restores");
        let one = format!("{all}/back");
        let asked = desk.ask(ADMINISTRATOR, Method::POST, &all).await?;
        let asked = asked.header("idempotency-key", "back-1");
        let made = send(asked.json(&new_restore("back", "before-upgrade"))).await?;
        let body = made.expect(201)?;
        ensure!(body["backup"] == "before-upgrade", "{made:?}");
        let to = &body["to"]["newVolume"];
        ensure!(
            to["of"] == "web-1-root" && to["reclaim"] == "Retain",
            "{made:?}"
        );
        let mut both = new_restore("both", "before-upgrade");
        both["snapshot"] = json!({"repository": "main", "id": "c".repeat(64)});
        let mut neither = new_restore("neither", "x");
        neither["backup"] = Value::Null;
        // How large the volume was is not recorded anywhere.
        let mut sizeless = new_restore("sizeless", "x");
        sizeless["backup"] = Value::Null;
        sizeless["snapshot"] = json!({"repository": "main", "id": "c".repeat(64)});
        let nowhere = json!({"name": "nowhere", "backup": "before-upgrade", "to": {}});
        let mut others = new_restore("others", "before-upgrade");
        others["department"] = json!(THEIRS);
        for wrong in [both, neither, sizeless.clone(), nowhere, others] {
            let refused = desk.post(ADMINISTRATOR, &all, &wrong).await?;
            refused.expect_problem(422, "invalid")?;
        }
        sizeless["name"] = json!("by-snapshot");
        sizeless["to"]["newVolume"]["size"] = json!("20Gi");
        let made = desk.post(ADMINISTRATOR, &all, &sizeless).await?;
        ensure!(
            made.expect(201)?["snapshot"]["repository"] == "main",
            "{made:?}"
        );
        for login in [OPERATOR, LEADER, AUDITOR] {
            desk.get(login, &one).await?.expect(200)?;
            let made = desk.post(login, &all, &new_restore("mine", "before-upgrade"));
            made.await?.expect_problem(403, "forbidden")?;
            let stopped = desk.delete(login, &one).await?;
            stopped.expect_problem(403, "forbidden")?;
        }
        let of_system = desk.get(AUDITOR, &format!("{all}?system=a01")).await?;
        ensure!(
            names(of_system.expect(200)?) == ["back", "by-snapshot"],
            "{of_system:?}"
        );
        // Who has seen another state, here that of another one, stops nothing.
        let other = desk
            .get(ADMINISTRATOR, &format!("{all}/by-snapshot"))
            .await?;
        let asked = desk.ask(ADMINISTRATOR, Method::DELETE, &one).await?;
        let stale = send(asked.header("if-match", other.header("etag"))).await?;
        stale.expect(412)?;
        for name in ["back", "by-snapshot"] {
            let stopped = desk.delete(ADMINISTRATOR, &format!("{all}/{name}")).await?;
            stopped.expect(202)?;
        }
        Ok(())
    })?;
    let path = format!("{OURS}/restores/back");
    desk.until("the restore to be gone", async || {
        match desk.get(ADMINISTRATOR, &path).await {
            Ok(answer) if answer.status == 404 => Look::Holds(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
}

/// What the operator is given to do, as it reads it.
fn spec(desk: &Desk, kind: &str, name: &str) -> Result<Value> {
    let args = ["get", kind, name, "--namespace", OURS];
    Ok(desk.kubectl()?.json(&args)?["spec"].clone())
}

fn anew(desk: &Desk) -> Result<()> {
    let (volumes, restores) = (format!("{OURS}/volumes"), format!("{OURS}/restores"));
    let machines = format!("{OURS}/machinerestores");
    let over = |name: &str, volume: &str| {
        json!({"name": name, "backup": "before-upgrade", "to": {"inPlace": {
            "of": "web-1-root", "volume": volume, "stopMachine": true, "verify": true}}})
    };
    let copy = json!({"name": "web-9", "backup": "before-upgrade", "virtualMachine": "web-9",
        "pool": "san-1", "subnets": [{"was": "internal", "subnet": "internal-2"}]});
    desk.run(async {
        let mut kept = new_volume("kept");
        kept["size"] = json!("21Gi");
        desk.post(ADMINISTRATOR, &volumes, &kept)
            .await?
            .expect(201)?;
        let made = desk
            .post(ADMINISTRATOR, &restores, &over("over-kept", "kept"))
            .await?;
        let to = &made.expect(201)?["to"];
        ensure!(
            to["newVolume"].is_null() && to["inPlace"]["volume"] == "kept",
            "{made:?}"
        );
        let mut both = over("both", "kept");
        both["to"]["newVolume"] = new_restore("both", "x")["to"]["newVolume"].clone();
        // Where the volume lies is the volume's to say.
        let mut told = over("told", "kept");
        told["to"]["inPlace"]["pool"] = json!("san-2");
        for wrong in [both, told, over("none", "not-there")] {
            let refused = desk.post(ADMINISTRATOR, &restores, &wrong).await?;
            refused.expect_problem(422, "invalid")?;
        }

        let made = desk.post(ADMINISTRATOR, &machines, &copy).await?;
        let body = made.expect(201)?;
        ensure!(
            body["identity"] == "Copy" && body["start"] == false,
            "{made:?}"
        );
        ensure!(body["virtualMachine"] == "web-9", "{made:?}");
        let mut nameless = copy.clone();
        nameless["name"] = json!("nameless");
        nameless["virtualMachine"] = Value::Null;
        let mut renamed = copy.clone();
        (renamed["name"], renamed["identity"]) = (json!("renamed"), json!("Same"));
        for wrong in [nameless, renamed] {
            let refused = desk.post(ADMINISTRATOR, &machines, &wrong).await?;
            refused.expect_problem(422, "invalid")?;
        }
        let one = format!("{machines}/web-9");
        for login in [OPERATOR, LEADER, AUDITOR] {
            desk.get(login, &one).await?.expect(200)?;
            let mut mine = copy.clone();
            mine["name"] = json!("mine");
            let made = desk.post(login, &machines, &mine).await?;
            made.expect_problem(403, "forbidden")?;
            let made = desk.post(login, &restores, &over("mine", "kept")).await?;
            made.expect_problem(403, "forbidden")?;
            desk.delete(login, &one)
                .await?
                .expect_problem(403, "forbidden")?;
        }
        let theirs = format!("{THEIRS}/machinerestores");
        let made = desk.post(ADMINISTRATOR, &theirs, &copy).await?;
        made.expect(404)?;
        anyhow::Ok(())
    })?;
    let order = spec(desk, "restore", "over-kept")?;
    ensure!(
        order["inPlace"]["stopMachine"] == true && order["verify"] == true,
        "{order}"
    );
    let to = &order["to"];
    ensure!(
        to["system"] == "a01" && to["pool"] == "san-1" && to["size"] == "21Gi",
        "what the volume says of itself: {order}"
    );
    let order = spec(desk, "machinerestore", "web-9")?;
    ensure!(
        order["powerState"] == "Stopped" && order["name"] == "web-9",
        "{order}"
    );
    ensure!(order["subnets"][0]["subnet"] == "internal-2", "{order}");
    desk.run(async {
        for one in [format!("{restores}/over-kept"), format!("{machines}/web-9")] {
            desk.delete(ADMINISTRATOR, &one).await?.expect(202)?;
        }
        desk.delete(ADMINISTRATOR, &format!("{volumes}/kept"))
            .await?
            .expect(202)?;
        Ok(())
    })
}

/// Somebody may ask for trials in the department, by RBAC and nothing else.
fn prover(desk: &Desk) -> Result<()> {
    let user = desk.dex.login(LEADER)?.email.clone();
    let rbac = "rbac.authorization.k8s.io";
    let meta = json!({"name": "prover", "namespace": OURS});
    let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": meta,
        "rules": [{"apiGroups": ["dc.sonla.gov.vn"], "resources": ["restoreproofs"],
                   "verbs": ["create"]}]});
    let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
        "metadata": meta, "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "prover"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}]});
    desk.kubectl()?
        .apply_text(&list(vec![role, binding]), "test")
}

fn proofs(desk: &Desk) -> Result<()> {
    let all = format!("{OURS}/restoreproofs");
    let new = new_proof("asked-for", "by-operator");
    desk.run(async {
        for login in [ADMINISTRATOR, OPERATOR, LEADER] {
            let refused = desk.post(login, &all, &new).await?;
            refused.expect_problem(403, "forbidden")?;
        }
        anyhow::Ok(())
    })?;
    prover(desk)?;
    // Rights are remembered for two seconds or so.
    let made = desk.until("the leader to be let", async || {
        match desk.post(LEADER, &all, &new).await {
            Ok(answer) if answer.status == 201 => Look::Holds(answer.body),
            other => Look::NotYet(format!("{other:?}")),
        }
    })?;
    ensure!(
        made["why"] == "Asked" && made["probes"]["console"] == "login:",
        "{made}"
    );
    desk.run(async {
        let mut bare = new_proof("bare", "by-operator");
        bare["probes"] = json!({});
        let refused = desk.post(LEADER, &all, &bare).await?;
        refused.expect_problem(422, "invalid")?;
        let one = desk.get(AUDITOR, &format!("{all}/asked-for")).await?;
        let body = one.expect(200)?;
        ensure!(
            body["evidence"].is_null() && body["backup"] == "by-operator",
            "{body}"
        );
        let seen = desk.get(OPERATOR, &all).await?;
        ensure!(names(seen.expect(200)?) == ["asked-for"], "{seen:?}");
        let gone = desk
            .delete(ADMINISTRATOR, &format!("{all}/asked-for"))
            .await?;
        gone.expect_problem(405, "method-not-allowed")?;
        Ok(())
    })
}

fn clicks(desk: &Desk) -> Result<()> {
    super::clicks::offer(desk)?;
    desk.kubectl()?
        .apply_text(&repository().to_string(), "test")?;
    let policy = protection::policy("ours", &[OURS]);
    desk.kubectl()?.apply_text(&policy.to_string(), "test")?;
    for (name, proven) in [("proven", true), ("untried", false)] {
        let spec = json!({"vm": "web-1", "repository": "main"});
        let backup = object("Backup", OURS, name, spec);
        desk.kubectl()?.apply_text(&backup.to_string(), "test")?;
        record(desk, name, proven)?;
    }
    desk.run(async {
        let browser = Browser::open(desk, Screen::Desktop).await?;
        browser.sign_in(desk, ADMINISTRATOR).await?;
        browser.go(&format!("/departments/{OURS}/backups")).await?;
        browser.inspect("backups").await?;
        let text = browser.text("main").await?;
        for word in [
            "Chưa có lịch sao lưu",
            "không máy ảo nào dùng volume data",
            "ours",
        ] {
            ensure!(text.contains(word), "{word}: {text}");
        }
        browser
            .go(&format!("/departments/{OURS}/backups?machine=web-1"))
            .await?;
        browser.inspect("backups-of-machine").await?;
        let text = browser.text("main").await?;
        ensure!(
            text.contains("Đã chứng minh") && text.contains("Chưa thử"),
            "{text}"
        );
        browser.fill("#backup", "Not A Name").await?;
        browser.click_away("main form button[type=submit]").await?;
        browser.inspect("backup-refused").await?;
        browser.fill("#backup", "by-a-click").await?;
        browser.click_away("main form button[type=submit]").await?;
        ensure!(browser.path().await? == format!("/departments/{OURS}/backups/by-a-click"));
        browser.inspect("backup-begun").await?;
        browser
            .go(&format!("/departments/{OURS}/backups/proven"))
            .await?;
        browser.inspect("backup").await?;
        browser.fill("#name", "web-1-root-old").await?;
        browser.choose("#system", "a01").await?;
        browser.choose("#pool", "san-1").await?;
        browser.click_away("main form button[type=submit]").await?;
        let at = format!("/departments/{OURS}/restores/web-1-root-old");
        ensure!(browser.path().await? == at, "{}", browser.path().await?);
        browser.inspect("restore").await?;
        let there = desk.get(ADMINISTRATOR, &format!("{OURS}/restores/web-1-root-old"));
        let there = there.await?;
        let to = &there.expect(200)?["to"]["newVolume"];
        ensure!(
            to["verify"] == true && to["name"] == "web-1-root-old",
            "{there:?}"
        );
        anyhow::Ok(browser)
    })
    .and_then(|browser| rebuilt(desk, browser))
    .and_then(|browser| others(desk, browser))
}

/// A volume is written over only by whoever writes its name; a machine comes back as a copy.
fn rebuilt(desk: &Desk, browser: Browser) -> Result<Browser> {
    let backup = format!("/departments/{OURS}/backups/proven");
    desk.run(async {
        browser.go(&backup).await?;
        browser.click("main details summary").await?;
        browser.fill("#over", "not-there").await?;
        browser.click("#over-stop").await?;
        browser
            .click_away("main details button[type=submit]")
            .await?;
        browser.inspect("restore-over-refused").await?;
        let text = browser.text("main").await?;
        ensure!(text.contains("đơn vị không có ổ đĩa tên này"), "{text}");
        browser.fill("#over", "data").await?;
        browser
            .click_away("main details button[type=submit]")
            .await?;
        let at = browser.path().await?;
        ensure!(
            at.starts_with(&format!("/departments/{OURS}/restores/over-")),
            "{at}"
        );
        browser.inspect("restore-over").await?;
        let name = at.rsplit('/').next().unwrap_or_default().to_owned();
        let there = desk
            .get(ADMINISTRATOR, &format!("{OURS}/restores/{name}"))
            .await?;
        let over = &there.expect(200)?["to"]["inPlace"];
        ensure!(
            over["volume"] == "data" && over["stopMachine"] == true,
            "{there:?}"
        );
        browser.click("main details summary").await?;
        browser
            .click_away("main details button[type=submit]")
            .await?;

        browser.go(&backup).await?;
        browser.fill("#machine", "web-1-again").await?;
        browser.choose("#machine-pool", "san-1").await?;
        browser.inspect("backup-with-orders").await?;
        browser
            .click_away("form[action$='/machine'] button[type=submit]")
            .await?;
        let at = format!("/departments/{OURS}/machine-restores/web-1-again");
        ensure!(browser.path().await? == at, "{}", browser.path().await?);
        browser.inspect("machine-restore").await?;
        let there = desk.get(
            ADMINISTRATOR,
            &format!("{OURS}/machinerestores/web-1-again"),
        );
        let there = there.await?;
        let body = there.expect(200)?;
        ensure!(
            body["identity"] == "Copy" && body["start"] == false,
            "{body}"
        );
        browser.click("main details summary").await?;
        browser
            .click_away("main details button[type=submit]")
            .await?;
        ensure!(browser.path().await? == format!("/departments/{OURS}/backups"));
        anyhow::Ok(browser)
    })
}

/// The restore is stopped and a proof looked at; then all of it on a phone, in English.
fn others(desk: &Desk, browser: Browser) -> Result<()> {
    // Of a backup that is not done: the trial waits.
    let proof = object(
        "RestoreProof",
        OURS,
        "waits",
        json!({"backup": "by-a-click"}),
    );
    desk.kubectl()?.apply_text(&proof.to_string(), "test")?;
    desk.run(async {
        let at = format!("/departments/{OURS}/restores/web-1-root-old");
        browser.go(&at).await?;
        browser.click("main details summary").await?;
        browser
            .click_away("main details button[type=submit]")
            .await?;
        ensure!(browser.path().await? == format!("/departments/{OURS}/backups"));
        browser
            .go(&format!("/departments/{OURS}/proofs/waits"))
            .await?;
        browser.inspect("proof").await?;
        browser.close().await?;
        let phone = Browser::open(desk, Screen::Phone).await?;
        phone.sign_in(desk, OPERATOR).await?;
        phone.go("/language?to=en&next=/").await?;
        for (path, name) in [
            ("backups", "backups"),
            ("backups?machine=web-1", "backups-of-machine"),
            ("backups/proven", "backup"),
        ] {
            phone.go(&format!("/departments/{OURS}/{path}")).await?;
            phone.inspect(name).await?;
        }
        let text = phone.text("main").await?;
        ensure!(text.contains("Does it come back?"), "{text}");
        // Who may not restore is not offered it.
        ensure!(!text.contains("Restore a volume"), "{text}");
        phone.close().await
    })
}
