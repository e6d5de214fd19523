//! The records of what departments hold, by the real operator on a real API server.

use std::time::Duration;

use dc_crds::UsageRecord;
use dc_crds::usage::SystemHeld;
use dc_lab::wait::{Look, until};
use kube::Api;
use kube::api::{DeleteParams, ListParams};

use super::machines::province::{DEPARTMENT, Province};
use super::machines::{lead, settle};

/// A record is written once a minute at most; a busy machine of two cores takes longer.
const DEADLINE: Duration = Duration::from_secs(600);

/// The newest record.
async fn record(province: &Province) -> Option<UsageRecord> {
    let records: Api<UsageRecord> = Api::all(province.place.client());
    let label = format!("{}={DEPARTMENT}", dc_crds::DEPARTMENT_LABEL);
    let of = ListParams::default().labels(&label);
    let mut found = records.list(&of).await.unwrap().items;
    found.sort_by(|one, other| one.spec.month.cmp(&other.spec.month));
    found.pop()
}

fn days(record: &UsageRecord) -> usize {
    record.status.as_ref().map_or(0, |status| status.days.len())
}

async fn wait_held(
    province: &Province,
    what: &str,
    is: impl Fn(&[SystemHeld]) -> bool,
) -> UsageRecord {
    until(what, DEADLINE, async || {
        let Some(record) = record(province).await else {
            return Look::NotYet("there is no record".to_owned());
        };
        match record.status.as_ref().is_some_and(|s| is(&s.held)) {
            true => Look::Holds(record),
            false => Look::NotYet(format!("{:?}", record.status)),
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_system_holds_is_recorded_and_stays_when_it_is_given_back() {
    let mut province = Province::start().await;
    let (first, _) = lead(&mut province).await;
    assert!(record(&province).await.is_none(), "nothing was ever held");
    province.apply_vms(["web"]);
    province.wait_state("web", "Running").await;
    let one = |held: &[SystemHeld]| {
        let [land] = held else { return false };
        land.system == "land"
            && land.virtual_machines == 1
            && land.vcpus == 1
            && land.memory_mib == 128
            && land.addresses == 2
            && land.storage.len() == 1
            && land.storage[0].class == "standard"
            && land.storage[0].size_mib == 1024
    };
    let before = wait_held(&province, "the machine to be recorded", one).await;

    // Whoever leads next goes on from what is there, and writes nothing of its own.
    first.kill();
    let next = province.place.real_operator().await;
    let parts = next.leading().await;
    province.stop_agents().await;
    province.run_agents(&[next.advertise().to_owned()]);
    settle(&province, &parts).await;
    let now = record(&province).await.unwrap();
    // Unless it is midnight in between.
    if now.spec.month == before.spec.month && days(&now) == days(&before) {
        assert_eq!(
            now.metadata.resource_version,
            before.metadata.resource_version
        );
    }

    let gone = DeleteParams::default();
    province.vms().delete("web", &gone).await.unwrap();
    let left = wait_held(&province, "nothing to be held", <[SystemHeld]>::is_empty).await;
    let status = left.status.unwrap();
    let held: i64 = status
        .days
        .iter()
        .flat_map(|day| &day.systems)
        .map(|used| {
            assert_eq!(used.system, "land");
            assert_eq!(used.memory_mib_seconds, 128 * used.vcpu_seconds);
            // The volume is there before the machine, and goes after it.
            assert!(used.storage[0].size_mib_seconds >= 1024 * used.vcpu_seconds);
            used.vcpu_seconds
        })
        .sum();
    assert!(held > 0, "{status:?}");
    province.stop_agents().await;
    next.stop().await;
}
