//! From verdicts to steps. Releases first, then items, each in the order of their keys; the steps
//! of one machine are in the order in which they must be done.

use dc_types::InstanceId;
use dc_types::plan::{DiskItem, ItemKey, ItemKind, Release};

use super::growth::grown_disks;
use super::hold::{Freeze, Move, Stage, asks_guest};
use super::judge::{
    Currency, Judgement, Leftovers, PRESS_EVERY_S, RESUME_EVERY_S, ReleaseVerdict, StopMove,
    Verdict, judge, judge_release, may_run, must_thaw, secrets_of,
};
use super::luks;
use super::moves::{self, Switch, plan_copies};
use super::plugs::{self, Plugs};
use super::probes;
use super::record::{Record, Stopping};
use super::seed::render_seed;
use super::seen::{Domain, Power, Seen, TapPlace};
use super::step::{Act, Step};
use super::validate::{Card, ValidVm, validate};
use super::xml::disk::{render_limits, serial};
use super::xml::secret::render_secrets;
use super::xml::{DomainSpec, Metadata, render_domain};
use crate::wanted::Wanted;

/// What is to be done now. Empty when every machine is as wanted, or waits for something else than
/// this host's doing.
#[must_use]
pub fn plan(wanted: &Wanted<'_>, seen: &Seen) -> Vec<Step> {
    let mut steps = Vec::new();
    for release in wanted.releases_of_kind(ItemKind::Vm) {
        let vm = InstanceId(release.key.id);
        let acts = plan_release(wanted, release, seen);
        steps.extend(acts.into_iter().map(|act| Step { vm, act }));
    }
    for item in wanted.of_kind(ItemKind::Vm) {
        if release_pending(wanted, item.key.id, seen) {
            continue;
        }
        if let Some(Ok(valid)) = validate(wanted, item, &seen.records) {
            let vm = valid.vm.vm;
            let acts = plan_machine(wanted, &valid, seen);
            steps.extend(acts.into_iter().map(|act| Step { vm, act }));
        }
    }
    steps
}

/// Whether a release under this machine's key comes before its item: it is not carried out yet, or
/// it speaks of the item itself.
pub(crate) fn release_pending(wanted: &Wanted<'_>, id: uuid::Uuid, seen: &Seen) -> bool {
    let key = ItemKey::new(ItemKind::Vm, id);
    let Some(release) = wanted.releases.get(&key) else {
        return false;
    };
    let covers_item = wanted
        .items
        .get(&key)
        .is_none_or(|item| item.epoch <= release.epoch);
    covers_item || judge_release(wanted, release, seen).1 != ReleaseVerdict::Done
}

