//! ResourceRequest, Approval and RequestPolicy: who answered what, and what is built of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use dc_crds::condition::types::READY;
use dc_crds::request::{Approval, TemplateKind};
use dc_crds::{Condition, ConditionStatus, GRANT, RequestPolicy, RequestPolicyStatus};
use dc_operator_core::conditions::{self, Draft, Judged, merge};
use dc_operator_core::object;
use dc_operator_core::plan::Plan;
use dc_operator_core::quota::wish::ClassSizes;
use dc_operator_core::request::build::{Build, builds};
use dc_operator_core::request::content::{Asked, read};
use dc_operator_core::request::{Live, Readiness, Seen, approval, judge, status};
use dc_operator_core::words::Fact;
use dc_types::ObjectRef;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::json;

use super::api::{self, ApiError};
use super::look::Look;
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now, quota};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(request) = context.stores.requests.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let request = context.reports.latest(request);
    let Some(me) = object::object_ref(&request.metadata) else {
        return Ok(Settled::gone());
    };
    let now = now();
    let look_at = |look: &mut Look<'_>| {
        let around = Read::new(look, &request, &me);
        around.with_seen(&request, &me, &now, |seen| {
            let judgement = judge(seen);
            let found = dc_operator_core::request::status::found(seen, &judgement);
            let judged = Judged {
                generation: object::generation(&request.metadata),
                now: &now,
            };
            let status = status(seen, &judgement, &found, &judged);
            (builds(seen, &judgement), found, status)
        })
    };
    // What was decided is written down before anything is built of it.
    let written = settle(context, key, &request, Kind::Request, |look, _| {
        let (_, found, status) = look_at(look);
        decision(found, status)
    })
    .await?;
    let latest = context.reports.latest(request.clone());
    if latest.status.as_ref().map(|status| status.phase) != Some(dc_crds::request::Phase::Granted) {
        return Ok(written);
    }
    let (builds, ..) = look_at(&mut Look::new(context, key));
    let mut refused = Vec::new();
    for build in &builds {
        match carry_out(context, &me, build).await {
            Ok(()) => {}
            Err(ApiError::Refused { what, why }) => refused.push(Fact::RequestTemplate {
                object: what,
                error: why,
            }),
            Err(error @ ApiError::Request { .. }) => return Err(error.into()),
        }
    }
    if refused.is_empty() {
        return Ok(written);
    }
    settle(context, key, &latest, Kind::Request, |look, _| {
        let (_, mut found, status) = look_at(look);
        found.splice(0..0, refused.iter().cloned());
        let words = dc_operator_core::words::all_words(&found);
        let judged = Judged {
            generation: object::generation(&request.metadata),
            now: &now,
        };
        let old = latest
            .status
            .as_ref()
            .map_or(&[][..], |old| &old.conditions);
        let drafts = words.map(Draft::ready).into_iter().collect();
        let status = dc_crds::ResourceRequestStatus {
            conditions: merge(old, drafts, &judged),
            ..status
        };
        decision(found, status)
    })
    .await
}

fn decision<S>(found: Vec<Fact>, status: S) -> Decision<S> {
    Decision {
        plan: Plan::all_found(found),
        status: Some(status),
        wake: Vec::new(),
        counts: Counts::None,
    }
}

async fn carry_out(context: &Context, me: &ObjectRef, build: &Build) -> Result<(), ApiError> {
    match build {
        Build::Make { kind, name, object } => {
            api::make_template(context, *kind, &me.namespace, name, object).await
        }
        Build::Change { kind, name, patch } => {
            api::change_template(context, *kind, &me.namespace, name, patch).await
        }
    }
}

/// What is read around one request.
struct Read<'a> {
    context: &'a Context,
    approvals: Vec<Arc<Approval>>,
    policies: Vec<Arc<RequestPolicy>>,
    live: BTreeMap<(TemplateKind, String), Live>,
    department: quota::Read<'a>,
    sizes: ClassSizes,
}

