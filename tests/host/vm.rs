//! Machines under real libvirt and QEMU: from an item to a guest that speaks, and back.

pub mod growth;
pub mod luks;
pub mod moves;
pub mod order;
pub mod plugs;
pub mod stalls;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dc_agent_core::names::{domain_name, netns_name, tap_name};
use dc_agent_core::vm::plan;
use dc_agent_core::vm::step::Act;
use dc_lab::process::Identity;
use dc_types::plan::{DiskSource, Firmware, Hold, OnStop, Power, Secret};
use dc_types::report::{Consistency, Guest, HoldState, ItemState, Stop};
use dc_types::{Epoch, MiB};

use crate::carrier::Carrier;
use order::{Order, TRANSIT};

/// A carrier with the network of the order's department and the target of its disk.
pub async fn carrier(name: &str) -> Result<(Carrier, Order)> {
    let carrier = Carrier::new(name).await?;
    let order = Order::new(&carrier);
    carrier.run(&order.network_script())?;
    carrier.make_target(1, &order.vm.disks[0])?;
    Ok((carrier, order))
}

/// The process of the order's guest.
fn qemu(carrier: &Carrier, order: &Order) -> Result<Identity> {
    let vm = &order.vm;
    let name = domain_name(&vm.department, &vm.name, vm.vm);
    let pid = carrier.run(&format!("cat /run/libvirt/qemu/{name}.pid"))?;
    Identity::of(pid.trim().parse()?).context("QEMU has ended")
}

