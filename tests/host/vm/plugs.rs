//! Disks come to a running guest and go, by real libvirt, QEMU and tgt.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use dc_agent_core::vm::xml::disk::serial;
use dc_agent_core::vm::xml::slots::SPARE_SLOTS;
use dc_lab::wait::{self, Look};
use dc_types::plan::{DiskItem, DiskSource, Firmware, Secret};
use dc_types::report::{Guest, ItemState};
use dc_types::{Bytes, InstanceId, MiB};
use uuid::Uuid;

use super::order::{DEADLINE, Looked, Order};
use super::{carrier, qemu};
use crate::carrier::Carrier;

/// Says every second which disks it has, and marks each that is not its first or its seed.
pub const TELLER: &str = "#!/bin/sh
while :; do
    line=
    for disk in /sys/block/vd*; do
        serial=$(cat $disk/serial 2>/dev/null) || continue
        line=\"$line $serial\"
        case $disk in */vda) continue;; esac
        [ $serial = cidata ] || echo \"marked by $serial\" >/dev/${disk##*/}
    done
    sync
    echo \"has$line end\" >/dev/console
    sleep 1
done &
";

/// What was written begins so.
fn mark(disk: &DiskItem) -> String {
    format!("marked by {}", serial(disk))
}

fn another(order: &Order, number: u128) -> DiskItem {
    DiskItem {
        volume: InstanceId(Uuid::from_u128(
            (0xd15c_0000_0000_4000_8000_0000_0000_0000 | number) ^ (number << 96),
        )),
        name: format!("data-{number}"),
        size: Bytes(32 << 20),
        ..order.vm.disks[0].clone()
    }
}

fn file(carrier: &Carrier, disk: &DiskItem) -> Result<PathBuf> {
    let folder = carrier.machine.folder("volumes")?;
    Ok(folder.join(disk.volume.to_string()))
}

pub fn is_as_asked(looked: &Looked) -> bool {
    looked.guest == Guest::Running && looked.state == ItemState::Ready
}

