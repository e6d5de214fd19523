use super::*;
use crate::sim::zone;
use dc_types::claim::CardClaim;
use dc_types::plan::ItemKind;
use dc_types::{InstanceId, MiB, ObjectUid, SubnetUid, Vni};
use proptest::prelude::*;

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn owner(name: &str, n: u128) -> ObjectRef {
    ObjectRef {
        namespace: "so-nnmt".into(),
        name: name.into(),
        uid: ObjectUid(Uuid::from_u128(n)),
    }
}

fn claimed<T>(value: T, revision: u64) -> Claimed<T> {
    Claimed {
        value,
        revision,
        epoch: Epoch {
            incarnation: 1,
            revision,
        },
    }
}

fn tcp(name: &str, port: u16) -> ServiceSpec {
    ServiceSpec {
        name: name.into(),
        protocol: ProtocolName::Tcp,
        port: Some(port),
        end_port: None,
    }
}

struct Fixture {
    department: DepartmentName,
    owner: ObjectRef,
    claim: Claimed<DepartmentClaim>,
    subnets: Vec<(String, Claimed<SubnetClaim>, Zone)>,
    vms: Vec<Claimed<VmClaim>>,
    hosts: BTreeMap<HostName, HostSeen>,
}

impl Fixture {
    /// dmz, internal and database with the province's matrix; two compute hosts and a gateway.
    fn new() -> Self {
        let rule = |from, services| IngressRule { from, services };
        let mut zones = [
            zone("dmz", "10.16.0.0/16", "fd00:16::/48"),
            zone("internal", "10.32.0.0/16", "fd00:32::/48"),
            zone("database", "10.48.0.0/16", "fd00:48::/48"),
        ];
        zones[0].spec.ingress = vec![rule(
            ZoneKind::Outside,
            vec![tcp("https", 443), tcp("http", 80)],
        )];
        zones[1].spec.type_ = ZoneKind::Internal;
        zones[1].spec.ingress = vec![rule(ZoneKind::Dmz, vec![tcp("app", 8080)])];
        zones[2].spec.type_ = ZoneKind::Database;
        zones[2].spec.ingress = vec![rule(ZoneKind::Internal, vec![tcp("postgres", 5432)])];
        let subnets = zones.into_iter().zip(1u8..).map(|(zone, n)| {
            let name = ["", "web", "app", "db"][usize::from(n)].to_owned();
            let claim = SubnetClaim {
                subnet: SubnetUid(Uuid::from_u128(u128::from(n))),
                owner: owner(&name, u128::from(n)),
                vni: Vni(5000 + u32::from(n)),
                v4: Some(format!("10.{n}.0.0/26").parse().unwrap()),
                v6: None,
            };
            (name, claimed(claim, 10 + u64::from(n)), zone)
        });
        let seen = |last: u8, edge| HostSeen {
            vtep: format!("10.250.0.{last}").parse().unwrap(),
            edge,
        };
        let owner = owner("so-nnmt", 99);
        Self {
            department: DepartmentName::new("so-nnmt").unwrap(),
            claim: claimed(
                DepartmentClaim {
                    owner: owner.clone(),
                    transit: Vni(4999),
                },
                10,
            ),
            owner,
            subnets: subnets.collect(),
            vms: vec![],
            hosts: BTreeMap::from([
                (host("g1"), seen(9, Edge::Gateway)),
                (host("h1"), seen(1, Edge::Inside)),
                (host("h2"), seen(2, Edge::Inside)),
            ]),
        }
    }

    fn add_vm(&mut self, n: u8, on: &str, subnet: usize, revision: u64) {
        let id = 1000 + u128::from(n);
        let claim = VmClaim {
            vm: InstanceId(Uuid::from_u128(id)),
            owner: owner(&format!("vm{n}"), id),
            host: host(on),
            vcpus: 1,
            memory: MiB(256),
            machine_type: "pc".into(),
            volumes: vec![],
            cards: vec![CardClaim {
                subnet: self.subnets[subnet].1.value.subnet,
                mac: Mac([0x52, 0x54, 0, 0, 0, n]),
                v4: Some([10, 1, 0, n].into()),
                v6: None,
                publish: vec!["https".into()],
            }],
        };
        self.vms.push(claimed(claim, revision));
    }