#[tokio::test]
async fn a_machine_boots_with_its_addresses_and_stops_clean_and_leaves_nothing() -> Result<()> {
    let (carrier, mut order) = carrier("whole").await?;
    let tools = carrier.tools().await?;
    order
        .settle(&carrier, &tools, "the guest runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    let console = order.console_says(&carrier, 1, "dc-tiny: ready").await?;
    ensure!(console.contains("hostname=web-1"), "{console}");
    // Both families, from the seed; the gateway answers on the bridge the tap was plugged into.
    for address in ["10.1.0.5/24", "fd00:1::5/64"] {
        ensure!(console.contains(address), "no {address}:\n{console}");
    }
    let netns = netns_name(TRANSIT);
    carrier.run(&format!("ip netns exec {netns} ping -c1 -w20 10.1.0.5"))?;
    carrier.run(&format!("ip netns exec {netns} ping -6 -c1 -w20 fd00:1::5"))?;

    order.vm.power = Power::Off;
    let seen = order.settle(&carrier, &tools, "it is off", |seen| {
        seen.guest == Guest::Stopped && seen.state == ItemState::Ready
    });
    let seen = seen.await?;
    ensure!(seen.last_stop == Some(Stop::Clean), "{seen:?}");

    order.release();
    order
        .settle(&carrier, &tools, "it is released", |seen| seen.released)
        .await?;
    let left = carrier.run("virsh -q list --all; virsh -q secret-list; ip -br link; ip netns")?;
    ensure!(!left.contains(&tap_name(order.vm.vm, 0)), "{left}");
    ensure!(!left.contains(&order.vm.name), "{left}");
    let in_netns = carrier.run(&format!("ip -n {netns} -br link"))?;
    ensure!(!in_netns.contains(&tap_name(order.vm.vm, 0)), "{in_netns}");
    ensure!(carrier.console(order.vm.vm).is_empty(), "the log is left");
    Ok(())
}

#[tokio::test]
async fn a_guest_is_held_for_a_snapshot_let_go_by_itself_and_limited_while_it_runs() -> Result<()> {
    let (carrier, mut order) = carrier("held").await?;
    let tools = carrier.tools().await?;
    order.vm.disks[0].qos.iops = 100;
    order
        .settle(&carrier, &tools, "the guest runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    order.console_says(&carrier, 1, "dc-tiny: ready").await?;
    let (vm, before) = (&order.vm, qemu(&carrier, &order)?);
    let domain = domain_name(&vm.department, &vm.name, vm.vm);
    let limits = || carrier.run(&format!("virsh blkdeviotune {domain} vda"));
    let says = |text: &str, wanted: &str| {
        let mut lines = text.lines().map(|line| line.replace(' ', ""));
        lines.any(|line| line == wanted)
    };
    ensure!(says(&limits()?, "total_iops_sec:100"), "{}", limits()?);
    order.vm.disks[0].qos.iops = 50;
    order.vm.disks[0].qos.iops_burst = 80;
    order.vm.disks[0].qos.burst_s = 3;
    let limited = order.settle(&carrier, &tools, "the limit is another", |seen| {
        seen.state == ItemState::Ready
    });
    limited.await?;
    for line in [
        "total_iops_sec:50",
        "total_iops_sec_max:80",
        "total_iops_sec_max_length:3",
    ] {
        ensure!(says(&limits()?, line), "no {line}: {}", limits()?);
    }

    // No agent is in this guest: it is paused, and no more than that is said.
    let hold = |revision, deadline_s| Hold {
        id: Epoch {
            incarnation: 1,
            revision,
        },
        deadline_s,
    };
    order.vm.hold = Some(hold(90, 60));
    let held = order.settle(&carrier, &tools, "it is held", |seen| {
        seen.held
            .is_some_and(|held| held.state == HoldState::Holding)
    });
    ensure!(held.await?.held.map(|held| held.level) == Some(Consistency::Crash));
    let state = carrier.run(&format!("virsh domstate {domain}"))?;
    ensure!(state.trim() == "paused", "{state}");
    order.vm.hold = None;
    let kept = order.settle(&carrier, &tools, "it goes on", |seen| {
        seen.guest == Guest::Running
    });
    ensure!(kept.await?.held.map(|held| held.state) == Some(HoldState::Kept));

    // Nobody takes this one back.
    order.vm.hold = Some(hold(91, 2));
    let broken = order.settle(&carrier, &tools, "it is let go", |seen| {
        let id = Some(hold(91, 2).id);
        seen.guest == Guest::Running && seen.held.map(|held| held.id) == id
    });
    ensure!(broken.await?.held.map(|held| held.state) == Some(HoldState::Broken));
    ensure!(qemu(&carrier, &order)? == before, "another QEMU runs");
    let netns = netns_name(TRANSIT);
    carrier.run(&format!("ip netns exec {netns} ping -c1 -w20 10.1.0.5"))?;
    Ok(())
}

#[tokio::test]
async fn a_guest_that_ignores_its_power_button_is_stopped_by_force_after_its_deadline() -> Result<()>
{
    let (carrier, mut order) = carrier("deaf").await?;
    let tools = carrier.tools().await?;
    order.vm.seed.user_data = Secret("#!/bin/sh\nkillall acpid\necho deaf now\n".into());
    order.vm.stop_deadline_s = 8;
    order
        .settle(&carrier, &tools, "the guest runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    order.console_says(&carrier, 1, "deaf now").await?;
    let asked = Instant::now();
    order.vm.power = Power::Off;
    let seen = order.settle(&carrier, &tools, "it is off", |seen| {
        seen.guest == Guest::Stopped
    });
    let seen = seen.await?;
    ensure!(seen.last_stop == Some(Stop::Forced), "{seen:?}");
    ensure!(
        asked.elapsed() >= Duration::from_secs(7),
        "force came too early"
    );
    Ok(())
}

#[tokio::test]
async fn libvirtd_and_agent_come_and_go_and_the_guest_does_not_notice() -> Result<()> {
    let (carrier, mut order) = carrier("undisturbed").await?;
    let tools = carrier.tools().await?;
    order
        .settle(&carrier, &tools, "the guest runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    order.console_says(&carrier, 1, "dc-tiny: ready").await?;
    let before = qemu(&carrier, &order)?;

    carrier.machine.kill_libvirtd()?;
    ensure!(
        order.look(&carrier, &tools).await.is_err(),
        "libvirtd is dead"
    );
    carrier.machine.ensure_libvirtd().await?;
    // The same hands find the new libvirtd.
    let seen = order.settle(&carrier, &tools, "the guest is found", |seen| {
        seen.guest == Guest::Running
    });
    ensure!(seen.await?.state == ItemState::Ready);

    // New hands adopt it, and have nothing to do.
    drop(tools);
    let tools = carrier.tools().await?;
    ensure!(
        order.plan(&carrier, &tools).await?.is_empty(),
        "they have plans"
    );
    // A newer claim is written into the running domain and changes nothing else.
    order.epoch.revision += 1;
    let steps = order.plan(&carrier, &tools).await?;
    let adopts = |act: &Act| matches!(act, Act::Adopt { .. });
    ensure!(steps.len() == 1 && adopts(&steps[0].act), "{steps:?}");
    order
        .settle(&carrier, &tools, "it is adopted", |seen| {
            seen.state == ItemState::Ready
        })
        .await?;
    ensure!(order.plan(&carrier, &tools).await?.is_empty());
    ensure!(qemu(&carrier, &order)? == before, "QEMU is another one");
    let console = carrier.console(order.vm.vm);
    ensure!(
        console.matches("dc-tiny: starting").count() == 1,
        "{console}"
    );

    // The metadata survives libvirtd as well.
    carrier.machine.stop_libvirtd()?;
    carrier.machine.ensure_libvirtd().await?;
    ensure!(order.plan(&carrier, &tools).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_agent_killed_after_any_step_of_a_start_is_followed_by_one_that_finishes_it()
-> Result<()> {
    let (carrier, mut order) = carrier("cut").await?;
    let tools = carrier.tools().await?;
    let steps = order.plan(&carrier, &tools).await?.len();
    for cut in 0..=steps {
        let first: Vec<_> = order.plan(&carrier, &tools).await?;
        for step in first.into_iter().take(cut) {
            order.apply(&carrier, &tools, step).await?;
        }
        let tools = carrier.tools().await?;
        let what = format!("the guest runs after a cut at step {cut}");
        order
            .settle(&carrier, &tools, &what, |seen| seen.guest == Guest::Running)
            .await?;
        ensure!(order.plan(&carrier, &tools).await?.is_empty());
        // By force: the guest need not boot to the end for this.
        order.vm.power = Power::Off;
        order.vm.stop_deadline_s = 0;
        order
            .settle(&carrier, &tools, "it is off", |seen| {
                seen.guest == Guest::Stopped
            })
            .await?;
        order.vm.power = Power::On;
    }
    Ok(())
}

#[tokio::test]
async fn a_foreign_domain_is_told_and_not_touched_and_ours_beside_it_runs() -> Result<()> {
    let (carrier, mut order) = carrier("foreign").await?;
    let tools = carrier.tools().await?;
    let foreign = |uuid: &str, name: &str| {
        format!(
            "cat >/run/foreign.xml <<'X'\n<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid>\
             <memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os>\
             </domain>\nX\nvirsh -q define /run/foreign.xml; virsh -q start {name}"
        )
    };
    let vm = order.vm.vm.to_string();
    carrier.run(&foreign(&vm, "theirs"))?;
    let seen = order.look(&carrier, &tools).await?;
    ensure!(seen.reason() == "ForeignDomain", "{seen:?}");
    ensure!(order.plan(&carrier, &tools).await?.is_empty());
    // Even told to, the hands do not touch it.
    for act in [Act::Destroy, Act::Undefine, Act::Resume] {
        let step = dc_agent_core::vm::Step {
            vm: order.vm.vm,
            act,
        };
        let trouble = order.apply(&carrier, &tools, step).await.unwrap_err();
        ensure!(trouble.to_string().contains("ForeignDomain"), "{trouble:#}");
    }
    let state = carrier.run("virsh -q domstate theirs")?;
    ensure!(state.trim() == "running", "{state}");
    carrier.run("virsh -q destroy theirs; virsh -q undefine theirs")?;
    carrier.run(&foreign("6f0e7a5c-1111-4222-8333-944455556666", "theirs"))?;
    order
        .settle(&carrier, &tools, "ours runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    order.release();
    order
        .settle(&carrier, &tools, "ours is gone", |seen| seen.released)
        .await?;
    ensure!(carrier.run("virsh -q domstate theirs")?.trim() == "running");
    Ok(())
}

#[tokio::test]
async fn a_guest_that_ends_by_itself_is_seen_and_its_policy_decides() -> Result<()> {
    let (carrier, mut order) = carrier("policy").await?;
    let tools = carrier.tools().await?;
    order.vm.on_stop = OnStop::RestartOnFailure;
    order
        .settle(&carrier, &tools, "the guest runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    order.console_says(&carrier, 1, "dc-tiny: ready").await?;

    let mut changes = tools.hypervisor.changes();
    changes.mark_unchanged();
    let qemu = qemu(&carrier, &order)?;
    carrier.run(&format!("kill -9 {}", qemu.pid))?;
    // The hands notice without being asked.
    tokio::time::timeout(Duration::from_secs(30), changes.changed()).await??;
    let seen = order.look(&carrier, &tools).await?;
    ensure!(seen.last_stop == Some(Stop::Crashed), "{seen:?}");
    let seen = order.settle(&carrier, &tools, "it runs again", |seen| {
        seen.guest == Guest::Running
    });
    ensure!(seen.await?.last_stop == Some(Stop::Crashed));

    // Pressing the button by hand is the guest's own stop, as far as we know: it stays off.
    order.console_says(&carrier, 2, "dc-tiny: ready").await?;
    let vm = order.vm.vm;
    carrier.run(&format!("virsh -q shutdown --mode acpi {vm}"))?;
    let seen = order.settle(&carrier, &tools, "it stays off", |seen| {
        seen.last_stop == Some(Stop::ByGuest)
    });
    let seen = seen.await?;
    ensure!(seen.reason() == "StoppedByGuest", "{seen:?}");
    // A restart text brings it back.
    order.vm.restart = "<by> \"hand\" & 'now'".into();
    order
        .settle(&carrier, &tools, "it runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    let look = order.look(&carrier, &tools).await?;
    let steps = plan(&order.wanted(&carrier).as_wanted(), &look.seen);
    ensure!(steps.is_empty(), "{steps:?}");
    Ok(())
}

#[tokio::test]
async fn a_disk_that_the_storage_does_not_grant_is_told_and_starts_once_it_is() -> Result<()> {
    let (carrier, mut order) = carrier("refused").await?;
    let tools = carrier.tools().await?;
    let granted = order.vm.disks[0].clone();
    let DiskSource::Iscsi { chap, .. } = &mut order.vm.disks[0].source else {
        panic!("the disk is not opened over iSCSI");
    };
    chap.secret = Secret("not-the-right-one".into());
    let steps = order.plan(&carrier, &tools).await?;
    let mut trouble = None;
    for step in steps {
        trouble = order.apply(&carrier, &tools, step).await.err();
        if trouble.is_some() {
            break;
        }
    }
    let trouble = trouble.context("the start went through")?.to_string();
    ensure!(trouble.contains("DiskNotOpened"), "{trouble}");
    ensure!(!trouble.contains("not-the-right-one"), "{trouble}");
    order.vm.disks[0] = granted;
    order
        .settle(&carrier, &tools, "the guest runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_host_says_what_its_emulator_can_do() -> Result<()> {
    let carrier = Carrier::new("facts").await?;
    let tools = carrier.tools().await?;
    let facts = carrier
        .inside(async move { Ok(tools.hypervisor.facts().await?) })
        .await?;
    let capabilities = &facts.capabilities;
    ensure!(
        capabilities.machine_types[0].starts_with("pc-q35-"),
        "{facts:?}"
    );
    ensure!(!capabilities.machine_types.iter().any(|name| name == "q35"));
    ensure!(
        capabilities.cpu_models.iter().any(|name| name == "qemu64"),
        "{facts:?}"
    );
    ensure!(
        capabilities.firmwares.len() == 2,
        "OVMF is installed: {facts:?}"
    );
    ensure!(facts.vcpus > 0 && facts.memory.0 > 0);
    Ok(())
}

#[tokio::test]
async fn a_newer_grant_ends_the_guest_that_hangs_on_the_old_one_and_starts_it_anew() -> Result<()> {
    let (carrier, mut order) = carrier("fenced").await?;
    let tools = carrier.tools().await?;
    order
        .settle(&carrier, &tools, "the guest runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    order.console_says(&carrier, 1, "dc-tiny: ready").await?;
    carrier.fence(1, &order.vm.disks[0])?;
    order.vm.disks[0].grant.revision += 1;
    carrier.make_target(2, &order.vm.disks[0])?;
    let seen = order
        .settle(
            &carrier,
            &tools,
            "the guest runs on the new target",
            |seen| seen.guest == Guest::Running && seen.last_stop.is_some(),
        )
        .await?;
    ensure!(seen.last_stop == Some(Stop::Forced), "{seen:?}");
    order.console_says(&carrier, 2, "dc-tiny: ready").await?;
    Ok(())
}

#[tokio::test]
async fn a_uefi_machine_has_variables_of_its_own_and_they_go_with_it() -> Result<()> {
    let (carrier, mut order) = carrier("uefi").await?;
    let tools = carrier.tools().await?;
    order.vm.firmware = Firmware::Uefi;
    order.vm.memory = MiB(256);
    order
        .settle(&carrier, &tools, "the firmware runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    let folder = carrier.host.folders.seeds.join(order.vm.vm.to_string());
    let variables = std::fs::metadata(folder.join("nvram.fd"))?;
    ensure!(variables.len() > 0);
    // The tiny image does not boot from UEFI, so nobody hears the button.
    order.vm.stop_deadline_s = 0;
    order
        .settle(&carrier, &tools, "the deadline is known", |_| true)
        .await?;
    order.release();
    order
        .settle(&carrier, &tools, "it is released", |seen| seen.released)
        .await?;
    ensure!(!folder.exists(), "{} is left", folder.display());
    Ok(())
}

#[tokio::test]
async fn a_host_whose_power_was_cut_brings_its_machine_back_and_says_why() -> Result<()> {
    let (mut carrier, mut order) = carrier("power").await?;
    let tools = carrier.tools().await?;
    order.vm.on_stop = OnStop::Stay;
    order
        .settle(&carrier, &tools, "the guest runs", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    drop(tools);
    carrier.power_cut().await?;
    let tools = carrier.tools().await?;
    // Neither network nor storage is back: the machine waits, and says for what.
    let mut steps = order.plan(&carrier, &tools).await?.into_iter();
    let failed = loop {
        let step = steps.next().context("it started without its disk")?;
        if let Err(error) = order.apply(&carrier, &tools, step).await {
            break error;
        }
    };
    ensure!(failed.to_string().contains("DiskNotOpened"), "{failed:#}");
    carrier.run(&order.network_script())?;
    carrier.make_target(1, &order.vm.disks[0])?;
    let seen = order
        .settle(&carrier, &tools, "the guest runs again", |seen| {
            seen.guest == Guest::Running
        })
        .await?;
    ensure!(seen.last_stop == Some(Stop::HostLost), "{seen:?}");
    Ok(())
}
