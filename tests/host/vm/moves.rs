//! A disk goes to other storage under a guest that writes a counter, by real libvirt, QEMU and tgt.

use anyhow::{Context, Result, ensure};
use dc_agent_core::names::domain_name;
use dc_agent_core::vm::xml::disk::source_name;
use dc_host::Tools;
use dc_lab::process::Identity;
use dc_types::plan::{DiskItem, DiskSource, Hold, Mirror, MirrorOrder, Secret};
use dc_types::report::{Guest, HoldState, ItemState, MoveState};
use dc_types::{Bytes, InstanceId};
use uuid::Uuid;

use super::order::Order;
use super::stalls::Watch;
use crate::carrier::Carrier;

/// The moved disk among the machine's.
pub const DATA: usize = 1;
/// Writes for as long as it runs.
const WRITER: &str = "#!/bin/sh
counter write /dev/vdb - 20000 >/dev/console 2>&1 &
";
/// Says what is there of it.
const READER: &str = "#!/bin/sh
[ ! -e /dev/vdb ] || counter check /dev/vdb >/dev/console 2>&1
";

pub struct Desk {
    pub carrier: Carrier,
    pub order: Order,
    pub tools: Tools,
    /// The disk at its first place.
    pub first: DiskItem,
}

fn place(last: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(
        0x0d15_c000_0000_4000_8000_0000_0000_0000 | last,
    ))
}

impl Desk {
    /// A guest that writes to its second disk.
    pub async fn new(name: &str) -> Result<Self> {
        Self::writing(name, WRITER, |_, _| Ok(())).await
    }

    /// The same with a script of its own, and its second disk made otherwise.
    pub async fn writing(
        name: &str,
        script: &str,
        make: impl FnOnce(&Carrier, &mut DiskItem) -> Result<()>,
    ) -> Result<Self> {
        let carrier = Carrier::new(name).await?;
        let mut order = Order::new(&carrier);
        carrier.run(&order.network_script())?;
        let mut first = order.vm.disks[0].clone();
        first.volume = place(2);
        first.name = "data".into();
        first.size = Bytes(128 << 20);
        make(&carrier, &mut first)?;
        order.vm.disks.push(first.clone());
        carrier.make_target(1, &order.vm.disks[0])?;
        if let DiskSource::Iscsi { .. } = first.source {
            carrier.make_target(2, &first)?;
        }
        order.vm.seed.user_data = Secret(script.into());
        let tools = carrier.tools().await?;
        let desk = Self {
            carrier,
            order,
            tools,
            first,
        };
        desk.settle("the guest runs", |guest, _| guest == Guest::Running)
            .await?;
        desk.wrote(1, 19).await?;
        Ok(desk)
    }

    pub async fn settle(
        &self,
        what: &str,
        done: impl Fn(Guest, Option<MoveState>) -> bool,
    ) -> Result<()> {
        let (carrier, tools) = (&self.carrier, &self.tools);
        let settled = self.order.settle(carrier, tools, what, |looked| {
            done(looked.guest, looked.moves.first().map(|of| of.state))
        });
        settled.await.map(drop)
    }

    /// Waits until the guest has written so much at its nth start.
    pub async fn wrote(&self, start: usize, record: u32) -> Result<()> {
        let text = format!("counter wrote {record}\r");
        self.order
            .console_says(&self.carrier, start, &text)
            .await
            .map(drop)
    }

    /// The last record that the guest has said to have written.
    pub fn last_written(&self) -> Result<u32> {
        let console = self.carrier.console(self.order.vm.vm);
        let written = console.lines().filter_map(|line| {
            let number = line.trim().strip_prefix("counter wrote ")?;
            number.parse::<u32>().ok()
        });
        written.max().context("it has written nothing")
    }

    /// Makes the second place, blank, and has the disk mirrored there.
    pub fn mirror(&mut self, to: DiskItem, order: MirrorOrder) {
        self.order.vm.disks[DATA].mirror = Some(Box::new(Mirror {
            place: to.place(),
            grant: to.grant,
            source: to.source,
            order,
        }));
    }

    /// A second place of the disk over iSCSI.
    pub fn target(&self, number: u32) -> Result<DiskItem> {
        let mut to = self.first.clone();
        to.volume = place(number.into());
        to.grant.revision += u64::from(number);
        let file = self.file(to.volume)?;
        std::fs::File::create(&file)?.set_len(to.size.0)?;
        self.carrier.make_target(number, &to)?;
        Ok(to)
    }

    pub fn file(&self, volume: InstanceId) -> Result<std::path::PathBuf> {
        Ok(self
            .carrier
            .machine
            .folder("volumes")?
            .join(volume.to_string()))
    }

    pub fn domain(&self) -> String {
        let vm = &self.order.vm;
        domain_name(&vm.department, &vm.name, vm.vm)
    }

