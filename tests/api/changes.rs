//! What is made, changed, deleted, listed; and what is written down of it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use dc_lab::api;
use dc_lab::wait::Look;
use libtest_mimic::Trial;
use reqwest::Method;
use serde_json::{Value, json};

use super::Make;
use super::desk::{ADMINISTRATOR, Desk, OPERATOR, OURS, STRANGER, new_machine, new_volume, send};

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial("a_machine_is_made_shown_changed_and_deleted", life),
        trial("a_change_of_what_has_changed_since_is_refused", conditions),
        trial(
            "a_request_sent_twice_is_done_once_also_across_a_crash",
            twice,
        ),
        trial("what_is_wrong_is_named_with_its_field", invalid),
        trial("pages_show_everything_once_and_filters_hold", pages),
        trial(
            "every_change_and_every_refusal_is_in_an_unbroken_audit_log",
            audit,
        ),
    ]
}

fn life(desk: &Desk) -> Result<()> {
    desk.run(async {
        let mut new = new_machine("life-1");
        new["userData"] = json!("#cloud-config\npassword: a-secret-of-the-guest\n");
        let made = desk
            .post(ADMINISTRATOR, &format!("{OURS}/virtualmachines"), &new)
            .await?;
        ensure!(made.expect(201)?["power"] == "Running", "{made:?}");
        let path = format!("{OURS}/virtualmachines/life-1");
        ensure!(
            made.header("location") == format!("/api/v1/departments/{path}"),
            "{made:?}"
        );
        ensure!(!made.body.to_string().contains("a-secret-of-the-guest"));
        // At once, from the cache.
        let seen = desk.get(ADMINISTRATOR, &path).await?;
        ensure!(seen.expect(200)?["uid"] == made.body["uid"]);
        ensure!(seen.header("etag") == seen.body["etag"], "{seen:?}");
        let asked = desk.ask(ADMINISTRATOR, Method::GET, &path).await?;
        let again = send(asked.header("if-none-match", seen.header("etag"))).await?;
        // The operator may have written a status in between.
        ensure!([200, 304].contains(&again.status.as_u16()), "{again:?}");
        let stopped = desk
            .patch(ADMINISTRATOR, &path, &json!({"power": "Stopped"}))
            .await?;
        ensure!(stopped.expect(200)?["power"] == "Stopped");
        desk.delete(ADMINISTRATOR, &path).await?.expect(202)?;
        Ok(())
    })?;
    let path = format!("{OURS}/virtualmachines/life-1");
    desk.until("the machine to be gone", async || {
        let asked = desk.get(ADMINISTRATOR, &path).await;
        Look::from_attempt(asked.and_then(|answer| answer.expect(404).map(drop)))
    })
}

fn conditions(desk: &Desk) -> Result<()> {
    desk.run(async {
        let path = format!("{OURS}/volumes/conditions");
        let list = format!("{OURS}/volumes");
        let made = desk
            .post(ADMINISTRATOR, &list, &new_volume("conditions"))
            .await?;
        made.expect(201)?;
        let stale = made.header("etag").to_owned();
        let grown = desk
            .patch(ADMINISTRATOR, &path, &json!({"size": "2Gi"}))
            .await?;
        ensure!(grown.expect(200)?["size"] == "2Gi");
        let with = async |method: Method, tag: &str, body: Option<Value>| {
            let request = desk.ask(ADMINISTRATOR, method, &path).await?;
            let request = request.header("if-match", tag);
            send(match body {
                Some(body) => request.json(&body),
                None => request,
            })
            .await
        };
        let size = |size: &str| Some(json!({"size": size}));
        let late = with(Method::PATCH, &stale, size("3Gi")).await?;
        late.expect_problem(412, "changed")?;
        let late = with(Method::DELETE, &stale, None).await?;
        late.expect_problem(412, "changed")?;
        let foreign = with(Method::PATCH, "\"of-another-server\"", size("3Gi")).await?;
        foreign.expect_problem(412, "changed")?;
        with(Method::PATCH, "nonsense", size("3Gi"))
            .await?
            .expect_problem(400, "unreadable")?;
        with(Method::PATCH, "*", size("3Gi")).await?.expect(200)?;
        let there = desk.get(ADMINISTRATOR, &path).await?;
        ensure!(there.expect(200)?["size"] == "3Gi" && there.body["phase"] == "Present");
        Ok(())
    })
}

async fn keyed(
    desk: &Desk,
    login: &'static str,
    key: &str,
    new: &Value,
) -> Result<super::desk::Answer> {
    let request = desk
        .ask(login, Method::POST, &format!("{OURS}/volumes"))
        .await?;
    send(request.header("idempotency-key", key).json(new)).await
}

