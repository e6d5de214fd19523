//! The pages for people, as they click through them in a real browser.

use anyhow::{Result, bail, ensure};
use dc_lab::wait::{self, Look};
use libtest_mimic::Trial;
use serde_json::json;

use super::Make;
use super::browser::{Browser, Screen};
use super::desk::{
    ADMINISTRATOR, CENTRE, DEADLINE, Desk, LEADER, OPERATOR, OURS, list, new_volume,
};

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial("an_officer_asks_and_the_leader_approves_in_a_browser", asks),
        trial("a_machine_is_stopped_and_started_in_a_browser", power),
        trial(
            "a_volume_is_kept_grown_and_deleted_in_a_browser",
            volume_life,
        ),
        trial("pages_are_read_in_english_and_on_a_phone", phone),
    ]
}

/// What there is to choose from. Nothing of it runs: there are no hosts.
pub fn offer(desk: &Desk) -> Result<()> {
    let offered = |kind: &str, name: &str, spec: serde_json::Value| {
        json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": kind,
               "metadata": {"name": name}, "spec": spec})
    };
    let class = |name, vcpus| {
        offered(
            "MachineClass",
            name,
            json!({"vcpus": vcpus, "memory": "4Gi"}),
        )
    };
    let image = json!({"source": {"http": "https://images.lab.test/debian.raw"},
        "sha256": "0".repeat(64), "format": "raw", "pools": ["san-1"]});
    let objects = vec![
        class("small", 2),
        class("medium", 4),
        offered("Image", "debian", image),
        offered(
            "StoragePool",
            "san-1",
            json!({"driver": {"iscsi": {"host": "san-1"}}}),
        ),
        offered(
            "Zone",
            "dmz",
            json!({"type": "dmz", "poolV4": {"cidr": "10.77.0.0/16", "prefixLength": 24}}),
        ),
    ];
    desk.kubectl()?.apply_text(&list(objects), "test")
}

/// In every field that takes it, and for every way out of a page's text.
const SCRIPT: &str = "\"'><script>window.pwned=1</script><img src=x onerror=window.pwned=1>";

async fn fill(browser: &Browser) -> Result<()> {
    browser.fill("#name", "portal").await?;
    browser
        .fill("#reason", &format!("Cổng đất đai {SCRIPT}"))
        .await?;
    browser
        .fill("#document-number", &format!("12/TTr {SCRIPT}"))
        .await?;
    browser.set("document-date", "2027-01-15").await?;
    browser.fill("#document-issuer", SCRIPT).await?;
    browser.set("needed-by", "2027-03-01").await?;
    browser.set("lease-until", "2029-12-31").await?;
    browser.fill("#system-name", "land-portal").await?;
    browser
        .fill("#system-vi", &format!("Cổng đất đai {SCRIPT}"))
        .await?;
    browser.fill("#system-en", SCRIPT).await?;
    browser.choose("#system-level", "2").await?;
    // Two web machines in the DMZ, one for the application, one for the database with 200 GiB.
    for (at, name, count, data) in [
        (0, "portal-web", "2", ""),
        (1, "portal-app", "1", ""),
        (2, "portal-db", "1", "200"),
    ] {
        if at > 0 {
            browser.click("fieldset[data-rows] > button.second").await?;
        }
        browser.fill(&format!("#m{at}-name"), name).await?;
        browser.fill(&format!("#m{at}-count"), count).await?;
        browser.choose(&format!("#m{at}-class"), "small").await?;
        browser
            .choose(&format!("#m{at}-subnet"), "zone:dmz")
            .await?;
        browser.fill(&format!("#m{at}-root"), "20").await?;
        browser.fill(&format!("#m{at}-data"), data).await?;
    }
    Ok(())
}

/// The API server refuses every answer until it has found the kind that a policy of its asks for: a
/// person would try again.
async fn approve(browser: &Browser) -> Result<()> {
    let page = browser.path().await?;
    wait::until("the answer to be taken", DEADLINE, async || {
        let tried = async {
            browser.go(&page).await?;
            browser.fill("#why", &format!("Đồng ý {SCRIPT}")).await?;
            browser.click_away("button[value=Approve]").await?;
            let said = browser.all_text().await?;
            ensure!(browser.path().await? == page, "{said}");
            Ok(())
        };
        Look::from_attempt(tried.await)
    })
    .await
}

async fn unharmed(browser: &Browser) -> Result<()> {
    let harmed = browser.run("return window.pwned === undefined && document.querySelectorAll('main script, main img').length").await?;
    ensure!(harmed == 0, "a script ran or stands: {harmed}");
    Ok(())
}

