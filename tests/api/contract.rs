//! The OpenAPI document as a contract: schemathesis sends what it allows and what it does not, and
//! compares the answers with it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use dc_lab::cache::Cache;
use dc_lab::progress;
use libtest_mimic::Trial;

use super::Make;
use super::desk::{ADMINISTRATOR, Desk};

/// Pinned, as every tool.
const VERSION: &str = "4.32.5";

/// What schemathesis cannot know of a department, and of rules that are no part of a schema.
const CONFIG: &str = r#"
[headers]
Authorization = "${API_TOKEN_HEADER}"

[parameters]
"path.department" = "so-khcn"

[checks.positive_data_acceptance]
# 304: as you have it. 400: the token of a page is opaque. 422: rules of the control plane.
expected-statuses = ["2xx", "304", "400", "401", "403", "404", "409", "412", "422", "429"]

[checks.negative_data_rejection]
# 412: a condition that cannot be fulfilled, whatever else is wrong.
expected-statuses = ["400", "401", "403", "404", "405", "409", "412", "413", "415", "422", "429"]
"#;

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![trial("the_api_keeps_what_its_document_says", keeps)]
}

fn ensure_tool() -> Result<PathBuf> {
    let cache = Cache::from_env()?;
    cache.get_or_make("venv", &format!("schemathesis-{VERSION}"), |place| {
        let mut venv = Command::new("python3");
        progress::run(venv.args(["-m", "venv"]).arg(place))?;
        let mut pip = Command::new(place.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        progress::run(pip.arg(format!("schemathesis=={VERSION}"))).map(drop)
    })
}

fn keeps(desk: &Desk) -> Result<()> {
    let venv = ensure_tool()?;
    let dir = tempfile::tempdir()?;
    let token = desk.run(desk.token(ADMINISTRATOR))?;
    std::fs::write(dir.path().join("schemathesis.toml"), CONFIG)?;
    // The folder was renamed after it was made, so its scripts name another interpreter.
    let mut command = Command::new(venv.join("bin/python"));
    command.current_dir(dir.path());
    command.env("API_TOKEN_HEADER", format!("Bearer {token}"));
    command.args(["-m", "schemathesis.cli", "run"]);
    command.arg(format!("{}/api/v1/openapi.json", desk.url()));
    command.arg("--tls-verify").arg(&desk.dex.ca);
    command.args(["--checks", "all", "--seed", "1", "--max-examples", "20"]);
    // A deleted object is there until hosts have given back what it holds, and a stream of changes
    // has no end.
    command.args(["--exclude-checks", "use_after_free"]);
    command.args(["--exclude-operation-id", "changes.follow"]);
    // A connection that is kept open may be closed just when it is used again.
    command.args(["--request-retries", "2"]);
    command.args(["--continue-on-failure", "--request-timeout", "60"]);
    let ran = command.output()?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stdout);
        let said: String = said.chars().take(20_000).collect();
        bail!("{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    }
    Ok(())
}