fn twice(desk: &Desk) -> Result<()> {
    let new = new_volume("twice");
    let first = desk.run(async {
        let first = keyed(desk, ADMINISTRATOR, "key-1", &new).await?;
        first.expect(201)?;
        let again = keyed(desk, ADMINISTRATOR, "key-1", &new).await?;
        ensure!(again.expect(201)? == &first.body && again.header("etag") == first.header("etag"));
        ensure!(again.header("idempotency-replayed") == "true");
        let mut other = new.clone();
        other["size"] = json!("2Gi");
        let reused = keyed(desk, ADMINISTRATOR, "key-1", &other).await?;
        reused.expect_problem(422, "key-reused")?;
        // The key is this user's; to others the name is taken.
        let taken = keyed(desk, ADMINISTRATOR, "key-2", &new).await?;
        taken.expect_problem(409, "exists")?;
        Ok(first)
    })?;
    // As if the answer was lost with the process.
    api::kill(desk.plane.lab())?;
    desk.run(async {
        dc_lab::api::ensure(
            &desk.plane,
            &desk.programs.api,
            &desk.dex,
            &super::desk::ARGS,
        )
        .await?;
        let again = keyed(desk, ADMINISTRATOR, "key-1", &new).await?;
        ensure!(again.expect(201)?["uid"] == first.body["uid"], "{again:?}");
        let mut other = new.clone();
        other["size"] = json!("2Gi");
        // Known by the mark of what was made.
        api_restarted_key(desk, &other).await
    })
}

async fn api_restarted_key(desk: &Desk, other: &Value) -> Result<()> {
    let reused = keyed(desk, ADMINISTRATOR, "key-1", other).await?;
    reused.expect_problem(422, "key-reused").map(drop)
}

fn invalid(desk: &Desk) -> Result<()> {
    desk.run(async {
        let volumes = format!("{OURS}/volumes");
        let machines = format!("{OURS}/virtualmachines");
        let mut bad_size = new_volume("bad");
        bad_size["size"] = json!("much");
        let mut bad_name = new_volume("Bad_Name");
        bad_name["size"] = json!("1Gi");
        let mut both = new_volume("both");
        both["source"] = json!({"image": "a", "volume": "b"});
        for (new, field) in [(bad_size, "size"), (bad_name, "name"), (both, "source")] {
            let answer = desk.post(ADMINISTRATOR, &volumes, &new).await?;
            let body = answer.expect_problem(422, "invalid")?;
            let errors = body["errors"].to_string();
            ensure!(errors.contains(field), "{field}: {body}");
        }
        for field in [
            "host",
            "mac",
            "status",
            "metadata",
            "instanceId",
            "finalizers",
        ] {
            let mut new = new_machine("bad");
            new[field] = json!("x");
            let answer = desk.post(ADMINISTRATOR, &machines, &new).await?;
            let body = answer.expect_problem(422, "invalid")?;
            ensure!(body["errors"].to_string().contains(field), "{body}");
        }
        let shrink = desk.patch(
            ADMINISTRATOR,
            &format!("{OURS}/volumes/data"),
            &json!({"size": "1Mi"}),
        );
        shrink.await?.expect_problem(422, "invalid")?;
        let empty = desk.patch(
            ADMINISTRATOR,
            &format!("{OURS}/virtualmachines/web-1"),
            &json!({}),
        );
        empty.await?.expect_problem(422, "invalid")?;
        let unknown = desk
            .get(ADMINISTRATOR, &format!("{volumes}?sytem=a01"))
            .await?;
        unknown.expect_problem(400, "unreadable")?;
        let plain = desk.ask(ADMINISTRATOR, Method::POST, &volumes).await?;
        send(plain.body("{}"))
            .await?
            .expect_problem(415, "not-json")?;
        let put = desk
            .ask(ADMINISTRATOR, Method::PUT, &format!("{volumes}/data"))
            .await?;
        let put = send(put).await?;
        put.expect_problem(405, "method-not-allowed")?;
        ensure!(put.header("allow").contains("PATCH"), "{put:?}");
        Ok(())
    })
}