fn asks(desk: &Desk) -> Result<()> {
    offer(desk)?;
    desk.run(async {
        let officer = Browser::open(desk, Screen::Desktop).await?;
        officer.go("/").await?;
        officer.inspect("way-in").await?;
        officer.sign_in(desk, ADMINISTRATOR).await?;
        officer.inspect("overview").await?;
        officer.click("a.button").await?;
        officer.inspect("form").await?;
        fill(&officer).await?;
        // What is wrong is said, and what was entered stays.
        officer.fill("#name", "Cổng").await?;
        officer
            .click_away("button[name=wanted][value=Submitted]")
            .await?;
        officer.find(".refusal").await?;
        officer.inspect("form-refused").await?;
        unharmed(&officer).await?;
        let kept = officer
            .run("return document.getElementById('reason').value")
            .await?;
        ensure!(kept == format!("Cổng đất đai {SCRIPT}"), "{kept}");
        officer.fill("#name", "portal").await?;
        officer
            .click_away("button[name=wanted][value=Submitted]")
            .await?;
        officer.until_says("main", "lãnh đạo đơn vị").await?;
        ensure!(officer.path().await? == format!("/departments/{OURS}/requests/portal"));
        officer.inspect("request-submitted").await?;
        unharmed(&officer).await?;
        let said = officer.all_text().await?;
        ensure!(said.contains(SCRIPT), "{said}");
        for name in [
            "portal-web-1",
            "portal-web-2",
            "portal-app",
            "portal-db",
            "200Gi",
        ] {
            ensure!(said.contains(name), "{name}: {said}");
        }

        let answer = async |login: &'static str, name: &str| {
            let browser = Browser::open(desk, Screen::Phone).await?;
            browser.sign_in(desk, login).await?;
            browser
                .go(&format!("/departments/{OURS}/approvals"))
                .await?;
            browser.inspect(&format!("approvals-{name}")).await?;
            browser.click_away("a[href$='/requests/portal']").await?;
            browser.inspect(&format!("request-{name}")).await?;
            approve(&browser).await?;
            Ok::<_, anyhow::Error>(browser)
        };
        let leader = answer(LEADER, "leader").await?;
        leader
            .until_says("main", "đơn vị vận hành trung tâm")
            .await?;
        unharmed(&leader).await?;
        leader.close().await?;
        let centre = answer(CENTRE, "centre").await?;
        centre.until_says(".head", "Đã cấp").await?;
        centre.inspect("request-granted").await?;
        unharmed(&centre).await?;
        centre.close().await?;

        officer.until_says(".head", "Đã cấp").await?;
        officer.inspect("request-granted").await?;
        officer.go(&format!("/departments/{OURS}/requests")).await?;
        officer.inspect("requests").await?;
        unharmed(&officer).await?;
        officer.close().await
    })
}

fn power(desk: &Desk) -> Result<()> {
    desk.run(async {
        let browser = Browser::open(desk, Screen::Desktop).await?;
        browser.sign_in(desk, OPERATOR).await?;
        browser.go(&format!("/departments/{OURS}/machines")).await?;
        browser.inspect("machines").await?;
        browser.click("a[href$='/machines/web-1']").await?;
        browser.inspect("machine").await?;
        browser.click_away("button[value=stop]").await?;
        browser.find("button[value=start]").await?;
        let wanted = async || {
            let there = desk.get(OPERATOR, &format!("{OURS}/virtualmachines/web-1"));
            there.await?.expect(200).cloned()
        };
        ensure!(wanted().await?["power"] == "Stopped");
        browser.click_away("button[value=start]").await?;
        browser.find("button[value=restart]").await?;
        let before = wanted().await?["restart"].clone();
        browser.click_away("button[value=restart]").await?;
        browser.until_says("main", "web-1").await?;
        let there = wanted().await?;
        ensure!(
            there["restart"] != before && there["power"] == "Running",
            "{there}"
        );
        browser
            .go(&format!("/departments/{OURS}/volumes/data"))
            .await?;
        browser.inspect("volume").await?;
        browser.close().await
    })
}

