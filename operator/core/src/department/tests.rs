use super::plan::ObjectStep;
use super::roles::{Tenant, binding, namespace, role};
use super::*;
use crate::conditions::Judged;
use crate::words::Fact;
use dc_crds::department::{DepartmentKind, DisplayName, Members, Subject, SubjectKind};
use dc_crds::pool::OwnerClass;
use dc_crds::{ConditionStatus, DepartmentSpec, FINALIZER};
use dc_types::ObjectUid;
use dc_types::claim::{DepartmentClaim, HeldBy, keys};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use uuid::Uuid;

struct Fixture {
    department: Department,
    name: DepartmentName,
    namespace: Option<Namespace>,
    roles: Vec<Role>,
    bindings: Vec<RoleBinding>,
    owned: Vec<String>,
    claims: Claims,
}

fn me() -> ObjectRef {
    ObjectRef {
        namespace: String::new(),
        name: "so-nnmt".into(),
        uid: ObjectUid(Uuid::from_u128(7)),
    }
}

impl Fixture {
    fn new() -> Self {
        let officer = Subject {
            kind: SubjectKind::User,
            name: "oidc:an".into(),
        };
        let mut department = Department::new(
            "so-nnmt",
            DepartmentSpec {
                display_name: DisplayName {
                    vi: "Sở Nông nghiệp và Môi trường".into(),
                    en: "Department of Agriculture and Environment".into(),
                },
                kind: DepartmentKind::Department,
                domain: None,
                quota: None,
                members: Members {
                    administrators: vec![officer],
                    ..Members::default()
                },
                owner_class: OwnerClass::Shared,
            },
        );
        department.metadata.finalizers = Some(vec![FINALIZER.into()]);
        Self {
            department,
            name: DepartmentName::new("so-nnmt").unwrap(),
            namespace: None,
            roles: vec![],
            bindings: vec![],
            owned: vec![],
            claims: Claims::new(1),
        }
    }

    /// Everything made, as the API server would have it.
    fn made() -> Self {
        let mut fixture = Self::new();
        for step in fixture.plan().objects {
            match step {
                ObjectStep::ApplyNamespace(mut namespace) => {
                    namespace.metadata.uid = Some("n".into());
                    fixture.namespace = Some(*namespace);
                }
                ObjectStep::ApplyRole(role) => fixture.roles.push(role),
                ObjectStep::ApplyBinding(binding) => fixture.bindings.push(binding),
                ObjectStep::DeleteNamespace { .. } | ObjectStep::DeleteBinding { .. } => panic!(),
            }
        }
        let claim = DepartmentClaim {
            owner: me(),
            transit: dc_types::Vni(5000),
        };
        let holder = HeldBy { holder: me().uid };
        for (key, value) in [
            (
                format!("{}so-nnmt", keys::DEPARTMENT),
                serde_json::to_string(&claim),
            ),
            (keys::vni(claim.transit), serde_json::to_string(&holder)),
        ] {
            fixture
                .claims
                .apply(&key, Some(&value.unwrap()), 9)
                .unwrap();
        }
        fixture
    }

    fn plan(&self) -> DepartmentPlan {
        self.with_seen(plan)
    }