fn plan_machine(wanted: &Wanted<'_>, valid: &ValidVm<'_>, seen: &Seen) -> Vec<Act> {
    let vm = valid.vm.vm;
    let Judgement { record, verdict } = judge(wanted, valid, seen);
    let domain = seen.domains.get(&vm);
    let stored = seen.records.get(&vm);
    // A machine that was never here has nothing to write down.
    let settled = (stored != Some(&record) && (stored.is_some() || record != Record::default()))
        .then(|| Act::Note(record.clone()));
    let settled = |more: Vec<Act>| settled.into_iter().chain(more).collect();
    match verdict {
        Verdict::Start => plan_start(wanted, valid, domain, &record, seen),
        Verdict::Finish => settled(
            plan_repairs(valid, seen)
                .chain([Act::Resume, Act::Note(record.running(&wanted.host.boot_id))])
                .collect(),
        ),
        Verdict::Retry => {
            let record = Record {
                resumed_at: Some(seen.now),
                ..record
            };
            [Act::Note(record)]
                .into_iter()
                .chain(plan_repairs(valid, seen))
                .chain([Act::Resume])
                .collect()
        }
        Verdict::Stop(stop, _) => {
            // A guest whose file systems are frozen cannot go down by itself.
            let frozen = seen.freezes.get(&vm) == Some(&Freeze::Frozen);
            let thaw = (frozen && must_thaw(&record, Some(Freeze::Frozen))).then_some(Act::Thaw);
            let stop = plan_stop(stop, record, stored, seen.now);
            thaw.into_iter().chain(stop).collect()
        }
        Verdict::Hold(next) => settled(match next {
            Move::Freeze => vec![Act::Freeze],
            Move::Pause => vec![Act::Pause],
            Move::Keep => Vec::new(),
            Move::LetGo if domain.is_some_and(is_paused) => vec![Act::Resume],
            // It runs: whether it is frozen is looked at next.
            Move::LetGo | Move::Thaw => Vec::new(),
        }),
        Verdict::Switch(next) => settled(match next {
            Switch::Pause => vec![Act::Pause],
            Switch::Pivot { device } => vec![Act::Pivot { device }],
            Switch::Wait => Vec::new(),
            Switch::LetGo => vec![Act::Resume],
        }),
        Verdict::Running(currency) => {
            let thaw = must_thaw(&record, seen.freezes.get(&vm).copied()).then_some(Act::Thaw);
            let others = plan_running(wanted, valid, (currency, &record), seen);
            settled(thaw.into_iter().chain(others).collect())
        }
        Verdict::Off => settled(stale_secrets(vm, seen)),
        Verdict::Refuse(_) => Vec::new(),
        Verdict::Wait(_) => {
            // A start that waits makes its secrets anew: until then nobody needs them.
            let stale = match domain.is_some_and(|domain| domain.power.is_active()) {
                true => Vec::new(),
                false => stale_secrets(vm, seen),
            };
            settled([stale, luks::acts(&valid.vm, seen)].concat())
        }
        Verdict::Held(_) | Verdict::DiskError | Verdict::Passing | Verdict::Panicked => {
            settled(Vec::new())
        }
    }
}

fn plan_start(
    wanted: &Wanted<'_>,
    valid: &ValidVm<'_>,
    domain: Option<&Domain>,
    record: &Record,
    seen: &Seen,
) -> Vec<Act> {
    let Ok(cards) = &valid.cards else {
        return Vec::new();
    };
    let vm = &*valid.vm;
    let starting = record.starting(&vm.restart, seen.now, &wanted.host.boot_id);
    let mut acts = vec![Act::Note(starting.clone())];
    acts.extend(stale_secrets(vm.vm, seen));
    // libvirt does not define a domain anew under another name.
    if domain.is_some_and(|domain| domain.name != valid.domain_name) {
        acts.push(Act::Undefine);
    }
    acts.push(Act::WriteSeed(render_seed(
        vm.vm, &vm.seed, cards, valid.mtu,
    )));
    acts.extend(
        vm.disks
            .iter()
            .flat_map(|disk| render_secrets(vm.vm, disk))
            .map(Act::DefineSecret),
    );
    acts.extend(cards.iter().map(|card| Act::MakeTap {
        name: card.tap.clone(),
        mtu: valid.mtu,
    }));
    acts.push(Act::Define {
        xml: render_domain(&DomainSpec {
            vm,
            name: &valid.domain_name,
            metadata: &metadata_at_start(valid),
            accelerator: wanted.host.accelerator,
            cards,
            mtu: valid.mtu,
            seed: &valid.files.seed,
            nvram: &valid.files.nvram,
            console: &valid.files.console,
        }),
    });
    acts.push(Act::Start);
    acts.extend(cards.iter().map(plug));
    acts.push(Act::Resume);
    acts.push(Act::Note(starting.running(&wanted.host.boot_id)));
    acts
}

/// Plugs every tap that is not where it belongs: before a guest runs, and while it does.
fn plan_repairs<'a>(valid: &'a ValidVm<'_>, seen: &'a Seen) -> impl Iterator<Item = Act> + 'a {
    let cards = valid.cards.as_deref().unwrap_or_default();
    cards
        .iter()
        .filter(|card| is_misplaced(card, seen))
        .map(plug)
}

fn plug(card: &Card) -> Act {
    Act::PlugTap {
        name: card.tap.clone(),
        netns: card.netns.clone(),
        bridge: card.bridge.clone(),
    }
}

