use super::*;
use proptest::prelude::*;

fn host(name: &str) -> HostState {
    HostState {
        name: HostName::new(name).unwrap(),
        duty: Duty::Compute,
        presence: Presence::Connected,
        service: Service::Open,
        zones: vec![],
        vcpu_limit: 16,
        memory_limit: MiB(4096),
        machine_types: vec!["pc-q35-7.2".into(), "pc-q35-7.1".into()],
        firmwares: vec![Firmware::Bios],
        cpu_models: vec!["qemu64".into()],
    }
}

fn request() -> Request {
    Request {
        vcpus: 2,
        memory: MiB(1024),
        cpu_model: "qemu64".into(),
        firmware: Firmware::Bios,
        machine_type: None,
        zones: vec![ZoneType::Dmz],
        spread: BTreeMap::new(),
        only: None,
    }
}

fn promise(vms: u64, vcpus: u64, memory: u64) -> HostPromise {
    HostPromise {
        vms,
        vcpus,
        memory: MiB(memory),
    }
}

fn index(hosts: impl IntoIterator<Item = HostState>) -> Index {
    let mut index = Index::default();
    for host in hosts {
        index.upsert(host);
    }
    index
}

fn name(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

#[test]
fn the_least_loaded_host_is_taken_and_gives_its_newest_machine_type() {
    let mut index = index([host("h1"), host("h2")]);
    index.set_promise(&name("h1"), promise(1, 2, 1024));
    let placed = index.place(&request()).unwrap();
    assert_eq!(placed.host, name("h2"));
    assert_eq!(placed.machine_type, "pc-q35-7.2");
}

#[test]
fn a_spread_group_goes_apart_even_onto_a_fuller_host() {
    let mut index = index([host("h1"), host("h2")]);
    index.set_promise(&name("h2"), promise(2, 4, 2048));
    let mut request = request();
    request.spread.insert(name("h1"), 1);
    assert_eq!(index.place(&request).unwrap().host, name("h2"));
    // With nowhere else to go, together is better than not at all.
    index.remove(&name("h2"));
    assert_eq!(index.place(&request).unwrap().host, name("h1"));
}

#[test]
fn a_full_host_and_one_in_maintenance_give_a_verdict_each_and_the_smallest_change() {
    let mut resting = host("h1");
    resting.service = Service::Maintenance;
    let mut index = index([resting, host("h2")]);
    index.set_promise(&name("h2"), promise(3, 6, 3328));
    let verdicts = index.place(&request()).unwrap_err();
    let rules: Vec<_> = verdicts
        .iter()
        .map(|v| {
            (
                v.host.as_str(),
                v.misses.iter().map(|m| m.rule).collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(
        rules,
        [("h1", vec![Rule::Maintenance]), ("h2", vec![Rule::Memory])]
    );
    let help = verdict::smallest_change(&verdicts);
    assert_eq!(
        help.en,
        "end maintenance on h1; or h2 needs 256 MiB more free memory"
    );
    assert_eq!(
        help.vi,
        "kết thúc bảo trì h1; hoặc h2 cần thêm 256 MiB bộ nhớ trống"
    );
    assert_eq!(
        verdicts[1].to_string(),
        "h2: memory (need 1 GiB, have 768 MiB)"
    );
}

#[test]
fn the_host_that_lacks_least_is_named() {
    let mut index = index([host("h1"), host("h2")]);
    index.set_promise(&name("h1"), promise(1, 2, 4096));
    index.set_promise(&name("h2"), promise(1, 2, 3200));
    let verdicts = index.place(&request()).unwrap_err();
    assert_eq!(
        verdict::smallest_change(&verdicts).en,
        "h2 needs 128 MiB more free memory"
    );
}

#[test]
fn each_rule_keeps_a_machine_away_with_need_and_have() {
    type Change = fn(&mut HostState);
    let cases: [(Change, Rule); 7] = [
        (|h| h.presence = Presence::Silent, Rule::Connection),
        (|h| h.service = Service::Maintenance, Rule::Maintenance),
        (|h| h.zones = vec![ZoneType::Internal], Rule::Zones),
        (|h| h.vcpu_limit = 1, Rule::Vcpus),
        (|h| h.firmwares = vec![], Rule::Firmware),
        (|h| h.cpu_models = vec!["EPYC".into()], Rule::CpuModel),
        (|h| h.machine_types = vec![], Rule::MachineType),
    ];
    for (spoil, rule) in cases {
        let mut spoilt = host("h1");
        spoil(&mut spoilt);
        let verdicts = index([spoilt]).place(&request()).unwrap_err();
        let [miss] = &verdicts[0].misses[..] else {
            panic!("{verdicts:?}");
        };
        assert_eq!(miss.rule, rule);
        assert!(!miss.need.is_empty() && !miss.have.is_empty());
        assert!(!miss.change.en.is_empty() && !miss.change.vi.is_empty());
    }
}

#[test]
fn hosts_without_the_role_are_not_spoken_of() {
    let mut storage = host("s1");
    storage.duty = Duty::Other;
    let verdicts = index([storage]).place(&request()).unwrap_err();
    assert_eq!(verdicts, []);
    assert_eq!(verdict::smallest_change(&verdicts).en, "add a compute host");
}

fn bound(to: &str) -> Request {
    Request {
        only: Some(Only {
            host: name(to),
            pools: vec!["local-1".into()],
            volumes: vec!["web-root".into()],
        }),
        ..request()
    }
}

#[test]
fn a_machine_that_is_bound_to_a_host_goes_there_or_nowhere() {
    let mut resting = host("h2");
    resting.service = Service::Maintenance;
    let mut index = index([host("h1"), host("h2"), host("h3")]);
    index.set_promise(&name("h2"), promise(3, 12, 3000));
    // Neither load nor spread sends it elsewhere.
    let mut request = bound("h2");
    request.spread.insert(name("h2"), 3);
    assert_eq!(index.place(&request).unwrap().host, name("h2"));

    index.upsert(resting);
    let verdicts = index.place(&request).unwrap_err();
    let said: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "h2: maintenance (need open, have in maintenance)",
            "h1: host of the pool (need h2, which has pool local-1, have h1)",
            "h3: host of the pool (need h2, which has pool local-1, have h3)",
        ]
    );
    let help = verdict::smallest_change(&verdicts);
    assert_eq!(
        help.en,
        "end maintenance on h2; or have volume web-root in a pool that every host reaches, not in \
         local-1"
    );
}

#[test]
fn the_host_of_a_pool_that_is_no_compute_host_is_spoken_of() {
    let mut storage = host("s1");
    storage.duty = Duty::Other;
    let verdicts = index([storage, host("h1")])
        .place(&bound("s1"))
        .unwrap_err();
    let rules: Vec<_> = verdicts.iter().map(|v| v.misses[0].rule).collect();
    assert_eq!(rules, [Rule::Role, Rule::Home]);
}

#[test]
fn a_pinned_machine_type_must_be_there() {
    let mut request = request();
    request.machine_type = Some("pc-q35-7.1".into());
    assert_eq!(
        index([host("h1")]).place(&request).unwrap().machine_type,
        "pc-q35-7.1"
    );
    request.machine_type = Some("pc-q35-9.9".into());
    let verdicts = index([host("h1")]).place(&request).unwrap_err();
    assert_eq!(verdicts[0].misses[0].rule, Rule::MachineType);
}

#[test]
fn a_removed_host_leaves_the_others_reachable() {
    let mut index = index([host("h1"), host("h2"), host("h3")]);
    index.remove(&name("h1"));
    index.set_promise(&name("h3"), promise(1, 1, 512));
    assert_eq!(index.promise(&name("h3")).unwrap().memory, MiB(512));
    assert_eq!(index.place(&request()).unwrap().host, name("h2"));
}

fn any_host() -> impl Strategy<Value = (HostState, HostPromise)> {
    (
        any::<[bool; 6]>(),
        0..20u64,
        0..6000u64,
        0..20u64,
        0..6000u64,
    )
        .prop_map(|(on, vcpus, memory, vcpus_used, memory_used)| {
            let mut state = host("h1");
            if on[0] {
                state.service = Service::Maintenance;
            }
            if on[1] {
                state.presence = Presence::Silent;
            }
            if on[2] {
                state.zones = vec![ZoneType::Internal];
            }
            if on[3] {
                state.machine_types = vec![];
            }
            if on[4] {
                state.duty = Duty::Other;
            }
            if on[5] {
                state.cpu_models = vec!["other".into()];
            }
            state.vcpu_limit = vcpus;
            state.memory_limit = MiB(memory);
            (state, promise(1, vcpus_used, memory_used))
        })
}

proptest! {
    #[test]
    fn a_host_is_chosen_exactly_when_its_verdict_is_empty((state, used) in any_host()) {
        let mut index = index([state]);
        index.set_promise(&name("h1"), used);
        for request in [request(), bound("h1"), bound("h2")] {
            let verdict = verdict::judge(&index.rows[0], &request);
            prop_assert_eq!(index.place(&request).is_ok(), verdict.misses.is_empty());
        }
    }
}
