//! A disk grows under a guest that writes a counter: the guest sees the new size, and loses nothing.
//!
//! The storage's half is done here by hand, in the order in which the storage's agent does it.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use dc_lab::wait::{self, Look};
use dc_types::Bytes;
use dc_types::plan::{DiskItem, DiskSource, Formatted, LUKS_HEADER};
use dc_types::report::{Guest, ItemState};

use super::luks::{KEY, formatted_by_hand, luks};
use super::moves::{DATA, Desk};
use super::order::DEADLINE;
use super::stalls::Watch;

/// Writes for as long as it runs, and says how large its disk is.
pub const WRITER: &str = "#!/bin/sh
counter write /dev/vdb - 20000 >/dev/console 2>&1 &
while :; do echo \"vdb has $(blockdev --getsize64 /dev/vdb)\" >/dev/console; sleep 1; done &
";

pub const GROWN: Bytes = Bytes(192 << 20);

impl Desk {
    /// Waits until the guest says, from now on, that its disk has so much.
    pub async fn sees(&self, size: Bytes) -> Result<()> {
        let said = |console: &str| {
            let mut lines = console.lines().filter_map(|line| {
                let of = line.trim().strip_prefix("vdb has ")?;
                of.parse::<u64>().ok()
            });
            lines.next_back()
        };
        let what = format!("the guest to see {size}");
        wait::until(&what, DEADLINE, async || {
            let console = self.carrier.console(self.order.vm.vm);
            match said(&console) {
                Some(last) if last == size.0 => Look::Holds(()),
                last => Look::NotYet(format!("{last:?}")),
            }
        })
        .await
    }

    /// What comes of the step that tells the guest, and of that alone.
    async fn try_resize(&self) -> Result<Result<()>> {
        let steps = self.order.plan(&self.carrier, &self.tools).await?;
        let mut steps = steps.into_iter();
        let resize = steps.find(|step| step.name() == "resize");
        let step = resize.context("it is not to be told")?;
        Ok(self.order.apply(&self.carrier, &self.tools, step).await)
    }

    pub async fn tell(&mut self, size: Bytes) -> Result<()> {
        self.order.vm.disks[DATA].size = size;
        let tools = self.carrier.tools().await?;
        let settled = self
            .order
            .settle(&self.carrier, &tools, "the guest is told", |looked| {
                looked.state == ItemState::Ready && looked.guest == Guest::Running
            });
        settled.await?;
        ensure!(self.order.plan(&self.carrier, &tools).await?.is_empty());
        Ok(())
    }

    /// The guest writes on, and all that it has said to have written is there after its next start.
    pub async fn keeps(&mut self) -> Result<()> {
        let written = self.last_written()?;
        self.wrote(1, written + 30).await?;
        let written = self.last_written()?;
        let read = self.read_back(2).await?;
        ensure!(read >= written, "{read} of {written} records are there");
        Ok(())
    }
}

#[tokio::test]
async fn a_disk_over_iscsi_grows_under_a_guest_that_writes() -> Result<()> {
    let mut desk = Desk::writing("grow-san", WRITER, |_, _| Ok(())).await?;
    desk.sees(desk.first.size).await?;
    let qemu = desk.qemu()?;
    let file = desk.file(desk.first.volume)?;
    File::options().write(true).open(&file)?.set_len(GROWN.0)?;
    // Its target shows the size of before until it is made anew: told too early, QEMU refuses.
    desk.order.vm.disks[DATA].size = GROWN;
    let told = desk.try_resize().await?;
    ensure!(told.is_err(), "it grew by what its storage does not show");
    let rest = Watch::begin(vec![file.clone()]);
    let before = desk.last_written()?;
    desk.wrote(1, before + 10).await?;

    rest.tell("of iscsi, nothing done")?;

    let stall = Watch::begin(vec![file.clone()]);
    desk.carrier.fence(2, &desk.first)?;
    desk.carrier.make_target(7, &desk.first)?;
    // It comes back by itself, before it is told of anything.
    let before = desk.last_written()?;
    desk.wrote(1, before + 10).await?;
    // An agent that was not there meanwhile tells it.
    desk.tell(GROWN).await?;
    desk.sees(GROWN).await?;
    stall.tell("of iscsi, while it grew")?;
    ensure!(desk.qemu()? == qemu, "another QEMU runs");
    let looked = desk.order.look(&desk.carrier, &desk.tools).await?;
    let mut domains = looked.seen.domains.values();
    let mut disks = domains.next().context("no domain")?.disks.values();
    let disk = disks.find(|disk| disk.device == "vdb").context("no disk")?;
    let counts = disk.counts.context("nothing is counted of it")?;
    ensure!(counts.operations > 0 && counts.bytes > 0, "{counts:?}");
    desk.keeps().await
}