    fn with_seen<R>(&self, look: impl FnOnce(&Seen<'_>) -> R) -> R {
        look(&Seen {
            department: &self.department,
            me: &me(),
            name: Some(&self.name),
            namespace: self.namespace.as_ref(),
            roles: &self.roles,
            bindings: &self.bindings,
            counts: &Counts::default(),
            quota: &Budget::default(),
            owned: &self.owned,
            claims: &self.claims,
        })
    }

    fn delete(&mut self) {
        let now = Some(Time(Timestamp::UNIX_EPOCH));
        self.department.metadata.deletion_timestamp = now;
    }
}

#[test]
fn a_department_gets_a_namespace_four_roles_their_bindings_and_a_transit_network() {
    let plan = Fixture::new().plan();
    assert_eq!(plan.objects.len(), 9);
    assert!(matches!(plan.objects[0], ObjectStep::ApplyNamespace(_)));
    assert!(plan.plan.txn.unwrap().writes.len() == 2);
    let again = Fixture::made().plan();
    assert_eq!(again, DepartmentPlan::default());
}

#[test]
fn what_was_changed_or_deleted_is_put_right_and_nothing_else() {
    let mut fixture = Fixture::made();
    fixture.roles.remove(0);
    let rules = fixture.roles[0].rules.as_mut().unwrap();
    rules[0].verbs.push("deletecollection".into());
    fixture.bindings[2].subjects = None;
    fixture.bindings[0].subjects = None;
    let members = &fixture.department.spec.members;
    assert_eq!(
        fixture.plan().objects,
        [
            ObjectStep::ApplyRole(role(&fixture.name, Tenant::Administrator)),
            ObjectStep::ApplyBinding(binding(&fixture.name, Tenant::Administrator, members)),
            ObjectStep::ApplyRole(role(&fixture.name, Tenant::Leader)),
        ]
    );
}

#[test]
fn secrets_are_the_administrators_alone() {
    let name = DepartmentName::new("so-nnmt").unwrap();
    for tenant in Tenant::ALL {
        let rules = role(&name, tenant).rules.unwrap();
        let secrets = rules.iter().any(|rule| {
            let resources = rule.resources.iter().flatten();
            resources.into_iter().any(|r| r == "secrets" || r == "*")
        });
        assert_eq!(secrets, tenant == Tenant::Administrator, "{tenant:?}");
    }
}

#[test]
fn a_namespace_that_is_not_its_own_is_left_alone() {
    let mut fixture = Fixture::new();
    let mut foreign = namespace(&fixture.name);
    foreign.metadata.labels = None;
    fixture.namespace = Some(foreign);
    let plan = fixture.plan();
    assert_eq!(plan.objects, []);
    assert!(matches!(plan.plan.found[0], Fact::NamespaceForeign { .. }));
    fixture.delete();
    assert!(fixture.plan().objects.is_empty(), "not deleted either");
}

#[test]
fn deletion_waits_until_nothing_is_owned_and_lists_what_is() {
    let mut fixture = Fixture::made();
    fixture.delete();
    fixture.owned = vec!["virtualmachine web".into(), "subnet dmz".into()];
    let held = fixture.plan();
    assert_eq!((held.objects.len(), held.plan.txn.clone()), (0, None));
    let judged = Judged {
        generation: 1,
        now: "t",
    };
    let status = fixture.with_seen(|seen| status(seen, &held.plan, &judged));
    let deletable = status
        .conditions
        .iter()
        .find(|c| c.type_ == "Deletable")
        .unwrap();
    assert_eq!(deletable.status, ConditionStatus::False);
    assert!(deletable.message.contains("virtualmachine web"));

    fixture.owned.clear();
    let plan = fixture.plan();
    assert!(matches!(
        plan.objects[..],
        [ObjectStep::DeleteNamespace { .. }]
    ));
    fixture.namespace = None;
    let plan = fixture.plan();
    assert_eq!(plan.plan.txn.unwrap().writes.len(), 2);
    fixture.claims = Claims::new(1);
    assert_eq!(fixture.plan().plan, Plan::let_go());
}

#[test]
fn the_network_of_an_older_department_of_the_name_is_not_taken_over() {
    let mut fixture = Fixture::made();
    let claim = DepartmentClaim {
        owner: ObjectRef {
            uid: ObjectUid(Uuid::from_u128(1)),
            ..me()
        },
        transit: dc_types::Vni(5000),
    };
    let value = serde_json::to_string(&claim).unwrap();
    let key = format!("{}so-nnmt", keys::DEPARTMENT);
    fixture.claims.apply(&key, Some(&value), 10).unwrap();
    let plan = fixture.plan().plan;
    assert!(plan.txn.is_none());
    assert!(matches!(plan.found[0], Fact::ClaimOfAnother { .. }));
}

use crate::plan::Plan;