/// Waits until the guest says, from now on, that it has just these disks beside its seed.
pub async fn has(carrier: &Carrier, order: &Order, disks: &[&DiskItem]) -> Result<()> {
    let mut wanted: Vec<String> = disks.iter().map(|disk| serial(disk)).collect();
    wanted.push("cidata".into());
    wanted.sort();
    wait::until("the guest's disks", DEADLINE, async || {
        let console = carrier.console(order.vm.vm);
        let last = console
            .lines()
            .filter_map(|line| line.trim().strip_prefix("has ")?.strip_suffix(" end"))
            .next_back();
        let mut seen: Vec<&str> = last.unwrap_or_default().split_whitespace().collect();
        seen.sort_unstable();
        match seen == wanted {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{seen:?}, not {wanted:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_disk_comes_to_a_running_guest_and_goes_and_comes_again() -> Result<()> {
    let (carrier, mut order) = carrier("plug").await?;
    let tools = carrier.tools().await?;
    order.vm.seed.user_data = Secret(TELLER.into());
    order
        .settle(&carrier, &tools, "the guest runs", is_as_asked)
        .await?;
    let first = order.vm.disks[0].clone();
    has(&carrier, &order, &[&first]).await?;
    let before = qemu(&carrier, &order)?;

    // Its storage has not granted it yet: it is refused, and nothing else comes of that.
    let mut disk = another(&order, 2);
    order.vm.disks.push(disk.clone());
    let steps = order.plan(&carrier, &tools).await?;
    ensure!(
        steps.last().map(|step| step.name()) == Some("plug"),
        "{steps:?}"
    );
    let mut refused = None;
    for step in steps {
        refused = order.apply(&carrier, &tools, step).await.err().or(refused);
    }
    let refused = refused.context("it was attached without a grant")?;
    ensure!(refused.to_string().contains("DiskNotOpened"), "{refused:#}");
    let looked = order.look(&carrier, &tools).await?;
    ensure!(looked.reason() == "DiskPlugs", "{looked:?}");

    // An agent that was not there before goes on.
    let tools = carrier.tools().await?;
    carrier.make_target(2, &disk)?;
    order
        .settle(&carrier, &tools, "the disk is there", is_as_asked)
        .await?;
    has(&carrier, &order, &[&first, &disk]).await?;

    order.vm.disks.pop();
    order
        .settle(&carrier, &tools, "the guest has let go", is_as_asked)
        .await?;
    has(&carrier, &order, &[&first]).await?;
    let sessions = carrier.run("tgtadm --lld iscsi --op show --mode conn --tid 2")?;
    ensure!(!sessions.contains("Session"), "{sessions}");
    let secrets = carrier.run("virsh -q secret-list")?;
    ensure!(secrets.lines().count() == 1, "{secrets}");
    let bytes = std::fs::read(file(&carrier, &disk)?)?;
    ensure!(
        bytes.starts_with(mark(&disk).as_bytes()),
        "what it wrote is lost"
    );

    // Given back, and granted to the same machine anew.
    carrier.fence(2, &disk)?;
    disk.grant.revision += 1;
    carrier.make_target(3, &disk)?;
    order.vm.disks.push(disk.clone());
    let looked = order.settle(&carrier, &tools, "it is there again", is_as_asked);
    ensure!(looked.await?.last_stop.is_none(), "the guest was stopped");
    has(&carrier, &order, &[&first, &disk]).await?;
    ensure!(qemu(&carrier, &order)? == before, "another QEMU runs");
    ensure!(order.plan(&carrier, &tools).await?.is_empty());

    // A start has the same disks.
    order.vm.restart = "again".into();
    order
        .settle(&carrier, &tools, "the guest was restarted", |looked| {
            is_as_asked(looked) && looked.last_stop.is_some()
        })
        .await?;
    order.console_says(&carrier, 2, "has ").await?;
    has(&carrier, &order, &[&first, &disk]).await
}

/// The firmware finds nothing to boot, and answers nobody.
#[tokio::test]
async fn a_machine_takes_six_disks_and_one_that_its_guest_keeps_goes_with_a_restart() -> Result<()>
{
    let (carrier, mut order) = carrier("ports").await?;
    let tools = carrier.tools().await?;
    order.vm.firmware = Firmware::Uefi;
    order.vm.memory = MiB(256);
    order.vm.stop_deadline_s = 0;
    order
        .settle(&carrier, &tools, "the firmware runs", |looked| {
            looked.guest == Guest::Running
        })
        .await?;
    let before = qemu(&carrier, &order)?;
    let ports = u128::try_from(SPARE_SLOTS)?;
    for number in 2..=ports + 2 {
        let mut disk = another(&order, number);
        let path = file(&carrier, &disk)?;
        File::create(&path)?.set_len(disk.size.0)?;
        disk.source = DiskSource::File {
            path: path.display().to_string(),
        };
        order.vm.disks.push(disk);
    }
    let full = order.settle(&carrier, &tools, "its ports are full", |looked| {
        looked.reason() == "RestartNeeded"
    });
    let full = full.await?;
    let domain = full.seen.domains.values().next().context("no domain")?;
    // The first and the seed beside them.
    ensure!(domain.disks.len() == SPARE_SLOTS + 2, "{:?}", domain.disks);
    ensure!(domain.free_slots == Some(0), "{domain:?}");
    ensure!(full.state.clone() != ItemState::Ready);

    let kept = order.vm.disks.remove(1);
    let held = order.settle(&carrier, &tools, "it is kept", |looked| {
        looked.reason() == "DiskHeld"
    });
    let held = held.await?;
    let domain = held.seen.domains.values().next().context("no domain")?;
    ensure!(domain.disks.contains_key(&serial(&kept)), "{domain:?}");
    ensure!(domain.metadata.grants.contains_key(&kept.volume));
    ensure!(qemu(&carrier, &order)? == before, "another QEMU runs");

    order.vm.restart = "without it".into();
    let restarted = order.settle(&carrier, &tools, "it was restarted", |looked| {
        looked.state == ItemState::Ready && looked.guest == Guest::Running
    });
    let restarted = restarted.await?;
    let domain = restarted
        .seen
        .domains
        .values()
        .next()
        .context("no domain")?;
    ensure!(!domain.disks.contains_key(&serial(&kept)), "{domain:?}");
    ensure!(domain.disks.len() == order.vm.disks.len() + 1, "{domain:?}");
    ensure!(domain.free_slots == Some(SPARE_SLOTS), "{domain:?}");
    Ok(())
}