impl<'a> Read<'a> {
    fn new(look: &mut Look<'a>, request: &dc_crds::ResourceRequest, me: &ObjectRef) -> Self {
        let context = look.context;
        let stores = &context.stores;
        let mut live = BTreeMap::new();
        let mut take = |look: &mut Look<'a>, kind: TemplateKind, name: &str| {
            if let Some(found) = read_live(look, kind, &me.namespace, name) {
                live.insert((kind, name.to_owned()), found);
            }
        };
        for template in &request.spec.objects {
            take(look, template.kind, &template.name);
            let system = match read(template) {
                Ok(Asked::Volume(volume)) => Some(volume.system),
                Ok(Asked::Vm(vm)) => Some(vm.system),
                Ok(Asked::System(_) | Asked::Subnet(_)) | Err(_) => None,
            };
            if let Some(system) = system {
                take(look, TemplateKind::InformationSystem, &system);
            }
        }
        let mut approvals = stores.approvals.in_namespace(&me.namespace);
        approvals.retain(|approval| approval.spec.request == me.name);
        let classes = stores.classes.all();
        Self {
            context,
            approvals,
            policies: stores.policies.all(),
            live,
            department: quota::Read::new(look, &me.namespace),
            sizes: ClassSizes::read(classes.iter().map(|class| &**class)),
        }
    }

    fn with_seen<R>(
        &self,
        request: &dc_crds::ResourceRequest,
        me: &ObjectRef,
        now: &str,
        judge: impl FnOnce(&Seen<'_>) -> R,
    ) -> R {
        let ledger = &self.context.parts.ledger;
        let taken = ledger.with_claims(|claims| self.department.taken(claims));
        judge(&Seen {
            request,
            me,
            approvals: &self.approvals.iter().map(|a| &**a).collect::<Vec<_>>(),
            policies: &self.policies.iter().map(|p| &**p).collect::<Vec<_>>(),
            live: &|kind, name| self.live.get(&(kind, name.to_owned())).cloned(),
            taken: &taken,
            limits: &self.department.limits(),
            sizes: &self.sizes,
            classes: self.department.classes(),
            now,
        })
    }
}

fn read_live(look: &mut Look<'_>, kind: TemplateKind, namespace: &str, name: &str) -> Option<Live> {
    match kind {
        TemplateKind::InformationSystem => {
            let found = look.system(namespace, name)?;
            Some(live(&found.metadata, &found.spec, Readiness::Ready))
        }
        TemplateKind::Subnet => {
            let found = look.subnet(namespace, name)?;
            let status = found.status.as_ref();
            let ready = readiness(status.map(|status| &status.conditions), &[]);
            Some(live(&found.metadata, &found.spec, ready))
        }
        TemplateKind::Volume => {
            let found = look.volume(namespace, name)?;
            let status = found.status.as_ref();
            let ready = readiness(status.map(|status| &status.conditions), &[]);
            Some(live(&found.metadata, &found.spec, ready))
        }
        TemplateKind::VirtualMachine => {
            let found = look.vm(namespace, name)?;
            let status = found.status.as_ref();
            let resting = ["Stopped", "LeaseEnded"];
            let ready = readiness(status.map(|status| &status.conditions), &resting);
            Some(live(&found.metadata, &found.spec, ready))
        }
    }
}

fn live(meta: &ObjectMeta, spec: &impl Serialize, readiness: Readiness) -> Live {
    let annotations = meta.annotations.as_ref();
    Live {
        grant: annotations.and_then(|a| a.get(GRANT)).cloned(),
        spec: json!(spec),
        readiness,
    }
}

/// Ready, or at rest as asked.
fn readiness(conditions: Option<&Vec<Condition>>, resting: &[&str]) -> Readiness {
    let conditions = conditions.map_or(&[][..], |conditions| conditions);
    let ready = conditions::find(conditions, READY);
    let is_ready = |ready: &Condition| {
        ready.status == ConditionStatus::True || resting.contains(&ready.reason.as_str())
    };
    match ready.is_some_and(is_ready) {
        true => Readiness::Ready,
        false => Readiness::Waiting,
    }
}

/// Whether an answer counts.
pub async fn reconcile_approval(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(found) = context.stores.approvals.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let found = context.reports.latest(found);
    let now = now();
    settle(context, key, &found, Kind::Approval, |look, _| {
        let request = look.request(&key.namespace, &found.spec.request);
        let judged = Judged {
            generation: object::generation(&found.metadata),
            now: &now,
        };
        let facts = approval::counts(&found, request.as_deref()).err();
        let status = approval::status(&found, request.as_deref(), &judged);
        decision(facts.into_iter().collect(), status)
    })
    .await
}

/// A policy is as its schema has it.
pub async fn reconcile_policy(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(policy) = context.stores.policies.get("", &key.name) else {
        return Ok(Settled::gone());
    };
    let policy = context.reports.latest(policy);
    let now = now();
    settle(context, key, &policy, Kind::Policy, |_, _| {
        let judged = Judged {
            generation: object::generation(&policy.metadata),
            now: &now,
        };
        let old = policy.status.as_ref();
        let status = RequestPolicyStatus {
            conditions: merge(
                old.map_or(&[], |old| &old.conditions),
                vec![Draft::ready(Fact::Ready.words())],
                &judged,
            ),
        };
        decision(Vec::new(), status)
    })
    .await
}
