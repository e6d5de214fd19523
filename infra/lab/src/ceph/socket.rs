//! Asking a daemon by its control socket: at once, and without the `ceph` program, whose start takes
//! half a second of a processor.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A daemon that is up answers in a moment.
const ANSWER: Duration = Duration::from_secs(10);

/// The answer to a command such as `status`.
pub(super) fn ask(socket: &Path, command: &str) -> Result<Value> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("nobody listens at {}", socket.display()))?;
    stream.set_read_timeout(Some(ANSWER))?;
    let order = json!({ "prefix": command, "format": "json" }).to_string();
    // An order ends with a zero byte; an answer begins with its length.
    stream.write_all(order.as_bytes())?;
    stream.write_all(&[0])?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = Vec::new();
    stream
        .take(u32::from_be_bytes(length).into())
        .read_to_end(&mut answer)?;
    serde_json::from_slice(&answer).context("the daemon answers oddly")
}