    fn project(&self) -> Projection {
        project(&Seen {
            department: &self.department,
            owner: &self.owner,
            claim: &self.claim,
            subnets: self
                .subnets
                .iter()
                .map(|(name, claim, zone)| SubnetSeen {
                    name,
                    claim,
                    zone: crate::place::zone_type(zone.spec.type_),
                    ingress: &zone.spec.ingress,
                    dns: &[],
                })
                .collect(),
            vms: self
                .vms
                .iter()
                .map(|claim| VmSeen {
                    claim,
                    published: vec![
                        published(&self.subnets[0].2, &["https".into()]).unwrap_or_default(),
                    ],
                })
                .collect(),
            hosts: &self.hosts,
        })
    }
}

fn network<'a>(projection: &'a Projection, on: &str) -> &'a NetworkItem {
    match &projection.networks[&host(on)].body {
        ItemBody::Network(network) => network,
        body => panic!("{body:?}"),
    }
}

#[test]
fn a_department_lives_where_its_machines_are_and_on_the_gateways() {
    let mut fixture = Fixture::new();
    assert_eq!(
        fixture.project(),
        Projection::default(),
        "no machine, no network"
    );
    fixture.add_vm(1, "h1", 0, 20);
    let projection = fixture.project();
    let carriers: Vec<_> = projection.networks.keys().map(HostName::as_str).collect();
    assert_eq!(carriers, ["g1", "h1"]);
    let on_h1 = network(&projection, "h1");
    assert_eq!(on_h1.role, NetworkRole::Compute);
    assert_eq!(on_h1.peers[0].role, PeerRole::Gateway);
    assert_eq!(network(&projection, "g1").role, NetworkRole::Gateway);
    assert_eq!(
        on_h1.segments.len(),
        3,
        "all segments, with machines or not"
    );
    assert_eq!(
        on_h1.segments[0].gateway_v4.unwrap().to_string(),
        "10.1.0.1"
    );

    // Without a dmz nothing is joined to the outside.
    fixture.subnets.remove(0);
    let carriers: Vec<_> = fixture.project().networks.into_keys().collect();
    assert_eq!(carriers, [host("h1")]);
}

#[test]
fn the_matrix_names_what_may_flow_and_nothing_else() {
    let mut fixture = Fixture::new();
    fixture.add_vm(1, "h1", 0, 20);
    let projection = fixture.project();
    let subnet = |n: usize| fixture.subnets[n].1.value.subnet;
    let flows: Vec<_> = network(&projection, "h1")
        .flows
        .iter()
        .map(|flow| (flow.from, flow.to, flow.services[0].name.as_str()))
        .collect();
    assert_eq!(
        flows,
        [
            (FlowEnd::Outside, subnet(0), "http"),
            (FlowEnd::Subnet(subnet(0)), subnet(1), "app"),
            (FlowEnd::Subnet(subnet(1)), subnet(2), "postgres"),
        ]
    );
}

#[test]
fn only_a_dmz_is_entered_from_outside_whatever_the_object_says() {
    let mut fixture = Fixture::new();
    fixture.add_vm(1, "h1", 1, 20);
    fixture.subnets[2].2.spec.ingress.push(IngressRule {
        from: ZoneKind::Outside,
        services: vec![tcp("postgres", 5432)],
    });
    let projection = fixture.project();
    let database = fixture.subnets[2].1.value.subnet;
    let flows = &network(&projection, "h1").flows;
    assert!(
        flows
            .iter()
            .all(|flow| flow.from != FlowEnd::Outside || flow.to != database)
    );
}

#[test]
fn a_flow_keeps_its_id_when_others_come_and_go() {
    let mut fixture = Fixture::new();
    fixture.add_vm(1, "h1", 0, 20);
    let before = fixture.project();
    let removed = fixture.subnets.remove(1);
    let after = fixture.project();
    let outside = |projection: &Projection| {
        let flows = &network(projection, "h1").flows;
        let flow = flows.iter().find(|flow| flow.from == FlowEnd::Outside);
        flow.unwrap().id
    };
    assert_eq!(outside(&before), outside(&after));
    fixture.subnets.push(removed);
    let ids = |projection: &Projection| {
        let flows = &network(projection, "h1").flows;
        flows.iter().map(|flow| flow.id).collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(&fixture.project()), ids(&before));
    assert_eq!(ids(&before).len(), 3);
    assert!(!ids(&before).contains(&0));
}

