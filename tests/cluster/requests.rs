//! Requests on the real API server, by users with the rights that the operator and the chart give
//! them: who may ask, answer and grant, and what none of them can forge.

use std::fs;

use dc_crds::{Approval, ResourceRequest, VirtualMachine};
use dc_lab::wait::{Look, until};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::machines::lead;
use super::machines::province::{DEADLINE, DEPARTMENT, Province};

const OFFICER: &str = "oidc:an";
const LEADER: &str = "oidc:binh";
/// An officer who is also a leader.
const BOTH: &str = "oidc:dung";
const CENTRE: &str = "oidc:chi";
const AUDITOR: &str = "oidc:giang";

/// Who belongs to the department, and who is the operator of the centre.
fn people(province: &Province) {
    let user = |name: &str| format!("{{kind: User, name: '{name}'}}");
    province.place.apply(&format!(
        "
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: Department
metadata: {{name: {DEPARTMENT}}}
spec:
  displayName: {{vi: Sở Nông nghiệp và Môi trường, en: Agriculture}}
  kind: department
  members:
    administrators: [{}, {}]
    leaders: [{}, {}]
    auditors: [{}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: dc-centre}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: dc-centre}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: '{CENTRE}'}}]
",
        user(OFFICER),
        user(BOTH),
        user(LEADER),
        user(BOTH),
        user(AUDITOR),
    ));
}

struct Desk<'a> {
    province: &'a Province,
}

