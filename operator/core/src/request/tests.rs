use std::cell::RefCell;
use std::collections::BTreeMap;

use dc_crds::condition::types;
use dc_crds::request::{DecisionRole, Verdict};
use dc_crds::{FINALIZER, ResourceRequestStatus};
use dc_types::ObjectUid;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::build::{Build, builds, changes};
use super::status::found;
use super::*;
use crate::conditions::Judged;
use crate::quota::Thing;
use crate::words::Fact;

const OFFICER: &str = "oidc:an";
const LEADER: &str = "oidc:binh";
const CENTRE: &str = "oidc:chi";

/// A request with what is around it, looked at again and again as the operator does.
struct Desk {
    request: ResourceRequest,
    approvals: Vec<Approval>,
    policies: Vec<RequestPolicy>,
    live: RefCell<BTreeMap<(TemplateKind, String), Live>>,
    taken: Amounts,
    limits: Limits,
}

fn me() -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: "portal".into(),
        uid: ObjectUid(Uuid::from_u128(7)),
    }
}

fn machine(class: &str) -> Value {
    json!({
        "system": "portal", "class": class,
        "disks": [{"name": "root", "template": {"pool": "san-1", "size": "20Gi"}}],
        "interfaces": [{"subnet": "dmz", "publish": ["http"]}],
    })
}

impl Desk {
    fn new() -> Self {
        let request = json!({
            "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "ResourceRequest",
            "metadata": {"name": "portal", "namespace": "so-nnmt", "uid": me().uid.to_string(),
                         "finalizers": [FINALIZER], "generation": 1},
            "spec": {
                "phase": "Submitted", "reason": "a portal", "authors": [OFFICER],
                "lease": {"until": "2029-12-31T17:00:00Z"},
                "objects": [
                    {"kind": "VirtualMachine", "name": "web", "spec": machine("small")},
                    {"kind": "InformationSystem", "name": "portal",
                     "spec": {"displayName": {"vi": "Cổng", "en": "Portal"}, "securityLevel": 2}},
                ],
            },
        });
        Self {
            request: serde_json::from_value(request).unwrap(),
            approvals: Vec::new(),
            policies: Vec::new(),
            live: RefCell::default(),
            taken: Amounts::default(),
            limits: Limits::default(),
        }
    }