#[test]
fn every_carrier_knows_every_card_and_where_it_is() {
    let mut fixture = Fixture::new();
    fixture.add_vm(1, "h1", 0, 20);
    fixture.add_vm(2, "h2", 1, 21);
    let steps = plan(&Projection::default(), &fixture.project());
    for on in ["g1", "h1", "h2"] {
        let endpoints: Vec<_> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Set(host, item) if host.as_str() == on => Some(&item.body),
                Step::Set(..) | Step::Unset(..) => None,
            })
            .filter_map(|body| match body {
                ItemBody::Endpoint(endpoint) => Some((endpoint.host.as_str(), endpoint.vtep)),
                _ => None,
            })
            .collect();
        assert_eq!(
            endpoints,
            [
                ("h1", "10.250.0.1".parse().unwrap()),
                ("h2", "10.250.0.2".parse().unwrap())
            ],
            "{on}"
        );
    }
}

#[test]
fn a_new_machine_on_a_known_host_sends_its_own_cards_alone() {
    let mut fixture = Fixture::new();
    fixture.add_vm(1, "h1", 0, 20);
    let before = fixture.project();
    fixture.add_vm(2, "h1", 0, 25);
    let steps = plan(&before, &fixture.project());
    let keys: Vec<_> = steps
        .iter()
        .map(|step| match step {
            Step::Set(host, item) => (host.as_str(), item.key.kind),
            Step::Unset(..) => panic!("{steps:?}"),
        })
        .collect();
    assert_eq!(
        keys,
        [("g1", ItemKind::Endpoint), ("h1", ItemKind::Endpoint)]
    );
}

#[test]
fn services_that_a_zone_does_not_name_cannot_be_published() {
    let fixture = Fixture::new();
    let dmz = &fixture.subnets[0].2;
    assert_eq!(published(dmz, &["ssh".into()]), Err("ssh".to_owned()));
    let both = published(dmz, &["https".into(), "http".into(), "https".into()]).unwrap();
    assert_eq!(both.len(), 2);
}

/// What hosts hold if they do each step as it comes.
fn carry_out(
    held: &mut BTreeMap<(HostName, ItemKey), Item>,
    gone: &mut BTreeMap<(HostName, ItemKey), Epoch>,
    steps: Vec<Step>,
) {
    for step in steps {
        match step {
            Step::Set(host, item) => {
                let at = (host, item.key);
                let before = held.get(&at).map(|item| item.epoch);
                assert!(before <= Some(item.epoch), "an epoch goes back");
                assert!(
                    gone.get(&at) < Some(&item.epoch),
                    "what was released comes back"
                );
                held.insert(at, item);
            }
            Step::Unset(host, key) => {
                let at = (host, key);
                let item = held.remove(&at).expect("only what is held is unset");
                gone.insert(at, item.epoch);
            }
        }
    }
}

proptest! {
    #[test]
    fn boards_follow_machines_and_no_epoch_ever_goes_back(
        moves in proptest::collection::vec((0u8..6, 0usize..2), 1..40)
    ) {
        let mut fixture = Fixture::new();
        let mut last = Projection::default();
        let (mut held, mut gone) = (BTreeMap::new(), BTreeMap::new());
        let mut revision = 20;
        for (n, on) in moves {
            revision += 1;
            let id = Uuid::from_u128(1000 + u128::from(n));
            match fixture.vms.iter().position(|vm| vm.value.vm.0 == id) {
                Some(at) => drop(fixture.vms.remove(at)),
                None => fixture.add_vm(n, ["h1", "h2"][on], usize::from(n) % 3, revision),
            }
            let next = fixture.project();
            carry_out(&mut held, &mut gone, plan(&last, &next));
            prop_assert_eq!(plan(&next, &next), vec![]);
            let wanted = next.networks.len() * (1 + next.endpoints.len());
            prop_assert_eq!(held.len(), wanted);
            last = next;
        }
    }
}
