//! Requests through the API: written, handed in, answered, withdrawn; and what nobody can do with
//! them. No host runs here, so what was granted waits to be built.

use anyhow::{Context, Result, ensure};
use dc_lab::api;
use dc_lab::wait::Look;
use libtest_mimic::Trial;
use reqwest::Method;
use serde_json::{Value, json};

use super::Make;
use super::desk::{
    ADMINISTRATOR, AUDITOR, Answer, CENTRE, DEPUTY, Desk, LEADER, OPERATOR, OURS, send,
};

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial(
            "a_request_is_written_handed_in_approved_granted_and_fixed",
            granted,
        ),
        trial("nobody_answers_a_request_he_wrote_in", own),
        trial("an_answer_to_what_has_changed_since_is_refused", changed),
        trial("a_request_is_rejected_or_withdrawn_for_good", ended),
        trial("only_those_who_may_write_and_answer", rights),
        trial("user_data_of_a_request_is_not_shown_or_logged", secrets),
    ]
}

pub fn new_request(name: &str) -> Value {
    json!({
        "name": name, "wanted": "Submitted", "reason": "Cổng dữ liệu đất đai",
        "document": {"number": "12/TTr", "date": "2027-01-15", "issuer": "so-khcn"},
        "neededBy": "2027-03-01", "leaseUntil": "2029-12-31T17:00:00Z",
        "objects": [{"kind": "Volume", "name": format!("{name}-data"), "spec":
            {"system": "a01", "pool": "san-1", "size": "1Gi", "reclaim": "Erase"}}],
    })
}

pub fn answer(request: &str, uid: &str, hash: &str, role: &str, verdict: &str) -> Value {
    json!({"request": request, "requestUid": uid, "hash": hash, "role": role,
           "verdict": verdict, "reason": "as agreed"})
}

fn list() -> String {
    format!("{OURS}/resourcerequests")
}

fn path(name: &str) -> String {
    format!("{}/{name}", list())
}

/// The request, once it is in this state.
fn in_state(desk: &Desk, name: &str, state: &str) -> Result<Value> {
    desk.until(&format!("{name} to be {state}"), async || {
        let asked = desk.get(ADMINISTRATOR, &path(name)).await;
        let there = asked.and_then(|answer| answer.expect(200).cloned());
        match there {
            Ok(there) if there["state"] == state && there["hash"] != "" => Look::Holds(there),
            Ok(there) => Look::NotYet(there.to_string()),
            Err(error) => Look::NotYet(format!("{error:#}")),
        }
    })
}

fn ask(desk: &Desk, login: &'static str, new: &Value) -> Result<Value> {
    let asked = desk.run(desk.post(login, &list(), new))?;
    asked.expect(201).cloned()
}

fn answer_to(of: &Value, role: &str, verdict: &str) -> Value {
    let text = |field: &str| of[field].as_str().unwrap_or_default().to_owned();
    answer(&text("name"), &text("uid"), &text("hash"), role, verdict)
}

fn give(desk: &Desk, login: &'static str, answer: &Value) -> Result<Answer> {
    desk.run(desk.post(login, &format!("{OURS}/approvals"), answer))
}

