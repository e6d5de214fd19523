//! What each may see and do, and what nobody learns of others.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use reqwest::Method;
use serde_json::{Value, json};

use super::Make;
use super::backups::{new_backup, new_proof, new_restore};
use super::desk::{
    ADMINISTRATOR, AUDITOR, Answer, CENTRE, Desk, NOBODYS, OPERATOR, OURS, STRANGER, THEIRS,
    new_machine, new_volume, send,
};
use super::requests::{answer, new_request};
use super::snapshots::new_snapshot;

/// In the form of one, and of nothing.
const UID: &str = "00000000-0000-0000-0000-000000000000";

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial(
            "each_sees_their_own_departments_and_the_centre_sees_all",
            own,
        ),
        trial("what_is_anothers_is_answered_as_what_is_not_there", others),
        trial(
            "operators_start_and_stop_and_change_nothing_else",
            operators,
        ),
        trial("auditors_see_and_change_nothing", auditors),
        trial("no_header_makes_somebody_else_of_the_caller", headers),
        trial("names_that_cannot_be_are_those_of_nothing", names),
    ]
}

fn names_of(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items.filter_map(|item| item["name"].as_str()).collect()
}

fn own(desk: &Desk) -> Result<()> {
    desk.run(async {
        for (login, seen) in [
            (ADMINISTRATOR, vec![OURS]),
            (OPERATOR, vec![OURS]),
            (STRANGER, vec![THEIRS]),
            (AUDITOR, vec!["so-gddt", OURS, THEIRS]),
            (CENTRE, vec!["so-gddt", OURS, THEIRS]),
        ] {
            let answer = desk.get(login, "").await?;
            // The list's own address has no slash at its end.
            answer.expect_problem(404, "not-found")?;
            let url = format!("{}/api/v1/departments", desk.url());
            let asked = desk.client.get(url).bearer_auth(desk.token(login).await?);
            let answer = send(asked).await?;
            ensure!(names_of(answer.expect(200)?) == seen, "{login}: {answer:?}");
        }
        // Somebody without any right is served, and sees nothing.
        let url = format!("{}/api/v1/departments", desk.url());
        let token = desk.token("approver@province").await?;
        let answer = send(desk.client.get(url).bearer_auth(token)).await?;
        ensure!(names_of(answer.expect(200)?).is_empty(), "{answer:?}");
        Ok(())
    })
}

/// All that could tell one refusal from another.
fn told(answer: &Answer) -> (u16, Vec<String>, Value) {
    let mut body = answer.body.clone();
    body["requestId"] = Value::Null;
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    (answer.status.as_u16(), headers, body)
}