fn volume_life(desk: &Desk) -> Result<()> {
    let gone = |path: String| {
        desk.until("what was deleted to be gone", async || {
            match desk.get(ADMINISTRATOR, &path).await {
                Ok(answer) if answer.status == 404 => Look::Holds(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
    };
    desk.run(async {
        let made = desk.post(
            ADMINISTRATOR,
            &format!("{OURS}/volumes"),
            &new_volume("archive"),
        );
        made.await?.expect(201)?;
        let browser = Browser::open(desk, Screen::Desktop).await?;
        browser.sign_in(desk, ADMINISTRATOR).await?;
        let at = |rest: &str| format!("/departments/{OURS}{rest}");
        let take = "form[action$='/snapshots'] button[type=submit]";
        browser.go(&at("/volumes/archive")).await?;
        browser.inspect("volume-kept").await?;
        // A name is proposed; another one that is none is refused, and stays to be put right.
        let proposed = browser
            .run("return document.getElementById('snapshot').value")
            .await?;
        let proposed = proposed.as_str().unwrap_or_default();
        ensure!(proposed.starts_with("archive-20"), "{proposed}");
        browser.fill("#snapshot", SCRIPT).await?;
        browser.click_away(take).await?;
        browser.find(".refusal").await?;
        browser.inspect("snapshot-refused").await?;
        unharmed(&browser).await?;
        browser.fill("#snapshot", "before-change").await?;
        browser.click_away(take).await?;
        ensure!(browser.path().await? == at("/snapshots/before-change"));
        browser.inspect("snapshot").await?;
        browser
            .click_away("dl.facts a[href$='/volumes/archive']")
            .await?;
        browser.find("a[href$='/snapshots/before-change']").await?;

        browser.fill("#size", "3").await?;
        browser
            .click_away("form[action$='/size'] button[type=submit]")
            .await?;
        browser.until_says("dl.facts", "3Gi").await?;

        // Deleted by its name alone.
        browser.click("details > summary").await?;
        browser.fill("#confirm", "archiv").await?;
        browser.inspect("volume-to-be-deleted").await?;
        browser.click_away("button.danger").await?;
        browser.find(".refusal").await?;
        let there = desk.get(ADMINISTRATOR, &format!("{OURS}/volumes/archive"));
        ensure!(there.await?.expect(200)?["phase"] == "Present");
        browser.fill("#confirm", "archive").await?;
        browser.click_away("button.danger").await?;
        ensure!(browser.path().await? == at("/volumes"));

        browser.go(&at("/snapshots/before-change")).await?;
        browser.click("details > summary").await?;
        browser.click_away("button.danger").await?;
        ensure!(browser.path().await? == at("/volumes"));
        browser.close().await
    })?;
    for path in ["volumes/archive", "volumesnapshots/before-change"] {
        gone(format!("{OURS}/{path}"))?;
    }
    // A whole machine, on a phone, in English.
    desk.run(async {
        let browser = Browser::open(desk, Screen::Phone).await?;
        browser.sign_in(desk, ADMINISTRATOR).await?;
        browser.click("a[hreflang=en]").await?;
        browser.find("html[lang=en]").await?;
        let at = |rest: &str| format!("/departments/{OURS}{rest}");
        browser.go(&at("/volumes/data")).await?;
        browser.click("details > summary").await?;
        browser.inspect("english-volume-kept").await?;
        browser.go(&at("/machines/web-1")).await?;
        browser.fill("#snapshot", "whole").await?;
        browser
            .click_away("form[action$='/snapshots'] button[type=submit]")
            .await?;
        browser.find("dl.facts a[href$='/machines/web-1']").await?;
        browser.click("details > summary").await?;
        browser.inspect("english-snapshot").await?;
        browser.click_away("button.danger").await?;
        browser.close().await
    })?;
    gone(format!("{OURS}/volumesnapshots/whole"))
}

fn phone(desk: &Desk) -> Result<()> {
    desk.run(async {
        let browser = Browser::open(desk, Screen::Phone).await?;
        browser.go("/").await?;
        browser.inspect("way-in").await?;
        browser.click("a[hreflang=en]").await?;
        browser.find("html[lang=en]").await?;
        browser.sign_in(desk, ADMINISTRATOR).await?;
        for (name, path) in [
            ("overview", ""),
            ("form", "/requests/new"),
            ("requests", "/requests"),
            ("approvals", "/approvals"),
            ("machines", "/machines"),
            ("machine", "/machines/web-1"),
            ("volumes", "/volumes"),
            ("volume", "/volumes/data"),
            ("nothing", "/machines/no-such-object"),
        ] {
            browser.go(&format!("/departments/{OURS}{path}")).await?;
            browser.find("html[lang=en]").await?;
            browser.inspect(&format!("english-{name}")).await?;
            let said = browser.all_text().await?;
            if said.contains("Máy ảo") || said.contains("Yêu cầu") {
                bail!("{name} is not in English: {said}");
            }
        }
        // By the keyboard: the first stop leads to the content.
        browser.go(&format!("/departments/{OURS}")).await?;
        let first = browser
            .run("const first = document.querySelector('a, button'); return first.className")
            .await?;
        ensure!(first == "skip", "{first}");
        browser.close().await
    })
}
