//! Signing in from a terminal: the device flow (RFC 8628). The token is kept in a file that its
//! owner alone may read.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::{encoded, http};

#[derive(clap::Args)]
pub struct Args {
    /// The identity provider.
    #[arg(long, env = "DCCTL_ISSUER")]
    issuer: String,
    #[arg(long, env = "DCCTL_CLIENT_ID", default_value = "dc-api")]
    client_id: String,
    #[arg(long, default_value = "openid email")]
    scopes: String,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    token: String,
    /// Seconds of the Unix epoch.
    expires: i64,
}

fn file() -> Result<PathBuf> {
    let folder = match (
        std::env::var_os("XDG_CONFIG_HOME"),
        std::env::var_os("HOME"),
    ) {
        (Some(config), _) => PathBuf::from(config),
        (None, Some(home)) => PathBuf::from(home).join(".config"),
        (None, None) => bail!("where to keep the token? set HOME"),
    };
    Ok(folder.join("dcctl/token.json"))
}

/// The token of whoever has signed in; DCCTL_TOKEN comes first, for programs.
pub fn token() -> Result<String> {
    if let Ok(token) = std::env::var("DCCTL_TOKEN") {
        return Ok(token);
    }
    let text = std::fs::read(file()?).context("nobody has signed in: dcctl login")?;
    let Kept { token, expires } = serde_json::from_slice(&text)?;
    if expires <= jiff::Timestamp::now().as_second() {
        bail!("the token has expired: dcctl login");
    }
    Ok(token)
}

pub fn logout() -> Result<()> {
    match std::fs::remove_file(file()?) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn keep(kept: &Kept) -> Result<()> {
    let file = file()?;
    let folder = file.parent().context("a file lies in a folder")?;
    std::fs::create_dir_all(folder)?;
    // Whole or not at all, and never readable by others.
    let new = file.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut options = std::fs::OpenOptions::new();
    let mut open = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    open.write_all(&serde_json::to_vec(kept)?)?;
    open.sync_all()?;
    Ok(std::fs::rename(new, file)?)
}

#[derive(Deserialize)]
struct Discovery {
    device_authorization_endpoint: Option<String>,
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Device {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

pub async fn login(args: &Args, ca: Option<&Path>) -> Result<()> {
    let http = http(ca)?;
    let issuer = args.issuer.trim_end_matches('/');
    let at = format!("{issuer}/.well-known/openid-configuration");
    let found = http.get(&at).send().await?.error_for_status()?;
    let found: Discovery = found.json().await?;
    let device = found.device_authorization_endpoint;
    let device = device.context("the provider has no sign-in for devices")?;
    let asked = [
        ("client_id", args.client_id.as_str()),
        ("scope", &args.scopes),
    ];
    let begun: Device = serde_json::from_value(post(&http, &device, &asked).await?)
        .context("the provider does not begin a sign-in")?;
    eprintln!("{}: {}", begun.verification_uri, begun.user_code);
    if let Some(whole) = &begun.verification_uri_complete {
        eprintln!("{whole}");
    }
    let token = wait(&http, &found.token_endpoint, &args.client_id, &begun).await?;
    let expires = expiry(&token).context("the provider's token says nothing of its end")?;
    keep(&Kept { token, expires })
}

async fn post(http: &Client, at: &str, fields: &[(&str, &str)]) -> Result<Value> {
    let kind = "application/x-www-form-urlencoded";
    let request = http.post(at).header("content-type", kind);
    let answer = request.body(encoded(fields)).send().await?;
    Ok(answer.json().await?)
}

/// Asks as often as the provider lets, until somebody has let us in or it is too late.
async fn wait(http: &Client, at: &str, client: &str, begun: &Device) -> Result<String> {
    let mut pause = begun.interval.unwrap_or(5).max(1);
    let mut left = begun.expires_in;
    while left > 0 {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        left = left.saturating_sub(pause);
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", begun.device_code.as_str()),
            ("client_id", client),
        ];
        let answer = post(http, at, &fields).await?;
        if let Some(token) = answer["id_token"].as_str() {
            return Ok(token.to_owned());
        }
        match answer["error"].as_str().unwrap_or_default() {
            "authorization_pending" => {}
            "slow_down" => pause += 5,
            other => bail!("the provider lets nobody in: {other}"),
        }
    }
    bail!("nobody has signed in in time: dcctl login")
}

/// The time a token ends. It is not believed here: the API checks it.
fn expiry(token: &str) -> Option<i64> {
    let claims = token.split('.').nth(1)?;
    let bytes = decode(claims)?;
    let claims: Value = serde_json::from_slice(&bytes).ok()?;
    claims["exp"].as_i64()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_token_is_read_from_it() {
        // {"exp":42}
        assert_eq!(expiry("e30.eyJleHAiOjQyfQ.x"), Some(42));
        assert_eq!(expiry("no token"), None);
    }
}