/// The API server looks for the kind of a policy's parameters now and then, and refuses until it
/// has found it; and its own cache is behind by a moment.
fn given_at_last(desk: &Desk, login: &'static str, new: &Value, code: &str) -> Result<Answer> {
    let at = format!("{OURS}/approvals");
    desk.until(&format!("the answer to be {code}"), async || {
        match desk.post(login, &at, new).await {
            Ok(answer) if answer.status == 201 && code == "taken" => Look::Holds(answer),
            Ok(answer) if answer.body["code"] == code => Look::Holds(answer),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
}

fn granted(desk: &Desk) -> Result<()> {
    let mut new = new_request("granted");
    new["wanted"] = json!("Draft");
    ask(desk, ADMINISTRATOR, &new)?;
    let draft = in_state(desk, "granted", "Draft")?;
    ensure!(draft["waitsFor"] == "authors", "{draft}");
    let user = &desk.dex.login(ADMINISTRATOR)?.email;
    ensure!(draft["authors"] == json!([user]), "{draft}");
    let submit = json!({"wanted": "Submitted"});
    desk.run(async {
        let asked = desk.ask(ADMINISTRATOR, Method::PATCH, &path("granted"));
        let stale = asked.await?.header("if-match", "\"of-another.1\"");
        send(stale.json(&submit))
            .await?
            .expect_problem(412, "changed")?;
        for _ in 0..2 {
            let sent = desk.patch(ADMINISTRATOR, &path("granted"), &submit);
            ensure!(sent.await?.expect(200)?["wanted"] == "Submitted");
        }
        Ok(())
    })?;
    let asked = in_state(desk, "granted", "Submitted")?;
    ensure!(asked["waitsFor"] == "leader", "{asked}");
    ensure!(asked["needs"] == json!(["Leader", "Centre"]), "{asked}");
    let waiting = desk.run(desk.get(LEADER, &format!("{}?state=Submitted", list())))?;
    ensure!(
        waiting.body.to_string().contains("\"granted\""),
        "{waiting:?}"
    );

    let yes = answer_to(&asked, "Leader", "Approve");
    let taken = given_at_last(desk, LEADER, &yes, "taken")?;
    let leader = &desk.dex.login(LEADER)?.email;
    ensure!(taken.body["approver"] == leader.as_str(), "{taken:?}");
    let approved = in_state(desk, "granted", "Approved")?;
    ensure!(approved["waitsFor"] == "centre", "{approved}");
    give(desk, LEADER, &yes)?.expect_problem(409, "exists")?;

    // What was approved is fixed.
    let more = json!({"objects": new_request("more")["objects"]});
    let late = desk.run(desk.patch(ADMINISTRATOR, &path("granted"), &more))?;
    late.expect_problem(409, "decided")?;
    let yes = answer_to(&approved, "Centre", "Approve");
    given_at_last(desk, CENTRE, &yes, "taken")?;
    let granted = in_state(desk, "granted", "Granted")?;
    let history = granted["history"].as_array().context("a history")?;
    let by: Vec<_> = history
        .iter()
        .filter_map(|step| step["by"].as_str())
        .collect();
    let centre = &desk.dex.login(CENTRE)?.email;
    ensure!(by == [user, leader, centre], "{granted}");
    ensure!(history.iter().all(|step| step["at"] != ""), "{granted}");

    // What was granted grows by another request only.
    let volume = format!("{OURS}/volumes/granted-data");
    desk.until("the volume to be made", async || {
        let asked = desk.get(ADMINISTRATOR, &volume).await;
        Look::from_attempt(asked.and_then(|answer| answer.expect(200).map(drop)))
    })?;
    let grown = desk.run(desk.patch(ADMINISTRATOR, &volume, &json!({"size": "2Gi"})))?;
    grown.expect_problem(409, "granted").map(drop)
}

fn own(desk: &Desk) -> Result<()> {
    ask(desk, DEPUTY, &new_request("own"))?;
    let asked = in_state(desk, "own", "Submitted")?;
    let yes = answer_to(&asked, "Leader", "Approve");
    let refused = give(desk, DEPUTY, &yes)?;
    let body = refused.expect_problem(403, "own-request")?;
    ensure!(
        body["title"] == "Không ai tự duyệt yêu cầu của mình",
        "{body}"
    );
    // Also who only wrote in it later.
    ask(desk, ADMINISTRATOR, &new_request("helped"))?;
    in_state(desk, "helped", "Submitted")?;
    let helped = json!({"reason": "and more of it"});
    let helped = desk.run(desk.patch(DEPUTY, &path("helped"), &helped))?;
    helped.expect(200)?;
    let asked = in_state(desk, "helped", "Submitted")?;
    let yes = answer_to(&asked, "Leader", "Approve");
    give(desk, DEPUTY, &yes)?.expect_problem(403, "own-request")?;
    // Others may.
    let yes = answer_to(&in_state(desk, "own", "Submitted")?, "Leader", "Approve");
    given_at_last(desk, LEADER, &yes, "taken").map(drop)
}

fn changed(desk: &Desk) -> Result<()> {
    ask(desk, ADMINISTRATOR, &new_request("changed"))?;
    let read = in_state(desk, "changed", "Submitted")?;
    let other = json!({"reason": "something else"});
    let written = desk.run(desk.patch(ADMINISTRATOR, &path("changed"), &other))?;
    written.expect(200)?;
    desk.until("the request to have another hash", async || {
        match desk.get(ADMINISTRATOR, &path("changed")).await {
            Ok(now) if now.body["hash"] != read["hash"] => Look::Holds(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })?;
    let stale = answer_to(&read, "Leader", "Reject");
    given_at_last(desk, LEADER, &stale, "request-changed")?;
    let now = in_state(desk, "changed", "Submitted")?;
    ensure!(now["waitsFor"] == "leader", "{now}");
    let missing = answer(
        "no-such-request",
        &"0".repeat(36),
        &"0".repeat(64),
        "Leader",
        "Approve",
    );
    let refused = give(desk, LEADER, &missing)?;
    let body = refused.expect_problem(422, "invalid")?;
    ensure!(body["errors"][0]["field"] == "request", "{body}");
    Ok(())
}

fn ended(desk: &Desk) -> Result<()> {
    ask(desk, ADMINISTRATOR, &new_request("rejected"))?;
    let asked = in_state(desk, "rejected", "Submitted")?;
    let no = answer_to(&asked, "Leader", "Reject");
    given_at_last(desk, LEADER, &no, "taken")?;
    let ended = in_state(desk, "rejected", "Rejected")?;
    ensure!(ended["history"][1]["why"] == "as agreed", "{ended}");
    ask(desk, ADMINISTRATOR, &new_request("withdrawn"))?;
    in_state(desk, "withdrawn", "Submitted")?;
    let withdraw = json!({"wanted": "Withdrawn"});
    let gone = desk.run(desk.patch(ADMINISTRATOR, &path("withdrawn"), &withdraw))?;
    gone.expect(200)?;
    in_state(desk, "withdrawn", "Withdrawn")?;
    let submit = json!({"wanted": "Submitted"});
    let back = desk.run(desk.patch(ADMINISTRATOR, &path("withdrawn"), &submit))?;
    back.expect_problem(422, "invalid").map(drop)
}

fn rights(desk: &Desk) -> Result<()> {
    ask(desk, ADMINISTRATOR, &new_request("rights"))?;
    let asked = in_state(desk, "rights", "Submitted")?;
    let withdraw = json!({"wanted": "Withdrawn"});
    for login in [OPERATOR, LEADER, AUDITOR, CENTRE] {
        desk.run(async {
            desk.get(login, &path("rights")).await?.expect(200)?;
            let written = desk.post(login, &list(), &new_request("mine")).await?;
            written.expect_problem(403, "forbidden")?;
            let gone = desk.patch(login, &path("rights"), &withdraw).await?;
            gone.expect_problem(403, "forbidden").map(drop)
        })?;
    }
    for (login, role) in [
        (ADMINISTRATOR, "Leader"),
        (OPERATOR, "Leader"),
        (AUDITOR, "Centre"),
        (LEADER, "Centre"),
        (CENTRE, "Leader"),
    ] {
        let refused = give(desk, login, &answer_to(&asked, role, "Approve"))?;
        refused.expect_problem(403, "forbidden")?;
    }
    let mut forged = answer_to(&asked, "Leader", "Approve");
    forged["approver"] = json!(desk.dex.login(CENTRE)?.email);
    give(desk, LEADER, &forged)?.expect_problem(422, "invalid")?;
    let mut forged = new_request("forged");
    forged["authors"] = json!(["somebody@else"]);
    let refused = desk.run(desk.post(ADMINISTRATOR, &list(), &forged))?;
    refused.expect_problem(422, "invalid")?;
    let still = in_state(desk, "rights", "Submitted")?;
    ensure!(still["waitsFor"] == "leader", "{still}");
    Ok(())
}

fn secrets(desk: &Desk) -> Result<()> {
    let mut new = new_request("secrets");
    new["objects"] = json!([{"kind": "VirtualMachine", "name": "secrets-vm", "spec": {
        "system": "a01", "class": "small", "interfaces": [{"subnet": "web"}],
        "disks": [{"name": "root", "template": {"pool": "san-1", "size": "1Gi"}}],
        "cloudInit": {"userData": "#! a-secret-of-the-request"}}}]);
    ask(desk, ADMINISTRATOR, &new)?;
    let objects = json!({"objects": new["objects"]});
    let changed = desk.run(desk.patch(ADMINISTRATOR, &path("secrets"), &objects))?;
    changed.expect(200)?;
    let there = in_state(desk, "secrets", "Submitted")?.to_string();
    let log = std::fs::read_to_string(api::audit_log(desk.plane.lab()))?;
    for text in [changed.body.to_string(), there, log] {
        ensure!(!text.contains("a-secret-of-the-request"), "{text}");
        ensure!(text.contains("sha256"), "{text}");
    }
    Ok(())
}
