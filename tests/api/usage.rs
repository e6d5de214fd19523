//! What each system held, for departments, in hours and money.

use anyhow::{Result, ensure};
use dc_lab::wait::Look;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::Make;
use super::browser::{Browser, Screen};
use super::desk::{ADMINISTRATOR, AUDITOR, Desk, LEADER, OURS, THEIRS};

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![trial(
        "what_was_held_is_told_by_day_with_its_price_and_to_nobody_else",
        told,
    )]
}

/// Two days of a month that is over.
fn record(department: &str) -> Value {
    let day = |day: &str| {
        json!({"day": day, "systems": [{
            "system": "a01", "machineSeconds": 86_400, "vcpuSeconds": 172_800,
            "memoryMiBSeconds": 86_400_i64 * 4096, "addressSeconds": 0,
            "storage": [{"class": "standard", "sizeMiBSeconds": 86_400_i64 * 10_240}],
        }]})
    };
    json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "UsageRecord",
        "metadata": {"name": format!("{department}.2026-01"),
                     "labels": {"dc.sonla.gov.vn/department": department}},
        "spec": {"department": department, "month": "2026-01", "timeZone": "Asia/Ho_Chi_Minh"},
        "status": {"until": "2026-01-31T17:00:00Z", "closed": true, "dayCount": 2,
                   "days": [day("2026-01-30"), day("2026-01-31")]},
    })
}

fn prices(text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
           "metadata": {"name": "dc-api-prices", "namespace": "dc-system"},
           "data": {"prices.yaml": text}})
}

const JANUARY: &str = "showback?from=2026-01-01&to=2026-01-31";

fn told(desk: &Desk) -> Result<()> {
    let kubectl = desk.kubectl()?;
    for department in [OURS, THEIRS] {
        let record = record(department);
        kubectl.apply_text(&record.to_string(), "test")?;
        let status = json!({ "status": record["status"] }).to_string();
        let name = format!("{department}.2026-01");
        kubectl.run(&[
            "patch",
            "usagerecord",
            &name,
            "--subresource",
            "status",
            "--type",
            "merge",
            "--patch",
            &status,
        ])?;
    }
    desk.until("the department's roles to open it", async || {
        let asked = desk.get(ADMINISTRATOR, &format!("{OURS}/{JANUARY}")).await;
        Look::from_attempt(asked.and_then(|answer| answer.expect(200).map(drop)))
    })?;
    desk.run(async {
        for login in [ADMINISTRATOR, LEADER, AUDITOR] {
            let answer = desk.get(login, &format!("{OURS}/{JANUARY}")).await?;
            let shown = answer.expect(200)?;
            ensure!(shown["prices"] == "none", "{shown}");
            let lines = shown["lines"].as_array().map_or(0, Vec::len);
            ensure!(lines == 8, "{shown}");
            let vcpus = total(shown, "vcpus");
            ensure!(
                vcpus["amount"] == "96.000" && vcpus["cost"].is_null(),
                "{shown}"
            );
        }
        // A day is a day of the province.
        let one = desk.get(
            LEADER,
            &format!("{OURS}/showback?from=2026-01-31&to=2026-01-31"),
        );
        let one = one.await?;
        ensure!(
            total(one.expect(200)?, "memory")["amount"] == "96.000",
            "{one:?}"
        );
        for wrong in [
            "showback?from=soon",
            "showback?from=2026-02-02&to=2026-02-01",
        ] {
            let refused = desk.get(LEADER, &format!("{OURS}/{wrong}")).await?;
            refused.expect_problem(400, "unreadable")?;
        }
        anyhow::Ok(())
    })?;
    let list =
        "[{from: 2026-01-31, currency: VND, vcpuHour: 250, storageGiBHour: {standard: 0.5}}]";
    kubectl.apply_text(&prices(list).to_string(), "test")?;
    desk.run(async {
        let priced = desk.get(LEADER, &format!("{OURS}/{JANUARY}")).await?;
        let shown = priced.expect(200)?;
        ensure!(shown["prices"] == "applied", "{shown}");
        let lines = shown["lines"].as_array().into_iter().flatten();
        let costs: Vec<(&str, &str, &Value)> = lines
            .map(|line| (text(line, "day"), text(line, "resource"), &line["cost"]))
            .collect();
        ensure!(
            costs.contains(&("2026-01-31", "vcpus", &json!("12000.000"))),
            "{costs:?}"
        );
        ensure!(
            costs.contains(&("2026-01-31", "storage/standard", &json!("120.000"))),
            "{costs:?}"
        );
        ensure!(
            costs.contains(&("2026-01-30", "vcpus", &Value::Null)),
            "{costs:?}"
        );
        // The table has the same lines, and is a file.
        let asked = desk.ask(
            LEADER,
            reqwest::Method::GET,
            &format!("{OURS}/{JANUARY}&format=csv"),
        );
        let answer = asked.await?.send().await?;
        let kind = format!("{:?}", answer.headers()["content-type"]);
        ensure!(kind.contains("text/csv"), "{kind}");
        let table = answer.text().await?;
        ensure!(table.lines().count() == 9, "{table}");
        let line = "so-khcn,2026-01-31,a01,vcpus,48.000,h,250,12000.000,VND";
        ensure!(table.lines().any(|said| said == line), "{table}");
        let browser = Browser::open(desk, Screen::Phone).await?;
        browser.sign_in(desk, LEADER).await?;
        browser
            .go(&format!(
                "/departments/{OURS}/usage?from=2026-01-01&to=2026-01-31"
            ))
            .await?;
        let said = browser.all_text().await?;
        ensure!(
            said.contains("12000.000 VND") && said.contains("Lưu trữ (standard)"),
            "{said}"
        );
        browser.inspect("usage").await?;
        browser.close().await
    })?;
    kubectl.apply_text(&prices("[{vcpuHour: much}]").to_string(), "test")?;
    desk.run(async {
        let shown = desk.get(LEADER, &format!("{OURS}/{JANUARY}")).await?;
        ensure!(shown.expect(200)?["prices"] == "unreadable", "{shown:?}");
        Ok(())
    })?;
    kubectl.run(&[
        "delete",
        "configmap",
        "dc-api-prices",
        "--namespace",
        "dc-system",
    ])?;
    Ok(())
}

fn total<'a>(shown: &'a Value, resource: &str) -> &'a Value {
    let totals = shown["totals"].as_array().into_iter().flatten();
    let mut found = totals.filter(|total| total["resource"] == resource);
    found.next().unwrap_or(&Value::Null)
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_default()
}
