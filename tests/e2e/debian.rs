//! A stock Debian guest, whose cloud-init does as its user-data says.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dc_lab::wait::{self, Look};

use crate::cast::{self, HEALTH};
use crate::centre::{Centre, DEADLINE};
use crate::guest::{Answer, Guest};
use crate::objects::{Wish, text};
use crate::ripe;

const NAME: &str = "y-app-debian";

/// cloud-init takes half a minute on an idle core, and here everyone shares two.
const BOOT: Duration = Duration::from_secs(400);

const USER_DATA: &str = r#"#cloud-config
hostname: y-app-debian
users:
  - name: admin
    shell: /bin/bash
write_files:
  - path: /srv/index.html
    content: |
      <written by "cloud-init" & read from outside>
runcmd:
  - [sh, -c, "systemd-run --working-directory=/srv python3 -m http.server --bind :: 8080"]
  - [sh, -c, "echo e2e: $(id -un admin) of $(hostname) has $(ls /srv) > /dev/ttyS0"]
"#;

/// Asks for it and does not wait: it boots while others are looked at.
pub fn ask(centre: &Centre) -> Result<()> {
    let wish = Wish {
        class: "small",
        image: "debian-12",
        // From BIOS it is booted by the tests of the image.
        firmware: "uefi",
        root_size: "4Gi",
        user_data: Some(USER_DATA.to_owned()),
        ..Wish::tiny(HEALTH, NAME, "internal")
    };
    centre.apply(vec![wish.render()])
}

pub fn user_data_is_applied(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    ask(centre)?;
    centre.block_on(async {
        let vm = ripe::ready(centre, "vm", HEALTH, NAME, DEADLINE).await?;
        let said = format!("e2e: admin of {NAME} has index.html");
        wait_for_line(centre, &vm, &said).await?;
        let mut addresses = Vec::new();
        for family in ["ipv4", "ipv6"] {
            let address = text(&vm, &format!("/status/interfaces/0/{family}"));
            addresses.push(address.with_context(|| format!("it has no {family}"))?);
        }
        let mut web = Guest::open(centre, HEALTH, "y-web-1").await?;
        // busybox' wget of the web server knows no IPv6 address in a URL.
        let targets = [
            format!("http http://{}:8080/", addresses[0]),
            format!("tcp {} 8080", addresses[1]),
        ];
        let answers = web.probe(&targets).await?;
        let page = r#"<written by "cloud-init" & read from outside>"#;
        ensure!(
            answers[0] == Answer::Open(page.to_owned()) && matches!(answers[1], Answer::Open(_)),
            "{targets:?} answered {answers:?}"
        );
        centre.delete("vm", HEALTH, NAME)?;
        ripe::gone(centre, "vm", HEALTH, NAME, DEADLINE).await
    })
}

/// Its console is kept in a file, so nothing is missed.
async fn wait_for_line(centre: &Centre, vm: &serde_json::Value, line: &str) -> Result<()> {
    let host = text(vm, "/status/host").context("it is on no host")?;
    let id = text(vm, "/status/instanceId").context("it has no id")?;
    let agent = centre.machine(&host)?.folder("agent")?;
    let log = agent.join("state/consoles").join(format!("{id}.log"));
    wait::until(
        &format!("{line:?} on its console"),
        BOOT,
        async || match std::fs::read(&log) {
            Ok(bytes) => {
                let said = String::from_utf8_lossy(&bytes);
                match said.contains(line) {
                    true => Look::Holds(()),
                    false => {
                        let end: String = said.chars().rev().take(2000).collect();
                        Look::NotYet(end.chars().rev().collect())
                    }
                }
            }
            Err(error) => Look::NotYet(format!("{}: {error}", log.display())),
        },
    )
    .await
}
