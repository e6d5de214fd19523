//! Too much, too deep, too slow, too often.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Make;
use super::desk::{ADMINISTRATOR, ARGS, DEADLINE, Desk, OURS, send};

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial("a_body_of_10_mb_is_refused_before_it_is_read", large),
        trial("deep_nesting_is_refused_and_hurts_nobody", deep),
        trial("a_client_that_sends_slowly_is_sent_away", slow),
    ]
}

pub fn trials_that_restart_the_api(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial("an_address_that_keeps_guessing_is_slowed_down", guessing),
        trial("a_user_who_asks_too_often_is_told_when_to_come_back", often),
    ]
}

/// curl, which waits for the server's consent before it sends a large body. The token goes in by a
/// file: arguments are for everybody to see.
fn curl(desk: &Desk, dir: &std::path::Path) -> Result<Command> {
    let token = desk.run(desk.token(ADMINISTRATOR))?;
    let config = dir.join("curl.conf");
    std::fs::write(
        &config,
        format!("header = \"Authorization: Bearer {token}\"\n"),
    )?;
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--no-progress-meter",
        "--show-error",
        "--noproxy",
        "*",
        "--output",
        "/dev/null",
    ]);
    command.args(["--write-out", "%{http_code}", "--request", "POST"]);
    command.args(["--header", "Content-Type: application/json"]);
    command
        .arg("--cacert")
        .arg(&desk.dex.ca)
        .arg("--config")
        .arg(config);
    command.arg(format!("{}/api/v1/departments/{OURS}/volumes", desk.url()));
    Ok(command)
}

fn large(desk: &Desk) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let body = dir.path().join("body");
    std::fs::write(&body, vec![b' '; 10 * 1024 * 1024])?;
    let mut told = curl(desk, dir.path())?;
    let told = told
        .arg("--data-binary")
        .arg(format!("@{}", body.display()))
        .output()?;
    ensure!(told.stdout == b"413", "{told:?}");
    Ok(())
}

fn deep(desk: &Desk) -> Result<()> {
    desk.run(async {
        for body in [
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            format!(
                "{{\"name\":{}1{}",
                "{\"a\":".repeat(20_000),
                "}".repeat(20_001)
            ),
        ] {
            let asked = desk
                .ask(ADMINISTRATOR, Method::POST, &format!("{OURS}/volumes"))
                .await?;
            let asked = asked.header("content-type", "application/json").body(body);
            let answer = send(asked).await?;
            ensure!([400, 422].contains(&answer.status.as_u16()), "{answer:?}");
        }
        desk.get(ADMINISTRATOR, &format!("{OURS}/volumes"))
            .await?
            .expect(200)
            .map(drop)
    })
}

fn slow(desk: &Desk) -> Result<()> {
    // A body that begins and never goes on.
    let dir = tempfile::tempdir()?;
    let mut curl = curl(desk, dir.path())?;
    curl.args(["--upload-file", "."])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = curl.spawn()?;
    let mut input = child.stdin.take().context("it was piped")?;
    input.write_all(b"{\"name\":")?;
    input.flush()?;
    let mut said = String::new();
    let mut output = child.stdout.take().context("it was piped")?;
    std::io::Read::read_to_string(&mut output, &mut said)?;
    drop(input);
    child.wait()?;
    ensure!(said == "408", "{said}");
    // A connection that never says anything, and one that never ends its greeting.
    desk.run(async {
        for beginning in [&b""[..], &b"\x16\x03\x01"[..]] {
            let address = desk.url().replace("https://", "");
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(beginning).await?;
            let mut rest = Vec::new();
            let closed = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
            ensure!(closed.is_ok(), "the connection is kept open");
        }
        Ok(())
    })
}

fn guessing(desk: &Desk) -> Result<()> {
    desk.restart_api(&["--stranger-rate", "1", "--stranger-burst", "5"])?;
    desk.run(async {
        let url = format!("{}/api/v1/departments", desk.url());
        // More than the burst, faster than the rate.
        for _ in 0..100 {
            let asked = (0..20).map(|_| send(desk.client.get(&url).bearer_auth("guess")));
            for answer in futures::future::try_join_all(asked).await? {
                if answer.status == 429 {
                    answer.expect_problem(429, "too-many")?;
                    let after: u64 = answer.header("retry-after").parse()?;
                    ensure!(after >= 1);
                    // Who signs in from the same address is served.
                    let path = format!("{OURS}/volumes");
                    return desk.get(ADMINISTRATOR, &path).await?.expect(200).map(drop);
                }
            }
        }
        anyhow::bail!("2000 guesses were all answered")
    })
}

fn often(desk: &Desk) -> Result<()> {
    desk.restart_api(&["--rate", "1", "--burst", "5"])?;
    desk.run(async {
        let path = format!("{OURS}/volumes");
        let asked = (0..50).map(|_| desk.get(ADMINISTRATOR, &path));
        let answers = futures::future::try_join_all(asked).await?;
        let refused = answers.iter().find(|answer| answer.status == 429);
        let refused = refused.context("50 requests at once were all answered")?;
        refused.expect_problem(429, "too-many")?;
        ensure!(refused.header("retry-after").parse::<u64>()? >= 1);
        Ok(())
    })?;
    desk.restart_api(&ARGS)
}