#[tokio::test]
async fn a_disk_in_a_file_grows_under_a_guest_that_writes_and_never_before_its_file() -> Result<()>
{
    let mut path = None;
    let mut desk = Desk::writing("grow-file", WRITER, |carrier, disk: &mut DiskItem| {
        let file = carrier.machine.folder("volumes")?.join("grows");
        File::create(&file)?.set_len(disk.size.0)?;
        disk.source = DiskSource::File {
            path: file.display().to_string(),
        };
        path = Some(file);
        Ok(())
    })
    .await?;
    let file = path.expect("it was made");
    desk.sees(desk.first.size).await?;
    desk.order.vm.disks[DATA].size = GROWN;
    let told = desk.try_resize().await?;
    ensure!(told.is_err(), "QEMU has made the file longer");
    ensure!(file.metadata()?.len() == desk.first.size.0);
    let stall = Watch::begin(vec![file.clone()]);
    File::options().write(true).open(&file)?.set_len(GROWN.0)?;
    desk.tell(GROWN).await?;
    desk.sees(GROWN).await?;
    stall.tell("of directory, while it grew")?;
    desk.keeps().await
}

#[tokio::test]
async fn an_encrypted_disk_over_iscsi_grows_behind_its_header_under_a_guest_that_writes()
-> Result<()> {
    let mut desk = Desk::writing("grow-luks", WRITER, |carrier, disk| {
        let volumes = carrier.machine.folder("volumes")?;
        disk.luks = luks(KEY, Formatted::Done);
        formatted_by_hand(&volumes.join(disk.volume.to_string()), disk.size)
    })
    .await?;
    desk.sees(desk.first.size).await?;
    let qemu = desk.qemu()?;
    let file = desk.file(desk.first.volume)?;
    let whole = GROWN.0 + LUKS_HEADER.0;
    File::options().write(true).open(&file)?.set_len(whole)?;
    desk.order.vm.disks[DATA].size = GROWN;
    let told = desk.try_resize().await?;
    ensure!(told.is_err(), "it grew by what its storage does not show");
    let stall = Watch::begin(vec![file.clone()]);
    desk.carrier.fence(2, &desk.first)?;
    desk.carrier.make_target(7, &desk.first)?;
    desk.tell(GROWN).await?;
    desk.sees(GROWN).await?;
    stall.tell("of an encrypted one over iscsi, while it grew")?;
    ensure!(
        file.metadata()?.len() == whole,
        "QEMU has changed the volume's size"
    );
    ensure!(desk.qemu()? == qemu, "another QEMU runs");
    desk.keeps().await
}

#[tokio::test]
async fn an_encrypted_disk_in_a_file_grows_only_when_its_file_has_room_for_the_header_too()
-> Result<()> {
    let mut path = None;
    let mut desk = Desk::writing("grow-lukf", WRITER, |carrier, disk: &mut DiskItem| {
        let file = carrier.machine.folder("volumes")?.join("grows");
        formatted_by_hand(&file, disk.size)?;
        disk.luks = luks(KEY, Formatted::Done);
        disk.source = DiskSource::File {
            path: file.display().to_string(),
        };
        path = Some(file);
        Ok(())
    })
    .await?;
    let file = path.expect("it was made");
    desk.sees(desk.first.size).await?;
    desk.order.vm.disks[DATA].size = GROWN;
    File::options().write(true).open(&file)?.set_len(GROWN.0)?;
    let told = desk.try_resize().await?;
    ensure!(told.is_err(), "QEMU has made the file longer by the header");
    ensure!(file.metadata()?.len() == GROWN.0);
    let whole = GROWN.0 + LUKS_HEADER.0;
    File::options().write(true).open(&file)?.set_len(whole)?;
    desk.tell(GROWN).await?;
    desk.sees(GROWN).await?;
    ensure!(
        file.metadata()?.len() == whole,
        "QEMU has changed the volume's size"
    );
    desk.keeps().await
}