fn others(desk: &Desk) -> Result<()> {
    desk.run(async {
        // Something of each kind is theirs.
        let path = format!("{THEIRS}/resourcerequests");
        let made = desk.post(STRANGER, &path, &new_request("theirs")).await?;
        made.expect(201)?;
        let path = format!("{THEIRS}/volumesnapshots");
        let made = desk.post(STRANGER, &path, &new_snapshot("theirs")).await?;
        made.expect(201)?;
        let path = format!("{THEIRS}/backups");
        let made = desk.post(STRANGER, &path, &new_backup("theirs")).await?;
        made.expect(201)?;
        let path = format!("{THEIRS}/restores");
        let restore = new_restore("theirs", "theirs");
        desk.post(STRANGER, &path, &restore).await?.expect(201)?;
        let mut asked = Vec::new();
        for kind in [
            "informationsystems",
            "virtualmachines",
            "volumes",
            "volumesnapshots",
            "subnets",
            "resourcerequests",
            "approvals",
            "backups",
            "restores",
            "restoreproofs",
            "backuppolicies",
        ] {
            asked.push((Method::GET, kind.to_owned(), None));
            for name in ["a01", "web-1", "data", "web", "theirs", "no-such-object"] {
                asked.push((Method::GET, format!("{kind}/{name}"), None));
            }
        }
        asked.push((Method::GET, "events".to_owned(), None));
        asked.push((Method::GET, "changes".to_owned(), None));
        asked.push((Method::GET, "showback".to_owned(), None));
        asked.push((Method::GET, "showback?from=soon".to_owned(), None));
        asked.push((Method::GET, "protection".to_owned(), None));
        for name in ["web-1", "no-such-object"] {
            let path = format!("virtualmachines/{name}");
            asked.push((
                Method::PATCH,
                path.clone(),
                Some(json!({"power": "Stopped"})),
            ));
            asked.push((Method::PATCH, path.clone(), Some(json!({"class": "large"}))));
            asked.push((Method::DELETE, path, None));
        }
        for name in ["data", "no-such-object"] {
            let path = format!("volumes/{name}");
            asked.push((Method::PATCH, path.clone(), Some(json!({"size": "2Gi"}))));
            asked.push((Method::DELETE, path, None));
        }
        // Also with a body that is wrong, which is not looked at.
        for body in [
            new_machine("web-1"),
            new_machine("new"),
            json!({"wrong": true}),
        ] {
            asked.push((Method::POST, "virtualmachines".to_owned(), Some(body)));
        }
        asked.push((Method::POST, "volumes".to_owned(), Some(new_volume("data"))));
        for name in ["theirs", "new"] {
            let snapshot = new_snapshot(name);
            asked.push((Method::POST, "volumesnapshots".to_owned(), Some(snapshot)));
            let backup = new_backup(name);
            asked.push((Method::POST, "backups".to_owned(), Some(backup)));
            let restore = new_restore(name, "theirs");
            asked.push((Method::POST, "restores".to_owned(), Some(restore)));
            asked.push((Method::DELETE, format!("restores/{name}"), None));
            let proof = new_proof(name, "theirs");
            asked.push((Method::POST, "restoreproofs".to_owned(), Some(proof)));
            let request = new_request(name);
            asked.push((Method::POST, "resourcerequests".to_owned(), Some(request)));
            let path = format!("volumesnapshots/{name}");
            asked.push((Method::DELETE, path, None));
            let withdraw = json!({"wanted": "Withdrawn"});
            let path = format!("resourcerequests/{name}");
            asked.push((Method::PATCH, path, Some(withdraw)));
            let answer = answer(name, UID, &"0".repeat(64), "Leader", "Approve");
            asked.push((Method::POST, "approvals".to_owned(), Some(answer)));
        }
        for (method, path, body) in asked {
            let mut answers = Vec::new();
            for department in [THEIRS, NOBODYS] {
                let path = format!("{department}/{path}");
                let mut request = desk.ask(ADMINISTRATOR, method.clone(), &path).await?;
                if let Some(body) = &body {
                    request = request.json(body);
                }
                answers.push(send(request).await?);
            }
            answers[0].expect_problem(404, "not-found")?;
            let (theirs, nobodys) = (told(&answers[0]), told(&answers[1]));
            ensure!(
                theirs == nobodys,
                "{method} {path}: {theirs:?}, {nobodys:?}"
            );
        }
        // And what of ours is not there looks the same to us.
        let missing = desk.get(ADMINISTRATOR, &format!("{OURS}/volumes/no-such-object"));
        let theirs = desk.get(ADMINISTRATOR, &format!("{THEIRS}/volumes/data"));
        ensure!(told(&missing.await?) == told(&theirs.await?));
        Ok(())
    })?;
    // Nothing of theirs has changed.
    let theirs = desk.run(desk.get(STRANGER, &format!("{THEIRS}/virtualmachines/web-1")))?;
    let theirs = theirs.expect(200)?;
    ensure!(
        theirs["power"] == "Running" && theirs["class"] == "small",
        "{theirs}"
    );
    ensure!(theirs["phase"] == "Present", "{theirs}");
    Ok(())
}

