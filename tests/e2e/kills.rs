//! kill -9 of every part, one after another, under guests that work.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dc_lab::control_plane::{ControlPlane, Durability, api_server};
use dc_lab::operator::Replica;
use dc_lab::process::{self, Restart};
use dc_lab::progress;
use dc_lab::wait::{self, Look};
use dc_lab::{agents, operator};

use crate::cast::{self, HEALTH};
use crate::centre::{Centre, DEADLINE};
use crate::guest::Guest;
use crate::{objects, ripe};

const WRITER: &str = "y-db-1";
const STORE_DEVICE: &str = "/dev/vdb";
/// Records of 4 KiB that the store has room for, behind its first MiB.
const RECORDS: u32 = 16_000;

#[derive(Debug, Clone, Copy)]
enum Part {
    ComputeAgent,
    StorageAgent,
    GatewayAgent,
    Operator,
    ApiServer,
    Libvirtd,
    Tgtd,
}

impl Part {
    const ALL: [Self; 7] = [
        Self::ComputeAgent,
        Self::StorageAgent,
        Self::GatewayAgent,
        Self::Operator,
        Self::ApiServer,
        Self::Libvirtd,
        Self::Tgtd,
    ];
}

pub fn every_part(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    centre.block_on(async {
        let before = cast::boots(centre).await?;
        let mut writer = Guest::open(centre, HEALTH, WRITER).await?;
        writer
            .run(&format!(
                "counter write {STORE_DEVICE} {RECORDS} 20000 >/tmp/counter 2>&1 & echo $! >/tmp/writer"
            ))
            .await?;
        for part in Part::ALL {
            progress::note(format!("  killing: {part:?}"));
            kill_and_revive(centre, part, &writer.host)
                .await
                .with_context(|| format!("{part:?} was killed"))?;
            wait_for_progress(&mut writer, part).await?;
            all_works(centre, part).await?;
        }
        ensure_no_gap(&mut writer).await?;
        drop(writer);
        let after = cast::boots(centre).await?;
        cast::assert_undisturbed(&before, &after, "the kills")?;
        each_runs_once(centre)
    })
}

/// What production's supervisor restarts comes back by itself; what the lab keeps, the lab revives.
async fn kill_and_revive(centre: &Centre, part: Part, compute: &str) -> Result<()> {
    let lab = centre.lab();
    match part {
        Part::ComputeAgent => kill_supervised(centre, &agent_of(centre, compute)?).await,
        Part::StorageAgent => kill_supervised(centre, &agent_of(centre, "storage-1")?).await,
        Part::GatewayAgent => kill_supervised(centre, &agent_of(centre, "gateway-1")?).await,
        Part::Operator => {
            kill_supervised(centre, Replica::First.process_name()).await?;
            operator::wait_ready(lab, Replica::First).await
        }
        Part::ApiServer => {
            process::kill(lab, api_server::PROCESS)?;
            ControlPlane::ensure(lab, Durability::InMemory)
                .await
                .map(drop)
        }
        Part::Libvirtd => {
            let machine = centre.machine(compute)?;
            machine.kill_libvirtd()?;
            machine.ensure_libvirtd().await.map(drop)
        }
        Part::Tgtd => {
            let machine = centre.storage()?;
            machine.kill_tgtd()?;
            machine.ensure_tgtd().await.map(drop)
        }
    }
}

fn agent_of(centre: &Centre, host: &str) -> Result<String> {
    Ok(agents::process_name(centre.machine(host)?))
}

/// Kills the program, not the loop that stands for its supervisor, and waits until it runs again.
async fn kill_supervised(centre: &Centre, name: &str) -> Result<()> {
    let lab = centre.lab();
    let victim = process::working(lab, name)?.with_context(|| format!("{name} does not run"))?;
    process::stop_identity(victim, Duration::ZERO)?;
    let what = format!("{name} to be started again ({:?})", Restart::Always);
    wait::until(&what, DEADLINE, async || {
        match process::working(lab, name) {
            Ok(Some(now)) if now != victim => Look::Holds(()),
            Ok(_) => Look::NotYet(process::tail(lab, name)),
            Err(error) => Look::Never(error),
        }
    })
    .await
}

