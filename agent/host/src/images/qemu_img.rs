//! qemu-img, told the format, with limits, and without our environment.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dc_types::Bytes;
use dc_types::plan::ImageFormat;
use serde::Deserialize;
use tokio::process::Command;

use super::ImagesError;

const INFO_LIMIT: Duration = Duration::from_secs(30);
/// A full 100 GiB disk at 60 MB/s.
const CONVERT_LIMIT: Duration = Duration::from_secs(30 * 60);
/// qemu-img takes under 300 MB for any image; one made to blow it up ends here.
const MEMORY_LIMIT: u64 = 2 << 30;

/// What is taken from `qemu-img info`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    format: String,
    virtual_size: u64,
    #[serde(default)]
    backing_filename: Option<String>,
    #[serde(default)]
    encrypted: bool,
    #[serde(default)]
    format_specific: Option<Specific>,
}

#[derive(Debug, Deserialize)]
struct Specific {
    #[serde(default)]
    data: Data,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Data {
    #[serde(default)]
    data_file: Option<String>,
    #[serde(default)]
    corrupt: bool,
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Raw => "raw",
        ImageFormat::Qcow2 => "qcow2",
    }
}

/// The size of the disk in a file, when qemu-img too finds nothing wrong with it.
pub async fn read_info(file: &Path, format: ImageFormat) -> Result<Bytes, ImagesError> {
    let mut command = qemu_img(INFO_LIMIT);
    command.args(["info", "-f", name(format), "--output=json"]);
    command.arg(file);
    let text = run("info", command, INFO_LIMIT).await?;
    check_info(&text, format)
}

fn check_info(text: &[u8], format: ImageFormat) -> Result<Bytes, ImagesError> {
    let info: Info = serde_json::from_slice(text).map_err(|error| ImagesError::QemuImg {
        what: "info",
        why: format!("its answer cannot be read: {error}"),
    })?;
    if info.format != name(format) {
        return Err(ImagesError::FormatMismatch(format!(
            "the image is said to be {} and qemu-img finds {}",
            name(format),
            info.format
        )));
    }
    let data = info.format_specific.map(|specific| specific.data);
    let data = data.unwrap_or_default();
    if let Some(file) = info.backing_filename.or(data.data_file) {
        return Err(ImagesError::NeedsAnotherFile(file));
    }
    if info.encrypted {
        return Err(ImagesError::Encrypted);
    }
    if data.corrupt {
        return Err(ImagesError::FormatMismatch(
            "the image is marked corrupt: see qemu-img check".to_owned(),
        ));
    }
    Ok(Bytes(info.virtual_size))
}

/// Writes the disk in `file` to `to` as a sparse raw file.
pub async fn convert(file: &Path, format: ImageFormat, to: &Path) -> Result<(), ImagesError> {
    let mut command = qemu_img(CONVERT_LIMIT);
    // Runs of 4 KiB of zeros, a block of the file system, become holes.
    command.args(["convert", "-f", name(format), "-O", "raw", "-S", "4k"]);
    command.arg(file).arg(to);
    run("convert", command, CONVERT_LIMIT).await.map(drop)
}

fn qemu_img(limit: Duration) -> Command {
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--as={MEMORY_LIMIT}"))
        .arg(format!("--cpu={}", limit.as_secs()))
        .arg("--core=0")
        .args(["--", "qemu-img"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(
    what: &'static str,
    mut command: Command,
    limit: Duration,
) -> Result<Vec<u8>, ImagesError> {
    let output = match tokio::time::timeout(limit, command.output()).await {
        Ok(output) => output.map_err(ImagesError::NoQemuImg)?,
        Err(_) => {
            let why = format!("it took more than {} s", limit.as_secs());
            return Err(ImagesError::QemuImg { what, why });
        }
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = match said.trim() {
        "" => output.status.to_string(),
        said => said.chars().take(500).collect(),
    };
    Err(ImagesError::QemuImg { what, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_qemu_img_finds_is_checked_too() {
        let good = br#"{"virtual-size": 1073741824, "format": "qcow2",
            "format-specific": {"type": "qcow2", "data": {"compat": "1.1", "corrupt": false}}}"#;
        assert_eq!(
            check_info(good, ImageFormat::Qcow2).unwrap(),
            Bytes(1 << 30)
        );
        let bad: [(&[u8], &str); 5] = [
            (
                br#"{"virtual-size": 1, "format": "qcow2", "backing-filename": "/etc/shadow"}"#,
                "/etc/shadow",
            ),
            (
                br#"{"virtual-size": 1, "format": "qcow2",
                     "format-specific": {"type": "qcow2", "data": {"data-file": "/dev/sda"}}}"#,
                "/dev/sda",
            ),
            (
                br#"{"virtual-size": 1, "format": "qcow2", "encrypted": true}"#,
                "encrypted",
            ),
            (br#"{"virtual-size": 1, "format": "raw"}"#, "finds raw"),
            (b"{", "cannot be read"),
        ];
        for (text, why) in bad {
            let told = check_info(text, ImageFormat::Qcow2)
                .unwrap_err()
                .to_string();
            assert!(told.contains(why), "{told}");
        }
    }
}