/// Secrets of this machine that no start needs any more. Those of its present grants go too: a
/// start defines them anew.
fn stale_secrets(vm: InstanceId, seen: &Seen) -> Vec<Act> {
    secrets_of(vm, seen).map(Act::RemoveSecret).collect()
}

/// The stop is written down before it is done, so that what follows is known to be asked for.
fn plan_stop(stop: StopMove, record: Record, stored: Option<&Record>, now: i64) -> Vec<Act> {
    let stopping = match (stop, record.stopping) {
        (StopMove::Press, Some(stopping)) => Some(Stopping {
            pressed: now,
            ..stopping
        }),
        (StopMove::Press | StopMove::Kill, None) => Some(Stopping {
            since: now,
            pressed: now,
        }),
        (_, stopping) => stopping,
    };
    let record = Record { stopping, ..record };
    let note = (stored != Some(&record)).then_some(Act::Note(record));
    let act = match stop {
        StopMove::Press => Some(Act::Press),
        StopMove::Kill => Some(Act::Destroy),
        StopMove::Wait => None,
    };
    note.into_iter().chain(act).collect()
}

fn is_paused(domain: &Domain) -> bool {
    matches!(domain.power, Power::Paused(_))
}

/// Limits that are not as they are asked for; a disk that the guest was not started with has none.
fn plan_limits(valid: &ValidVm<'_>, domain: &Domain) -> Vec<Act> {
    let differs = |disk: &DiskItem| {
        let live = domain.disks.get(&serial(disk))?;
        let qos = render_limits(&disk.qos);
        (live.qos != qos).then(|| Act::Limit {
            device: live.device.clone(),
            qos,
        })
    };
    valid.vm.disks.iter().filter_map(differs).collect()
}

fn plan_running(
    wanted: &Wanted<'_>,
    valid: &ValidVm<'_>,
    (currency, record): (Currency, &Record),
    seen: &Seen,
) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut last = Vec::new();
    if let Some(domain) = seen.domains.get(&valid.vm.vm) {
        let mut record = record.clone();
        let plugs = plugs::compare(&valid.vm, domain);
        acts.extend(plugs.forget_logins(seen));
        let metadata = metadata_of_running(valid, (currency, &record), domain, &plugs);
        if metadata != domain.metadata {
            acts.push(Act::Adopt {
                metadata: metadata.render_alone(),
            });
        }
        acts.extend(plan_limits(valid, domain));
        acts.extend(grown_disks(&valid.vm, domain).map(|grown| grown.act()));
        acts.extend(plan_copies(&mut record, valid.asked, domain, seen.now));
        last = plugs.acts(&valid.vm, &mut record, seen.now);
        acts.extend(luks::acts(&valid.vm, seen));
    }
    if may_run(wanted, valid).is_ok() {
        acts.extend(plan_repairs(valid, seen));
    }
    acts.extend(last);
    acts
}

/// A tap that is gone cannot be plugged: the running QEMU holds the old one.
fn is_misplaced(card: &Card, seen: &Seen) -> bool {
    match seen.taps.get(&card.tap) {
        None => false,
        Some(TapPlace::Host) => true,
        Some(TapPlace::Netns { netns, bridge }) => {
            *netns != card.netns || bridge.as_deref() != Some(&card.bridge)
        }
    }
}

fn metadata_at_start(valid: &ValidVm<'_>) -> Metadata {
    Metadata {
        object: valid.item.object.clone(),
        system: valid.vm.system.clone(),
        epoch: valid.item.epoch,
        hash: valid.item.hash(),
        grants: valid
            .vm
            .disks
            .iter()
            .map(|disk| (disk.volume, disk.grant))
            .collect(),
        definition: valid.definition.clone(),
        restart: valid.restart(),
        stop_deadline_s: valid.vm.stop_deadline_s,
        machine_type: valid.vm.machine_type.clone(),
    }
}