/// The last record that the writer says it wrote.
pub async fn written(writer: &mut Guest) -> Result<u64> {
    let last = writer.run("tail -n 1 /tmp/counter").await?;
    ensure!(!last.contains("failed"), "the guest got an error: {last}");
    let number = last.rsplit(' ').next().unwrap_or_default().parse();
    Ok(number.unwrap_or(0))
}

/// The writer has not stopped for good: it writes more than it had written.
async fn wait_for_progress(writer: &mut Guest, part: Part) -> Result<()> {
    let start = written(writer).await?;
    let what = format!("the guest to write on after {part:?} was killed");
    wait::until(&what, DEADLINE, async || match written(writer).await {
        Ok(now) if now > start => Look::Holds(()),
        Ok(now) => Look::NotYet(format!("it has written {now}")),
        Err(error) => Look::NotYet(format!("{error:#}")),
    })
    .await
}

/// A new wish goes all the way, and everyone is ready again.
async fn all_works(centre: &Centre, part: Part) -> Result<()> {
    let name = "after-kill";
    let wish = || centre.apply(vec![objects::blank_volume(HEALTH, name, "8Mi", "Erase")]);
    wait::until("a volume to be asked for", DEADLINE, async || {
        Look::from_attempt(wish())
    })
    .await?;
    let made = ripe::ready(centre, "volume", HEALTH, name, DEADLINE).await;
    made.with_context(|| format!("after {part:?} was killed"))?;
    centre.delete("volume", HEALTH, name)?;
    ripe::gone(centre, "volume", HEALTH, name, DEADLINE).await?;
    for kind in ["host", "vm", "volume", "subnet"] {
        let what = format!("every {kind} to be ready after {part:?} was killed");
        wait::until(&what, DEADLINE, async || {
            let unready = centre.reader.list_all(kind);
            match unready.map(|objects| dc_lab::status::unready(kind, &objects)) {
                Ok(unready) if unready.is_empty() => Look::Holds(()),
                Ok(unready) => Look::NotYet(unready.join("\n")),
                Err(error) => Look::NotYet(format!("{error:#}")),
            }
        })
        .await?;
    }
    Ok(())
}

/// Every record that the writer says it wrote is on the disk, in its place.
pub async fn ensure_no_gap(writer: &mut Guest) -> Result<()> {
    writer.run("kill $(cat /tmp/writer)").await?;
    let said = writer
        .run("grep -c . /tmp/counter; tail -n 1 /tmp/counter")
        .await?;
    let last: u64 = said
        .split_whitespace()
        .last()
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("the writer said {said:?}"))?;
    let found = writer
        .run(&format!(
            "dd if={STORE_DEVICE} bs=4096 skip=256 count={} iflag=direct 2>/dev/null | \
             awk '$1 != \"record\" || $2 != NR - 1 {{ bad++ }} END {{ print NR, bad + 0 }}'",
            last + 1
        ))
        .await?;
    let expected = format!("{} 0", last + 1);
    ensure!(
        found.trim() == expected,
        "records and bad ones: {found:?}, not {expected:?}"
    );
    Ok(())
}

/// No machine runs twice, wherever one looks.
pub fn each_runs_once(centre: &Centre) -> Result<()> {
    let mut seen = BTreeSet::new();
    for machine in &centre.machines {
        if !machine.name().starts_with("compute") {
            continue;
        }
        let mut virsh = machine.command("virsh");
        virsh.args(["--quiet", "--connect", "qemu:///system", "list", "--uuid"]);
        for uuid in progress::run(&mut virsh)?.split_whitespace() {
            ensure!(seen.insert(uuid.to_owned()), "{uuid} runs twice");
        }
    }
    for wish in cast::wishes() {
        let id = centre.instance_id("vm", wish.department, wish.name)?;
        ensure!(seen.contains(&id), "{} runs nowhere", wish.name);
    }
    Ok(())
}