fn operators(desk: &Desk) -> Result<()> {
    desk.run(async {
        let path = format!("{OURS}/virtualmachines/web-1");
        for power in ["Stopped", "Running"] {
            let changed = desk
                .patch(OPERATOR, &path, &json!({"power": power}))
                .await?;
            ensure!(changed.expect(200)?["power"] == power);
        }
        let restarted = desk
            .patch(OPERATOR, &path, &json!({"restart": "first"}))
            .await?;
        ensure!(restarted.expect(200)?["restart"] == "first");
        let resize = json!({"power": "Running", "class": "large"});
        let resized = desk.patch(OPERATOR, &path, &resize).await?;
        resized.expect_problem(403, "forbidden")?;
        let deleted = desk.delete(OPERATOR, &path).await?;
        deleted.expect_problem(403, "forbidden")?;
        let list = format!("{OURS}/virtualmachines");
        let created = desk.post(OPERATOR, &list, &new_machine("new")).await?;
        created.expect_problem(403, "forbidden")?;
        let volume = format!("{OURS}/volumes/data");
        let grown = desk
            .patch(OPERATOR, &volume, &json!({"size": "2Gi"}))
            .await?;
        grown.expect_problem(403, "forbidden")?;
        let there = desk.get(OPERATOR, &path).await?;
        let there = there.expect(200)?;
        ensure!(
            there["class"] == "small" && there["phase"] == "Present",
            "{there}"
        );
        let resized = desk
            .patch(ADMINISTRATOR, &path, &json!({"class": "large"}))
            .await?;
        ensure!(resized.expect(200)?["class"] == "large");
        let back = desk
            .patch(ADMINISTRATOR, &path, &json!({"class": "small"}))
            .await?;
        back.expect(200).map(drop)
    })
}

fn auditors(desk: &Desk) -> Result<()> {
    desk.run(async {
        for department in [OURS, THEIRS] {
            let path = format!("{department}/virtualmachines/web-1");
            desk.get(AUDITOR, &path).await?.expect(200)?;
            let events = desk
                .get(AUDITOR, &format!("{department}/events?limit=5"))
                .await?;
            ensure!(events.expect(200)?["items"].is_array());
            let changed = desk
                .patch(AUDITOR, &path, &json!({"power": "Stopped"}))
                .await?;
            changed.expect_problem(403, "forbidden")?;
            desk.delete(AUDITOR, &path)
                .await?
                .expect_problem(403, "forbidden")?;
        }
        Ok(())
    })
}

fn headers(desk: &Desk) -> Result<()> {
    desk.run(async {
        let path = format!("{THEIRS}/virtualmachines");
        for (name, value) in [
            ("impersonate-user", "system:admin"),
            ("impersonate-group", "system:masters"),
            ("x-remote-user", "administrator@so-y-te.lab.test"),
            ("x-remote-group", "so-y-te:administrators"),
            ("x-forwarded-user", "administrator@so-y-te.lab.test"),
            ("x-original-url", "/api/v1/departments"),
            ("x-http-method-override", "DELETE"),
            ("cookie", "token=x"),
        ] {
            let request = desk.ask(ADMINISTRATOR, Method::GET, &path).await?;
            let answer = send(request.header(name, value)).await?;
            answer.expect_problem(404, "not-found")?;
        }
        let request = desk
            .ask(ADMINISTRATOR, Method::POST, &format!("{OURS}/volumes"))
            .await?;
        let request = request.header("impersonate-group", "so-y-te:administrators");
        let mut new = new_volume("data");
        new["name"] = json!("data");
        send(request.json(&new))
            .await?
            .expect_problem(409, "exists")?;
        Ok(())
    })
}

fn names(desk: &Desk) -> Result<()> {
    desk.run(async {
        for path in [
            "%2e%2e/virtualmachines",
            "so-khcn%2f..%2fso-y-te/virtualmachines",
            "so-khcn/virtualmachines/..%2f..%2fso-y-te%2fvirtualmachines%2fweb-1",
            "so-khcn/virtualmachines/web-1%00",
            "so-khcn/virtualmachines/%ff%fe",
            "SO-KHCN/virtualmachines",
            "so-khcn/secrets",
            "so-khcn/secrets/x",
        ] {
            let answer = desk.get(ADMINISTRATOR, path).await?;
            answer.expect_problem(404, "not-found")?;
        }
        Ok(())
    })
}