    /// The whole of a move, until the plan names the new place.
    pub async fn go_over(&mut self, to: DiskItem) -> Result<()> {
        let name = source_name(&to);
        self.mirror(to, MirrorOrder::Switch);
        self.settle("it has gone over", |guest, state| {
            (guest, state) == (Guest::Running, Some(MoveState::Switched))
        })
        .await?;
        ensure!(self.source().await? == name);
        self.acknowledge();
        let settled = self.settle("nothing is left of it", |guest, state| {
            (guest, state) == (Guest::Running, None)
        });
        settled.await
    }

    /// The disk's file copied while the guest is held, as its storage shares it.
    async fn takes_a_snapshot(&mut self) -> Result<()> {
        let file = self.file(self.first.volume)?;
        let copy = file.with_extension("copy");
        let before = self.last_written()?;
        let stall = Watch::begin(vec![file.clone()]);
        self.order.vm.hold = Some(Hold {
            id: self.order.epoch,
            deadline_s: 60,
        });
        let held = self
            .order
            .settle(&self.carrier, &self.tools, "held", |seen| {
                seen.held
                    .is_some_and(|held| held.state == HoldState::Holding)
            });
        held.await?;
        let (from, to) = (file.display(), copy.display());
        let line = format!("cp --reflink=auto --sparse=always {from} {to} && sync {to}");
        self.carrier.run(&line)?;
        self.order.vm.hold = None;
        self.settle("it goes on", |guest, _| guest == Guest::Running)
            .await?;
        let written = self.last_written()?;
        self.wrote(1, written + 20).await?;
        stall.tell("of iscsi, while a snapshot was taken")?;
        let there = super::stalls::records(&copy);
        ensure!(there > u64::from(before), "{there} of {before} records");
        std::fs::remove_file(copy)?;
        Ok(())
    }

    /// The process of the guest.
    pub fn qemu(&self) -> Result<Identity> {
        super::qemu(&self.carrier, &self.order)
    }

    /// What QEMU has open as the moved disk.
    pub async fn source(&self) -> Result<String> {
        let looked = self.order.look(&self.carrier, &self.tools).await?;
        let domain = looked.seen.domains.values().next().context("no domain")?;
        let mut disks = domain.disks.values();
        let disk = disks.find(|disk| disk.device == "vdb");
        Ok(disk.context("no disk")?.source.clone())
    }

    /// The plan names the new place, as when the operator has heard of it.
    pub fn acknowledge(&mut self) {
        let disk = &mut self.order.vm.disks[DATA];
        *disk = disk.switched().expect("it has a mirror");
    }

    /// Starts the guest anew, which reads the counter back; the highest record of the unbroken run.
    pub async fn read_back(&mut self, start: usize) -> Result<u32> {
        self.order.vm.seed.user_data = Secret(READER.into());
        self.order.vm.stop_deadline_s = 0;
        self.order.vm.restart = format!("read {start}");
        self.settle("the reader runs", |guest, _| guest == Guest::Running)
            .await?;
        // The end of the line: its beginning may be there before it.
        let console = self
            .order
            .console_says(&self.carrier, start, " gaps=0")
            .await?;
        let after = console.split("counter last=").nth(1).unwrap_or_default();
        let number: String = after.chars().take_while(char::is_ascii_digit).collect();
        Ok(number.parse()?)
    }
}

#[tokio::test]
async fn a_disk_moves_under_a_guest_that_writes_and_the_old_target_can_go() -> Result<()> {
    let mut desk = Desk::new("moves").await?;
    desk.takes_a_snapshot().await?;
    let to = desk.target(3)?;
    let files = [desk.first.volume, to.volume].map(|volume| desk.file(volume));
    let files = files.into_iter().collect::<Result<_>>()?;
    let stall = Watch::begin(files);
    desk.mirror(to.clone(), MirrorOrder::Copy);
    desk.settle("the copy is whole", |_, state| {
        state == Some(MoveState::Ready)
    })
    .await?;
    ensure!(desk.source().await? == source_name(&desk.first));
    desk.mirror(to.clone(), MirrorOrder::Switch);
    desk.settle("it has gone over", |guest, state| {
        (guest, state) == (Guest::Running, Some(MoveState::Switched))
    })
    .await?;
    ensure!(desk.source().await? == source_name(&to));
    stall.tell("from iscsi to iscsi, while it moved")?;
    // The old place is taken away for good, and the guest goes on.
    desk.carrier.fence(2, &desk.first)?;
    let old = desk.file(desk.first.volume)?;
    std::fs::rename(&old, old.with_extension("old"))?;
    let before = desk.last_written()?;
    desk.wrote(1, before + 30).await?;
    desk.acknowledge();
    let looked = desk
        .order
        .settle(&desk.carrier, &desk.tools, "nothing is left", |looked| {
            looked.state == ItemState::Ready
        })
        .await?;
    ensure!(looked.moves.is_empty(), "{:?}", looked.moves);
    ensure!(looked.last_stop.is_none(), "it was stopped: {looked:?}");

    // All of it is there, from the first record on.
    let written = desk.last_written()?;
    let read = desk.read_back(2).await?;
    ensure!(read >= written, "{read} of {written} records are there");
    Ok(())
}

