//! The record of what a department holds, month by month: looked at whenever the department was.

use std::collections::HashMap;
use std::sync::Mutex;

use dc_crds::usage::days::{self, Month};
use dc_crds::usage::{SystemHeld, UsageRecordSpec, UsageRecordStatus};
use dc_crds::{DEPARTMENT_LABEL, UsageRecord, VirtualMachine, Volume};
use dc_operator_core::showback::{Owned, Planned, Seen, TIME_ZONE, held, plan};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::api::{self, ApiError};
use super::queue::Ended;
use super::settle::{SettleError, Settled, until};
use super::{Context, lock, quota};
use crate::stores::Key;

/// The newest record of each department, as it was last written or found in this term.
#[derive(Default)]
pub struct Records(Mutex<HashMap<String, Option<Month>>>);

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let department = &*key.name;
    if context.stores.departments.get("", department).is_none() {
        lock(&context.records.0).remove(department);
        return Ok(Settled::gone());
    }
    let Some(zone) = days::zone(TIME_ZONE) else {
        return Ok(Settled::gone());
    };
    let held = read(context, department);
    let last = last(context, department).await?;
    let Planned { write, again_at } = plan(&Seen {
        now: Timestamp::now(),
        zone: &zone,
        held: &held,
        last: last.as_ref(),
    });
    for month in write {
        let written = apply(context, department, &month).await;
        // Whether it was written is not known after an error: it is read again.
        let known = written.is_ok().then_some(Some(month));
        let mut records = lock(&context.records.0);
        match known {
            Some(month) => records.insert(department.to_owned(), month),
            None => records.remove(department),
        };
        drop(records);
        written?;
    }
    let ended = again_at.map_or(Ended::Well, |at| Ended::Again(until(at)));
    Ok(Settled {
        ended,
        ..Settled::gone()
    })
}

fn read(context: &Context, department: &str) -> Vec<SystemHeld> {
    let vms = context.stores.vms.in_namespace(department);
    let volumes = context.stores.volumes.in_namespace(department);
    let vms: Vec<&VirtualMachine> = vms.iter().map(|vm| &**vm).collect();
    let volumes: Vec<&Volume> = volumes.iter().map(|volume| &**volume).collect();
    let owned = Owned {
        vms: &vms,
        volumes: &volumes,
        classes: &quota::classes(context),
    };
    context
        .parts
        .ledger
        .with_claims(|claims| held(&owned, claims))
}

/// The newest record there is; asked for once in a term.
async fn last(context: &Context, department: &str) -> Result<Option<Month>, ApiError> {
    if let Some(known) = lock(&context.records.0).get(department) {
        return Ok(known.clone());
    }
    let api: Api<UsageRecord> = Api::all(context.parts.client.clone());
    let of = ListParams::default().labels(&format!("{DEPARTMENT_LABEL}={department}"));
    let found = api.list(&of).await;
    let found = found.map_err(|error| api::failed("UsageRecords", error))?;
    // Made, and never filled: whoever made it has died in between.
    let filled = found.items.into_iter().filter_map(|record| {
        let status = record.status?;
        Some(Month {
            month: record.spec.month,
            status,
        })
    });
    let newest = filled.max_by(|one, other| one.month.cmp(&other.month));
    lock(&context.records.0).insert(department.to_owned(), newest.clone());
    Ok(newest)
}

async fn apply(context: &Context, department: &str, month: &Month) -> Result<(), ApiError> {
    let Month { month, status } = month;
    let spec = UsageRecordSpec {
        department: department.to_owned(),
        month: month.clone(),
        time_zone: TIME_ZONE.to_owned(),
    };
    let mut record = UsageRecord::new(&format!("{department}.{month}"), spec);
    let label = (DEPARTMENT_LABEL.to_owned(), department.to_owned());
    record.labels_mut().extend([label]);
    let api: Api<UsageRecord> = Api::all(context.parts.client.clone());
    api::apply(context, "UsageRecord", &api, &record).await?;
    let status: &UsageRecordStatus = status;
    api::apply_status(context, "UsageRecord", &api, &record.name_any(), status).await
}