fn pages(desk: &Desk) -> Result<()> {
    desk.run(async {
        let list = format!("{OURS}/volumes");
        for number in 0..5 {
            let mut new = new_volume(&format!("page-{number}"));
            new["system"] = json!(if number % 2 == 0 { "even" } else { "odd" });
            desk.post(ADMINISTRATOR, &list, &new).await?.expect(201)?;
        }
        let whole = desk.get(ADMINISTRATOR, &list).await?;
        let whole = own(names(whole.expect(200)?));
        ensure!(whole.len() == 5, "{whole:?}");
        let (mut seen, mut token) = (Vec::new(), None::<String>);
        loop {
            let more = token
                .map(|token| format!("&continue={token}"))
                .unwrap_or_default();
            let page = desk
                .get(ADMINISTRATOR, &format!("{list}?limit=2{more}"))
                .await?;
            let page = page.expect(200)?;
            ensure!(names(page).len() <= 2, "{page}");
            seen.extend(own(names(page)));
            token = page["continue"].as_str().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        ensure!(seen == whole, "{seen:?} {whole:?}");
        let even = desk
            .get(ADMINISTRATOR, &format!("{list}?system=even"))
            .await?;
        ensure!(names(even.expect(200)?) == ["page-0", "page-2", "page-4"]);
        let ready = desk
            .get(ADMINISTRATOR, &format!("{list}?ready=True"))
            .await?;
        ensure!(names(ready.expect(200)?).is_empty(), "no host carries any");
        for bad in [
            "limit=0",
            "limit=501",
            "limit=x",
            "continue=x",
            "ready=maybe",
        ] {
            let answer = desk.get(ADMINISTRATOR, &format!("{list}?{bad}")).await?;
            answer.expect_problem(400, "unreadable")?;
        }
        for number in 0..5 {
            let path = format!("{list}/page-{number}");
            desk.delete(ADMINISTRATOR, &path).await?.expect(202)?;
        }
        Ok(())
    })
}

/// Those of this test: others come and go.
fn own(names: Vec<String>) -> Vec<String> {
    let own = names.into_iter().filter(|name| name.starts_with("page-"));
    own.collect()
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    let names = items.filter_map(|item| item["name"].as_str());
    names.map(str::to_owned).collect()
}

/// By who has nothing but the file: no API, no token. The exit code, and what is said.
fn verify(desk: &Desk, file: &std::path::Path, head: Option<&str>) -> Result<(i32, Value)> {
    let mut command = Command::new(&desk.programs.dcctl);
    command.env_clear();
    command.args(["-o", "json", "audit", "verify"]).arg(file);
    if let Some(head) = head {
        command.args(["--head", head]);
    }
    let output = command.output().context("dcctl cannot be run")?;
    let said = serde_json::from_slice(&output.stdout);
    let said = said.with_context(|| format!("{output:?}"))?;
    Ok((output.status.code().unwrap_or(-1), said))
}

fn audit(desk: &Desk) -> Result<()> {
    desk.run(async {
        let mut new = new_machine("audited");
        new["userData"] = json!("#cloud-config\npassword: a-secret-of-the-guest\n");
        let list = format!("{OURS}/virtualmachines");
        let asked = desk.ask(ADMINISTRATOR, Method::POST, &list).await?;
        send(asked.header("x-request-id", "audited-1").json(&new))
            .await?
            .expect(201)?;
        let path = format!("{list}/audited");
        let denied = desk.ask(OPERATOR, Method::DELETE, &path).await?;
        send(denied.header("x-request-id", "audited-2"))
            .await?
            .expect(403)?;
        let denied = desk.ask(STRANGER, Method::DELETE, &path).await?;
        send(denied.header("x-request-id", "audited-3"))
            .await?
            .expect(404)?;
        desk.delete(ADMINISTRATOR, &path)
            .await?
            .expect(202)
            .map(drop)
    })?;
    let log = api::audit_log(desk.plane.lab());
    let text = std::fs::read_to_string(&log)?;
    ensure!(
        !text.contains("a-secret-of-the-guest"),
        "a secret is in the log"
    );
    let stages = |request: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let entries = lines.map(|line| line["entry"].clone());
        let of = entries.filter(|entry| entry["request"] == request);
        of.filter_map(|entry| {
            Some(format!(
                "{} {}",
                entry["stage"].as_str()?,
                entry["user"].as_str()?
            ))
        })
        .collect()
    };
    let user = |login: &str| desk.dex.login(login).map(|login| login.email.clone());
    let administrator = user(ADMINISTRATOR)?;
    let both = [
        format!("asked {administrator}"),
        format!("done {administrator}"),
    ];
    ensure!(stages("audited-1") == both, "{:?}", stages("audited-1"));
    ensure!(stages("audited-2") == [format!("denied {}", user(OPERATOR)?)]);
    ensure!(stages("audited-3") == [format!("denied {}", user(STRANGER)?)]);

    let (code, good) = verify(desk, &log, None)?;
    ensure!(code == 0 && good["files"][0]["whole"] == true, "{good}");
    let head = good["files"][0]["head"].as_str().context("no head")?;
    let dir = tempfile::tempdir()?;
    let copy = dir.path().join("audit.jsonl");
    std::fs::write(&copy, text.replace("audited-2", "audited-9"))?;
    let changed_line = (1_u64..)
        .zip(text.lines())
        .find(|(_, line)| line.contains("audited-2"));
    let (changed_line, _) = changed_line.context("the line is there")?;
    let (code, changed): (i32, Value) = verify(desk, &copy, None)?;
    ensure!(
        code == 3 && changed["files"][0]["line"] == changed_line,
        "{changed}"
    );
    let shorter = text
        .trim_end()
        .rsplit_once('\n')
        .context("one line only")?
        .0;
    std::fs::write(&copy, format!("{shorter}\n"))?;
    let (code, shorter) = verify(desk, &copy, None)?;
    ensure!(code == 0, "a chain of its own: {shorter}");
    let (code, cut) = verify(desk, &copy, Some(head))?;
    ensure!(code == 4 && cut["headsMissing"][0] == head, "{cut}");
    Ok(())
}