/// Whose it is now, what it was started with, and what it has open.
fn metadata_of_running(
    valid: &ValidVm<'_>,
    (currency, record): (Currency, &Record),
    domain: &Domain,
    plugs: &Plugs<'_>,
) -> Metadata {
    let now = Metadata {
        grants: plugs.grants(&valid.vm, record, domain),
        ..metadata_at_start(valid)
    };
    let started = &domain.metadata;
    match currency {
        Currency::Current => now,
        Currency::NextStart => Metadata {
            definition: started.definition.clone(),
            machine_type: started.machine_type.clone(),
            ..now
        },
    }
}

fn plan_release(wanted: &Wanted<'_>, release: &Release, seen: &Seen) -> Vec<Act> {
    let vm = InstanceId(release.key.id);
    let (record, verdict) = judge_release(wanted, release, seen);
    match verdict {
        ReleaseVerdict::Done => Vec::new(),
        ReleaseVerdict::LetGo => vec![Act::Note(record), Act::Resume],
        ReleaseVerdict::Stop(stop) => plan_stop(stop, record, seen.records.get(&vm), seen.now),
        ReleaseVerdict::Clear(left) => plan_clear(left),
    }
}

/// The record goes last: until then a cut leaves something that says whose the rest is.
fn plan_clear(left: Leftovers) -> Vec<Act> {
    let Leftovers {
        domain,
        secrets,
        taps,
        files,
        record,
        formats,
    } = left;
    let mut acts = Vec::new();
    acts.extend(
        formats
            .into_iter()
            .map(|(place, grant)| Act::StopFormat { place, grant }),
    );
    acts.extend(domain.then_some(Act::Undefine));
    acts.extend(secrets.into_iter().map(Act::RemoveSecret));
    acts.extend(taps.into_iter().map(Act::DeleteTap));
    acts.extend(files.then_some(Act::RemoveFiles));
    acts.extend(record.then_some(Act::Forget));
    acts
}

/// In how many seconds to look again although nothing has changed by then: something waits for
/// time to pass, or for a guest to go down. `None` when nothing does.
#[must_use]
pub fn next_look(wanted: &Wanted<'_>, seen: &Seen) -> Option<u32> {
    let of_releases = wanted.releases_of_kind(ItemKind::Vm).filter_map(|release| {
        match judge_release(wanted, release, seen).1 {
            ReleaseVerdict::Stop(_) | ReleaseVerdict::LetGo => Some(1),
            ReleaseVerdict::Done | ReleaseVerdict::Clear(_) => None,
        }
    });
    let of_items = wanted.of_kind(ItemKind::Vm).filter_map(|item| {
        if release_pending(wanted, item.key.id, seen) {
            return None;
        }
        let valid = validate(wanted, item, &seen.records)?.ok()?;
        let Judgement { record, verdict } = judge(wanted, &valid, seen);
        let of_hold = record.hold.filter(|hold| !hold.is_over()).map(|hold| {
            if asks_guest(&record) || matches!(hold.stage, Stage::Pausing(_)) {
                return 1;
            }
            hold.seconds_left(seen.now)
        });
        let of_verdict = match verdict {
            Verdict::Stop(..) | Verdict::Passing | Verdict::Switch(_) => Some(1),
            Verdict::Running(_) => seen.domains.get(&valid.vm.vm).and_then(|domain| {
                let of_moves = moves::next_look(&record, valid.asked, domain, seen.now);
                let plugs = plugs::compare(&valid.vm, domain);
                let of_plugs = plugs.next_look(&record, seen.now);
                let of_probes = probes::next_look(valid.asked, seen);
                let looks = [of_moves, of_plugs, of_probes];
                looks.into_iter().flatten().min()
            }),
            Verdict::DiskError => Some(RESUME_EVERY_S),
            Verdict::Wait(_) => {
                let waited = seen.now - record.started_at.unwrap_or(seen.now);
                let left = record.pause_s() - waited;
                // Past that it waits for its network, which wakes us when it is ready.
                (left > 0).then(|| left.min(PRESS_EVERY_S))
            }
            _ => None,
        };
        let of_formats = luks::next_look(valid.vm.vm, seen);
        let seconds = of_hold.into_iter().chain(of_verdict).chain(of_formats);
        let seconds = seconds.min()?;
        u32::try_from(seconds).ok()
    });
    of_releases.chain(of_items).min()
}