impl Desk<'_> {
    /// Writes an object as one of the people, with his rights alone.
    fn write(&self, who: &str, verb: &str, object: &Value) -> Result<(), String> {
        let path = self.province.folder().join("written.json");
        fs::write(&path, object.to_string()).unwrap();
        let path = format!("--filename={}", path.display());
        let kubectl = self.province.place.kubectl();
        let who = format!("--as={who}");
        let mut args: Vec<&str> = verb.split(' ').collect();
        args.extend([path.as_str(), who.as_str()]);
        let written = kubectl.run(&args);
        written.map(drop).map_err(|error| format!("{error:#}"))
    }

    /// The same, when the API server must first have heard of something.
    async fn write_at_last(&self, who: &str, object: &Value) {
        until("it to be taken", DEADLINE, async || {
            match self.write(who, "create", object) {
                Ok(()) => Look::Holds(()),
                Err(error) => Look::NotYet(error),
            }
        })
        .await
        .unwrap();
    }

    /// Refused once the API server's own cache shows why; tried without leaving anything.
    async fn refused_at_last(&self, who: &str, object: &Value, says: &str) {
        until("it to be refused", DEADLINE, async || {
            match self.write(who, "create --dry-run=server", object) {
                Err(error) if error.contains(says) => Look::Holds(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
        self.refused(who, "create", object, says);
    }

    #[track_caller]
    fn refused(&self, who: &str, verb: &str, object: &Value, says: &str) {
        match self.write(who, verb, object) {
            Ok(()) => panic!("{who} may {verb} {object}"),
            Err(error) => assert!(error.contains(says), "no {says:?} in {error}"),
        }
    }

    fn patch(&self, who: &str, what: &str, patch: &Value) -> Result<(), String> {
        let kubectl = self.province.place.kubectl();
        let patched = kubectl.run(&[
            "patch",
            what,
            "--namespace=so-nnmt",
            "--type=merge",
            &format!("--patch={patch}"),
            &format!("--as={who}"),
        ]);
        patched.map(drop).map_err(|error| format!("{error:#}"))
    }

    fn patch_status(&self, who: &str, what: &str, patch: &Value) -> Result<(), String> {
        let kubectl = self.province.place.kubectl();
        let patched = kubectl.run(&[
            "patch",
            what,
            "--namespace=so-nnmt",
            "--subresource=status",
            "--type=merge",
            &format!("--patch={patch}"),
            &format!("--as={who}"),
        ]);
        patched.map(drop).map_err(|error| format!("{error:#}"))
    }

    async fn wait_phase(&self, name: &str, phase: &str) -> ResourceRequest {
        let requests = self.requests();
        until(&format!("{name} to be {phase}"), DEADLINE, async || {
            let request = requests.get(name).await.unwrap();
            let status = request.status.clone().unwrap_or_default();
            match format!("{:?}", status.phase) == phase {
                true => Look::Holds(request),
                false => Look::NotYet(format!("{status:#?}")),
            }
        })
        .await
        .unwrap()
    }

    fn requests(&self) -> Api<ResourceRequest> {
        Api::namespaced(self.province.place.client(), DEPARTMENT)
    }

    fn vms(&self) -> Api<VirtualMachine> {
        self.province.vms()
    }
}

fn request(name: &str, objects: &Value) -> Value {
    json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "ResourceRequest",
        "metadata": {"name": name, "namespace": DEPARTMENT},
        "spec": {
            "phase": "Submitted", "reason": "more visitors",
            "document": {"number": "12/TTr", "date": "2027-01-15", "issuer": "so-nnmt"},
            "authors": ["oidc:somebody-else"], "objects": objects,
        },
    })
}

fn machine(class: &str) -> Value {
    json!([{"kind": "VirtualMachine", "name": "web", "spec": {
        "system": "land", "class": class,
        "disks": [{"name": "root",
                   "template": {"pool": "san-1", "size": "1Gi", "reclaim": "Erase"}}],
        "interfaces": [{"subnet": "app"}],
    }}])
}

fn answer(name: &str, of: &ResourceRequest, role: &str) -> Value {
    json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Approval",
        "metadata": {"name": name, "namespace": DEPARTMENT},
        "spec": {
            "request": of.name_any(), "requestUid": of.uid().unwrap(),
            "hash": of.status.as_ref().unwrap().hash, "role": role, "verdict": "Approve",
            "reason": "as agreed",
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_built_when_a_leader_and_the_centre_have_granted_just_that() {
    let mut province = Province::start().await;
    people(&province);
    let (operator, _) = lead(&mut province).await;
    let desk = Desk {
        province: &province,
    };
    province.place.apply(
        "{apiVersion: dc.sonla.gov.vn/v1alpha1, kind: MachineClass, \
        metadata: {name: larger}, spec: {vcpus: 2, memory: 256Mi}}",
    );

    // Who may ask, and whose name is in it.
    let wish = request("web", &machine("tiny"));
    desk.write_at_last(OFFICER, &wish).await;
    let other = request("other", &machine("tiny"));
    for who in [LEADER, CENTRE, AUDITOR] {
        desk.refused(who, "create", &other, "cannot create resource");
    }
    let asked = desk.wait_phase("web", "Submitted").await;
    assert_eq!(asked.spec.authors, [OFFICER]);
    let own = request("own", &machine("tiny"));
    desk.write_at_last(BOTH, &own).await;
    let own = desk.wait_phase("own", "Submitted").await;

    // What nobody can do with an answer.
    let says_own = "nobody decides on a request in which he wrote himself";
    let mut forged = answer("forged", &asked, "Leader");
    forged["spec"]["approver"] = json!(CENTRE);
    let mut stale = answer("stale", &asked, "Leader");
    stale["spec"]["hash"] = json!("0".repeat(64));
    desk.refused(
        OFFICER,
        "create",
        &answer("a", &asked, "Leader"),
        "cannot create resource",
    );
    desk.refused(
        AUDITOR,
        "create",
        &answer("a", &asked, "Leader"),
        "cannot create resource",
    );
    // The API server looks for the kind of a policy's parameters now and then: until it has found
    // it, it refuses everything. This is the policy that has parameters; the others come after it.
    desk.refused_at_last(LEADER, &stale, "read it again").await;
    desk.refused(
        LEADER,
        "create",
        &answer("a", &asked, "Centre"),
        "spec.role",
    );
    desk.refused(
        CENTRE,
        "create",
        &answer("a", &asked, "Leader"),
        "spec.role",
    );
    desk.refused(LEADER, "create", &forged, "spec.approver");
    desk.refused_at_last(BOTH, &answer("a", &own, "Leader"), says_own)
        .await;
    let withdrawn = json!({"spec": {"phase": "Withdrawn"}});
    desk.patch(BOTH, "resourcerequest/own", &withdrawn).unwrap();
    desk.wait_phase("own", "Withdrawn").await;
    let status = json!({"status": {"phase": "Granted"}});
    let error = desk.patch_status(OFFICER, "resourcerequest/web", &status);
    let error = error.unwrap_err();
    assert!(error.contains("resourcerequests/status"), "{error}");
    assert!(desk.vms().get_opt("web").await.unwrap().is_none());

    // The leader, then the centre.
    desk.write_at_last(LEADER, &answer("by-leader", &asked, "Leader"))
        .await;
    let approvals: Api<Approval> = Api::namespaced(province.place.client(), DEPARTMENT);
    assert_eq!(
        approvals.get("by-leader").await.unwrap().spec.approver,
        LEADER
    );
    desk.wait_phase("web", "Approved").await;
    let change = json!({"spec": {"objects": machine("larger")}});
    let error = desk
        .patch(OFFICER, "resourcerequest/web", &change)
        .unwrap_err();
    assert!(error.contains("it was decided on"), "{error}");
    desk.write_at_last(CENTRE, &answer("by-centre", &asked, "Centre"))
        .await;
    let done = desk.wait_phase("web", "Provisioned").await;
    let history = &done.status.unwrap().history;
    let by: Vec<&str> = history.iter().map(|step| step.by.as_str()).collect();
    assert_eq!(by, [OFFICER, LEADER, CENTRE, "dc-operator"]);
    let vm = province.wait_state("web", "Running").await;
    let mark = vm.annotations()[dc_crds::GRANT].clone();
    assert!(
        mark.starts_with(&format!("web.{}.", asked.uid().unwrap())),
        "{mark}"
    );

    // What was granted is the department's to run, and not to enlarge.
    let larger = json!({"spec": {"class": "larger"}});
    let error = desk.patch(OFFICER, "vm/web", &larger).unwrap_err();
    assert!(
        error.contains("this was granted by a ResourceRequest"),
        "{error}"
    );
    let bare = json!({"metadata": {"annotations": null}});
    let error = desk.patch(OFFICER, "vm/web", &bare).unwrap_err();
    assert!(error.contains("written by the operator alone"), "{error}");
    desk.patch(
        OFFICER,
        "vm/web",
        &json!({"spec": {"powerState": "Stopped"}}),
    )
    .unwrap();
    province.wait_state("web", "Stopped").await;

    // Another request shows the difference; a small policy of its own grants it at once.
    desk.write_at_last(OFFICER, &request("larger", &machine("larger")))
        .await;
    let larger = desk.wait_phase("larger", "Submitted").await;
    let changes = larger.status.unwrap().changes;
    assert_eq!(changes, ["VirtualMachine web: spec.class: tiny → larger"]);
    province.place.apply(
        "{apiVersion: dc.sonla.gov.vn/v1alpha1, kind: RequestPolicy, \
        metadata: {name: small}, spec: {departments: [so-nnmt], rules: \
        [{when: {exposure: Public}, needs: [Leader, Centre]}]}}",
    );
    desk.wait_phase("larger", "Provisioned").await;
    assert_eq!(desk.vms().get("web").await.unwrap().spec.class, "larger");
    province.stop_agents().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_an_older_request_of_the_name_or_to_an_older_text_counts_for_nothing() {
    let mut province = Province::start().await;
    people(&province);
    let (operator, _) = lead(&mut province).await;
    let desk = Desk {
        province: &province,
    };
    desk.write_at_last(OFFICER, &request("web", &machine("tiny")))
        .await;
    let first = desk.wait_phase("web", "Submitted").await;
    desk.write_at_last(LEADER, &answer("first", &first, "Leader"))
        .await;
    desk.wait_phase("web", "Approved").await;
    let gone = DeleteParams::default();
    desk.requests().delete("web", &gone).await.unwrap();
    desk.write_at_last(OFFICER, &request("web", &machine("tiny")))
        .await;
    let second = desk.wait_phase("web", "Submitted").await;
    let (hash, before) = (
        second.status.clone().unwrap().hash,
        first.status.unwrap().hash,
    );
    assert_eq!(
        hash, before,
        "the content is the same, the request is another"
    );
    wait_answer(&desk, "first", "NoSuchRequest").await;

    // Not even an administrator of the cluster changes what was decided on.
    desk.write_at_last(LEADER, &answer("second", &second, "Leader"))
        .await;
    desk.wait_phase("web", "Approved").await;
    let masters = Patch::Merge(json!({"spec": {"reason": "something else"}}));
    let ours = PatchParams::default();
    let refused = desk.requests().patch("web", &ours, &masters).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("it was decided on"), "{refused}");
    province.stop_agents().await;
    operator.stop().await;
}

async fn wait_answer(desk: &Desk<'_>, name: &str, reason: &str) {
    let approvals: Api<Approval> = Api::namespaced(desk.province.place.client(), DEPARTMENT);
    until(
        &format!("answer {name} to be {reason}"),
        DEADLINE,
        async || {
            let status = approvals
                .get(name)
                .await
                .unwrap()
                .status
                .unwrap_or_default();
            let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
            match ready.is_some_and(|ready| ready.reason == reason) {
                true => Look::Holds(()),
                false => Look::NotYet(format!("{status:?}")),
            }
        },
    )
    .await
    .unwrap();
}