#[tokio::test]
async fn a_qemu_that_dies_after_it_went_over_starts_from_the_new_place_whatever_the_plan_says()
-> Result<()> {
    let mut desk = Desk::new("went").await?;
    let to = desk.target(3)?;
    desk.mirror(to.clone(), MirrorOrder::Switch);
    desk.settle("it has gone over", |_, state| {
        state == Some(MoveState::Switched)
    })
    .await?;
    let before = desk.last_written()?;
    desk.wrote(1, before + 30).await?;
    let written = desk.last_written()?;
    let name = desk.domain();
    let pid = desk
        .carrier
        .run(&format!("cat /run/libvirt/qemu/{name}.pid"))?;
    desk.carrier.run(&format!("kill -9 {}", pid.trim()))?;
    // The operator has not heard of anything: its plan still names the old place.
    let read = desk.read_back(2).await?;
    ensure!(read >= written, "{read} of {written} records are there");
    ensure!(desk.source().await? == source_name(&to));
    Ok(())
}

#[tokio::test]
async fn a_move_that_is_taken_back_leaves_the_guest_where_it_was() -> Result<()> {
    let mut desk = Desk::new("taken").await?;
    let to = desk.target(3)?;
    desk.mirror(to.clone(), MirrorOrder::Copy);
    desk.settle("the copy is whole", |_, state| {
        state == Some(MoveState::Ready)
    })
    .await?;
    // libvirtd is another one by then.
    desk.carrier.machine.kill_libvirtd()?;
    desk.carrier.machine.ensure_libvirtd().await?;
    desk.order.vm.disks[DATA].mirror = None;
    desk.settle("the copy is ended", |guest, state| {
        (guest, state) == (Guest::Running, None)
    })
    .await?;
    ensure!(desk.source().await? == source_name(&desk.first));
    let xml = desk
        .carrier
        .run(&format!("virsh dumpxml {}", desk.domain()))?;
    ensure!(!xml.contains("<mirror"), "{xml}");
    // Nobody has the second place open any more: it goes without waiting for anybody.
    desk.carrier
        .run("tgtadm --lld iscsi --op delete --mode target --tid 3")?;
    let written = desk.last_written()?;
    desk.wrote(1, written + 20).await?;
    let written = desk.last_written()?;
    let read = desk.read_back(2).await?;
    ensure!(read >= written, "{read} of {written} records are there");
    Ok(())
}

#[tokio::test]
async fn a_disk_moves_from_a_target_to_a_file_of_its_host() -> Result<()> {
    let mut desk = Desk::new("file").await?;
    let mut to = desk.first.clone();
    to.volume = place(9);
    let path = desk.file(to.volume)?;
    std::fs::File::create(&path)?.set_len(to.size.0)?;
    to.source = DiskSource::File {
        path: path.display().to_string(),
    };
    to.grant.revision += 9;
    desk.mirror(to.clone(), MirrorOrder::Switch);
    desk.settle("it has gone over", |guest, state| {
        (guest, state) == (Guest::Running, Some(MoveState::Switched))
    })
    .await?;
    ensure!(desk.source().await? == path.display().to_string());
    desk.acknowledge();
    let written = desk.last_written()?;
    let read = desk.read_back(2).await?;
    ensure!(read >= written, "{read} of {written} records are there");
    Ok(())
}

#[tokio::test]
async fn a_second_place_that_does_not_answer_holds_up_neither_the_guest_nor_the_agent() -> Result<()>
{
    let mut desk = Desk::new("dead").await?;
    let to = desk.target(3)?;
    desk.mirror(to.clone(), MirrorOrder::Copy);
    desk.settle("the copy is whole", |_, state| {
        state == Some(MoveState::Ready)
    })
    .await?;
    desk.carrier.fence(3, &to)?;
    let before = desk.last_written()?;
    desk.wrote(1, before + 30).await?;
    // Taken back: QEMU cannot close the place before it answers, and this is told.
    desk.order.vm.disks[DATA].mirror = None;
    desk.settle("the copy is being ended", |guest, state| {
        (guest, state) == (Guest::Running, Some(MoveState::Ending))
    })
    .await?;
    let before = desk.last_written()?;
    desk.wrote(1, before + 30).await?;
    desk.carrier.make_target(3, &to)?;
    desk.settle("the copy is ended", |guest, state| {
        (guest, state) == (Guest::Running, None)
    })
    .await?;
    ensure!(desk.source().await? == source_name(&desk.first));
    let written = desk.last_written()?;
    let read = desk.read_back(2).await?;
    ensure!(read >= written, "{read} of {written} records are there");
    Ok(())
}