    fn with_seen<R>(&self, look: impl FnOnce(&Seen<'_>) -> R) -> R {
        let class: dc_crds::MachineClass = serde_json::from_value(json!({
            "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "MachineClass",
            "metadata": {"name": "small"}, "spec": {"vcpus": 2, "memory": "1Gi"},
        }))
        .unwrap();
        look(&Seen {
            request: &self.request,
            me: &me(),
            approvals: &self.approvals.iter().collect::<Vec<_>>(),
            policies: &self.policies.iter().collect::<Vec<_>>(),
            live: &|kind, name| self.live.borrow().get(&(kind, name.to_owned())).cloned(),
            taken: &self.taken,
            limits: &self.limits,
            sizes: &ClassSizes::read([&class]),
            classes: &PoolClasses::default(),
            now: "2027-01-15T08:00:00Z",
        })
    }

    /// One look: what is decided is written down, what is to be built comes out.
    fn look(&mut self) -> Vec<Build> {
        let (status, builds) = self.with_seen(|seen| {
            let judgement = judge(seen);
            let found = found(seen, &judgement);
            let judged = Judged {
                generation: 1,
                now: seen.now,
            };
            let status = status(seen, &judgement, &found, &judged);
            (status, builds(seen, &judgement))
        });
        self.request.status = Some(status);
        builds
    }

    fn status(&self) -> ResourceRequestStatus {
        self.request.status.clone().unwrap()
    }

    fn reason(&self) -> String {
        let conditions = self.status().conditions;
        let ready = conditions.iter().find(|c| c.type_ == types::READY);
        ready.unwrap().reason.clone()
    }

    fn phases(&self) -> Vec<Phase> {
        let history = self.status().history;
        history.iter().map(|step| step.phase).collect()
    }

    fn answer(&mut self, who: &str, role: DecisionRole, verdict: Verdict) {
        let approval = json!({
            "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Approval",
            "metadata": {"name": format!("a{}", self.approvals.len()), "namespace": "so-nnmt"},
            "spec": {"request": "portal", "requestUid": me().uid.to_string(),
                     "hash": content::hash(&self.request.spec), "role": role,
                     "verdict": verdict, "approver": who, "reason": "as agreed"},
        });
        self.approvals
            .push(serde_json::from_value(approval).unwrap());
    }

    fn policy(&mut self, rules: Value) {
        let policy = json!({
            "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "RequestPolicy",
            "metadata": {"name": format!("p{}", self.policies.len())}, "spec": {"rules": rules},
        });
        self.policies.push(serde_json::from_value(policy).unwrap());
    }

    /// As the API server does it.
    fn carry_out(&self, builds: &[Build]) {
        let mut live = self.live.borrow_mut();
        for build in builds {
            let (kind, name, object) = match build {
                Build::Make { kind, name, object } => (kind, name, object),
                Build::Change { kind, name, patch } => (kind, name, patch),
            };
            let grant = object["metadata"]["annotations"][dc_crds::GRANT].as_str();
            let object = Live {
                grant: grant.map(str::to_owned),
                spec: object["spec"].clone(),
                readiness: Readiness::Waiting,
            };
            live.insert((*kind, name.clone()), object);
        }
    }

    fn ready(&self) {
        for live in self.live.borrow_mut().values_mut() {
            live.readiness = Readiness::Ready;
        }
    }

    fn granted() -> Self {
        let mut desk = Self::new();
        desk.answer(LEADER, DecisionRole::Leader, Verdict::Approve);
        desk.answer(CENTRE, DecisionRole::Centre, Verdict::Approve);
        desk.look();
        assert_eq!(desk.status().phase, Phase::Granted);
        desk
    }
}

#[test]
fn it_goes_from_submission_to_provision_and_each_step_says_who_when_and_why() {
    let mut desk = Desk::new();
    assert_eq!(desk.look(), []);
    assert_eq!(
        (desk.status().phase, desk.reason().as_str()),
        (Phase::Submitted, "WaitsForLeader")
    );
    assert_eq!(
        desk.status().needs,
        [DecisionRole::Leader, DecisionRole::Centre]
    );
    desk.answer(LEADER, DecisionRole::Leader, Verdict::Approve);
    assert_eq!(desk.look(), []);
    assert_eq!(
        (desk.status().phase, desk.reason().as_str()),
        (Phase::Approved, "WaitsForCentre")
    );
    desk.answer(CENTRE, DecisionRole::Centre, Verdict::Approve);
    let builds = desk.look();
    let Build::Make { name, object, .. } = &builds[1] else {
        panic!("{builds:?}");
    };
    assert_eq!(name, "web", "the system comes first");
    assert_eq!(object["spec"]["lease"]["until"], "2029-12-31T17:00:00Z");
    let mark = object["metadata"]["annotations"][dc_crds::GRANT]
        .as_str()
        .unwrap();
    assert_eq!(mark, grant(&me(), &desk.status().hash));
    desk.carry_out(&builds);
    assert_eq!(desk.look(), [], "done twice is done once");
    assert_eq!(desk.reason(), "Building");
    desk.ready();
    desk.look();
    assert_eq!(desk.reason(), "Provisioned");
    let phases = [
        Phase::Submitted,
        Phase::Approved,
        Phase::Granted,
        Phase::Provisioned,
    ];
    assert_eq!(desk.phases(), phases);
    let by: Vec<String> = desk
        .status()
        .history
        .into_iter()
        .map(|step| step.by)
        .collect();
    assert_eq!(by, [OFFICER, LEADER, CENTRE, "dc-operator"]);
    assert!(
        desk.status()
            .history
            .iter()
            .all(|step| step.at == "2027-01-15T08:00:00Z")
    );
    assert_eq!(desk.status().history[1].why, "as agreed");
}

#[test]
fn nobody_decides_on_what_he_wrote_and_no_answer_to_something_else_counts() {
    let mut desk = Desk::new();
    desk.answer(OFFICER, DecisionRole::Leader, Verdict::Approve);
    desk.answer("", DecisionRole::Leader, Verdict::Approve);
    // A leader who has written in it himself.
    desk.request.spec.authors.push(LEADER.into());
    desk.answer(LEADER, DecisionRole::Leader, Verdict::Reject);
    // For an older request of the name, and for another content.
    desk.answer("oidc:dung", DecisionRole::Leader, Verdict::Approve);
    desk.approvals[3].spec.request_uid = Uuid::from_u128(8).to_string();
    desk.answer("oidc:dung", DecisionRole::Leader, Verdict::Approve);
    desk.request.spec.reason = "something else".into();
    desk.look();
    assert_eq!(desk.status().phase, Phase::Submitted);
    let reasons: Vec<String> = desk
        .approvals
        .iter()
        .map(|a| approval::counts(a, Some(&desk.request)).unwrap_err())
        .map(|fact| fact.words().reason)
        .collect();
    assert_eq!(
        reasons,
        [
            "OwnRequest",
            "OwnRequest",
            "OwnRequest",
            "NoSuchRequest",
            "OtherContent"
        ]
    );
    // As Centre one does not approve for the leader.
    desk.answer(CENTRE, DecisionRole::Centre, Verdict::Approve);
    desk.look();
    assert_eq!(desk.status().phase, Phase::Submitted);
}

#[test]
fn what_changed_after_approval_waits_anew_and_after_the_grant_nothing_of_it_is_built() {
    let mut desk = Desk::new();
    desk.answer(LEADER, DecisionRole::Leader, Verdict::Approve);
    desk.look();
    desk.request.spec.objects[0].spec["class"] = json!("giant");
    // The centre's answer is to what was approved before.
    desk.answer(CENTRE, DecisionRole::Centre, Verdict::Approve);
    desk.approvals[1].spec.hash = desk.status().hash;
    assert_eq!(desk.look(), []);
    assert_eq!(
        desk.phases(),
        [Phase::Submitted, Phase::Approved, Phase::Submitted]
    );
    assert_eq!(desk.status().approved_hash, None);

    let mut desk = Desk::granted();
    desk.request.spec.objects[0].spec["class"] = json!("giant");
    assert_eq!(desk.look(), []);
    assert_eq!(
        (desk.status().phase, desk.reason().as_str()),
        (Phase::Granted, "ChangedSinceApproval")
    );
}

#[test]
fn a_rejection_ends_it_and_so_does_a_withdrawal_until_it_is_granted() {
    let mut desk = Desk::new();
    desk.answer(LEADER, DecisionRole::Leader, Verdict::Approve);
    desk.answer(CENTRE, DecisionRole::Centre, Verdict::Reject);
    desk.look();
    assert_eq!(desk.status().phase, Phase::Rejected);
    assert!(
        desk.status().conditions[0]
            .message
            .contains("rejected by oidc:chi: as agreed")
    );

    let mut desk = Desk::new();
    desk.request.spec.phase = dc_crds::request::WantedPhase::Withdrawn;
    desk.answer(LEADER, DecisionRole::Leader, Verdict::Approve);
    desk.look();
    assert_eq!(desk.phases(), [Phase::Withdrawn]);

    let mut desk = Desk::granted();
    desk.request.spec.phase = dc_crds::request::WantedPhase::Withdrawn;
    desk.look();
    assert_eq!(desk.status().phase, Phase::Granted);
}

#[test]
fn a_template_that_does_not_read_is_not_submitted() {
    for (field, value) in [
        ("sise", json!(3)),
        ("class", json!(5)),
        ("disks", json!("x")),
    ] {
        let mut desk = Desk::new();
        desk.request.spec.objects[0]
            .spec
            .insert(field.into(), value);
        desk.look();
        assert_eq!(desk.status().phase, Phase::Draft, "{field}");
        assert_eq!(desk.reason(), "TemplateInvalid");
    }
}

#[test]
fn policies_say_whose_answer_is_needed() {
    let small = json!([{"when": {"aboveQuotaPercent": 50}, "needs": ["Leader"]},
                       {"when": {"exposure": "Public", "securityLevel": 3}, "needs": ["Centre"]}]);
    let needs = |change: &dyn Fn(&mut Desk)| {
        let mut desk = Desk::new();
        desk.policy(small.clone());
        let all = json!({"vcpus": 10, "memory": "10Gi", "virtualMachines": 10,
                         "publicAddresses": 10, "publishedServices": 10});
        desk.limits = Limits::read(Some(&serde_json::from_value(all).unwrap()));
        change(&mut desk);
        desk.with_seen(|seen| policy::needs(seen).roles.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(needs(&|_| ()), []);
    assert_eq!(
        needs(&|desk| desk.taken.add(Thing::Vcpus, 4)),
        [DecisionRole::Leader]
    );
    // No limit, no share.
    assert_eq!(
        needs(&|desk| desk.limits = Limits::default()),
        [DecisionRole::Leader]
    );
    let level = |desk: &mut Desk, level| {
        desk.request.spec.objects[1].spec["securityLevel"] = level;
    };
    assert_eq!(needs(&|desk| level(desk, json!(3))), [DecisionRole::Centre]);
    assert_eq!(
        needs(&|desk| level(desk, Value::Null)),
        [DecisionRole::Centre],
        "none determined"
    );
    let always = json!([{"needs": ["Centre"]}]);
    assert_eq!(
        needs(&|desk| desk.policy(always.clone())),
        [DecisionRole::Centre]
    );
    let others = |desk: &mut Desk| desk.policies[0].spec.departments = vec!["so-tc".into()];
    assert_eq!(
        needs(&others),
        [DecisionRole::Leader, DecisionRole::Centre],
        "none is for it"
    );

    // A small wish is granted at once, by the policy's name.
    let mut desk = Desk::new();
    desk.policy(json!([]));
    assert_eq!(desk.look().len(), 2);
    assert_eq!(
        desk.phases(),
        [Phase::Submitted, Phase::Approved, Phase::Granted]
    );
    assert_eq!(desk.status().history[2].by, "policy p0");
}

#[test]
fn a_change_of_what_is_there_shows_the_difference_and_is_made_once() {
    let mut desk = Desk::granted();
    let builds = desk.look();
    desk.carry_out(&builds);
    desk.ready();
    desk.look();
    // Somebody makes it otherwise: told, not put back.
    let web = (TemplateKind::VirtualMachine, "web".to_owned());
    desk.live.borrow_mut().get_mut(&web).unwrap().spec["class"] = json!("giant");
    assert_eq!(desk.look(), []);
    assert_eq!(desk.reason(), "DiffersFromGrant");
    assert!(
        desk.status().conditions[0]
            .message
            .contains("VirtualMachine web: spec.class: giant → small")
    );

    // Another request for it.
    let mut next = Desk::new();
    next.live = desk.live;
    next.request.spec.objects[0].spec = machine("medium").as_object().unwrap().clone();
    next.request.spec.reason = "more visitors".into();
    next.look();
    assert_eq!(
        next.status().changes,
        ["VirtualMachine web: spec.class: giant → medium"]
    );
    next.answer(LEADER, DecisionRole::Leader, Verdict::Approve);
    next.answer(CENTRE, DecisionRole::Centre, Verdict::Approve);
    let builds = next.look();
    assert!(matches!(builds[1], Build::Change { .. }), "{builds:?}");
    next.carry_out(&builds);
    next.ready();
    next.look();
    assert_eq!(next.status().phase, Phase::Provisioned);
    assert_eq!(next.with_seen(changes), Vec::<String>::new());
}

#[test]
fn user_data_is_never_shown_in_what_a_request_changes_or_in_what_is_wrong_with_it() {
    const SECRETS: [&str; 2] = ["old-password", "new-password"];
    let with = |init: Value| {
        let mut spec = machine("small");
        spec["cloudInit"] = init;
        spec
    };
    let [old, new] = SECRETS.map(|secret| json!({"userData": format!("#! {secret}")}));
    let cases = [
        // Changed, put where nothing was, taken into a Secret, with a field that is no text.
        (with(old.clone()), with(new.clone()), "userData"),
        (machine("small"), with(new.clone()), "cloudInit"),
        (
            with(old.clone()),
            with(json!({"secret": "init"})),
            "cloudInit",
        ),
        (with(old), with(json!("new-password")), "cloudInit"),
        (
            machine("small"),
            with(json!({"userData": ["new-password"]})),
            "cloudInit",
        ),
        (
            machine("small"),
            with(json!({"userdata": "new-password"})),
            "cloudInit",
        ),
    ];
    for (is, wanted, told) in cases {
        let mut desk = Desk::granted();
        let builds = desk.look();
        desk.carry_out(&builds);
        let web = (TemplateKind::VirtualMachine, "web".to_owned());
        desk.live.borrow_mut().get_mut(&web).unwrap().spec = is;
        let mut next = Desk::new();
        next.live = desk.live;
        next.request.spec.objects[0].spec = wanted.as_object().unwrap().clone();
        next.look();
        let status = serde_json::to_string(&next.status()).unwrap();
        assert!(status.contains(told), "{status}");
        for secret in SECRETS {
            assert!(!status.contains(secret), "{status}");
        }
        // The same after the grant, when what was built is otherwise.
        let strayed = next.with_seen(|seen| build::strayed(seen, &judge(seen)));
        assert!(!strayed.concat().contains("password"), "{strayed:?}");
    }
}

#[test]
fn the_hash_is_of_the_content_in_any_order_of_fields_and_not_of_who_and_how_far() {
    let desk = Desk::new();
    let before = content::hash(&desk.request.spec);
    let mut other = desk.request.spec.clone();
    other.authors.push("oidc:dung".into());
    other.phase = dc_crds::request::WantedPhase::Draft;
    assert_eq!(content::hash(&other), before);
    other.needed_by = Some("2027-03-01".into());
    assert_ne!(content::hash(&other), before);
    let turned: dc_crds::ResourceRequestSpec = serde_json::from_str(
        r#"{"reason":"r","objects":[{"name":"a","kind":"Subnet","spec":{"zone":"z","dns":[]}}]}"#,
    )
    .unwrap();
    let same: dc_crds::ResourceRequestSpec = serde_json::from_str(
        r#"{"objects":[{"spec":{"dns":[],"zone":"z"},"kind":"Subnet","name":"a"}],"reason":"r"}"#,
    )
    .unwrap();
    assert_eq!(content::hash(&turned), content::hash(&same));
}

fn moves() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0u8..9, 1..20)
}

proptest! {
    /// Whatever happens in whatever order: what is built was approved by two who did not write it.
    #[test]
    fn nothing_is_built_that_two_others_have_not_approved(moves in moves()) {
        let mut desk = Desk::new();
        for number in moves {
            match number {
                0 => desk.answer(LEADER, DecisionRole::Leader, Verdict::Approve),
                1 => desk.answer(CENTRE, DecisionRole::Centre, Verdict::Approve),
                2 => desk.answer(OFFICER, DecisionRole::Leader, Verdict::Approve),
                3 => desk.answer(OFFICER, DecisionRole::Centre, Verdict::Approve),
                4 => desk.request.spec.reason.push('!'),
                5 => desk.request.spec.phase = dc_crds::request::WantedPhase::Draft,
                6 => desk.request.spec.phase = dc_crds::request::WantedPhase::Submitted,
                7 => { desk.approvals.pop(); }
                _ => desk.answer("oidc:dung", DecisionRole::Leader, Verdict::Reject),
            }
            let before = desk.request.status.as_ref().map(|status| status.history.len());
            let builds = desk.look();
            let hash = content::hash(&desk.request.spec);
            if !builds.is_empty() {
                let status = desk.status();
                prop_assert_eq!(status.approved_hash.as_ref(), Some(&hash));
                let last = &status.history[status.history.len() - 2..];
                prop_assert_eq!(last[0].by.as_str(), LEADER);
                prop_assert_eq!(last[1].by.as_str(), CENTRE);
            }
            let status = desk.status();
            prop_assert!(status.history.len() >= before.unwrap_or_default());
            prop_assert_eq!(status.history.last().map_or(Phase::Draft, |s| s.phase), status.phase);
        }
    }
}

#[test]
fn what_a_person_reads_comes_in_both_languages() {
    for fact in [
        Fact::RequestDraft,
        Fact::RequestChanged,
        Fact::RequestProvisioned,
        Fact::ApprovalCounts,
    ] {
        let words = fact.words();
        assert!(!words.en.is_empty() && !words.vi.is_empty() && words.en != words.vi);
    }
}
