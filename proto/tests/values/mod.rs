//! Arbitrary values of everything that travels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dc_types::plan::*;
use dc_types::report::*;
use dc_types::*;
use ipnet::{Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

mod backup;

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

pub fn epoch() -> impl Strategy<Value = Epoch> {
    (any::<u64>(), any::<u64>()).prop_map(|(incarnation, revision)| Epoch {
        incarnation,
        revision,
    })
}

fn object() -> impl Strategy<Value = ObjectRef> {
    (any::<String>(), any::<String>(), uuid()).prop_map(|(namespace, name, uid)| ObjectRef {
        namespace,
        name,
        uid: ObjectUid(uid),
    })
}

fn label() -> impl Strategy<Value = String> {
    "[a-z]([a-z0-9-]{0,20}[a-z0-9])?"
}

fn pool() -> impl Strategy<Value = PoolName> {
    label().prop_map(|l| PoolName::new(l).unwrap())
}

fn department() -> impl Strategy<Value = DepartmentName> {
    label().prop_map(|l| DepartmentName::new(l).unwrap())
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|mut b| {
        b[0] &= 0xfe;
        Mac(b)
    })
}

fn vni() -> impl Strategy<Value = Vni> {
    (1..=Vni::LAST.0).prop_map(Vni)
}

fn v4() -> impl Strategy<Value = Option<Ipv4Addr>> {
    option::of(any::<Ipv4Addr>())
}

fn v6() -> impl Strategy<Value = Option<Ipv6Addr>> {
    option::of(any::<Ipv6Addr>())
}

fn chap() -> impl Strategy<Value = Chap> {
    (any::<String>(), any::<String>()).prop_map(|(user, secret)| Chap {
        user,
        secret: Secret(secret),
    })
}

fn portal() -> impl Strategy<Value = Portal> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(address, port)| Portal { address, port })
}

fn service() -> impl Strategy<Value = Service> {
    use Protocol::*;
    (
        any::<String>(),
        prop::sample::select(vec![Tcp, Udp, Icmp]),
        any::<(u16, u16)>(),
    )
        .prop_map(|(name, protocol, (first, last))| Service {
            name,
            protocol,
            ports: PortRange { first, last },
        })
}

fn image() -> impl Strategy<Value = ItemBody> {
    (
        uuid(),
        pool(),
        any::<(bool, String)>(),
        "[0-9a-f]{64}",
        any::<bool>(),
        any::<(u64, u64)>(),
    )
        .prop_map(|(id, pool, (http, source), sha256, raw, (down, virt))| {
            ItemBody::Image(ImageItem {
                image: ImageUid(id),
                pool,
                source: if http {
                    ImageSource::Http(source)
                } else {
                    ImageSource::File(source)
                },
                sha256,
                format: if raw {
                    ImageFormat::Raw
                } else {
                    ImageFormat::Qcow2
                },
                max_download: Bytes(down),
                max_virtual: Bytes(virt),
            })
        })
}

fn volume() -> impl Strategy<Value = ItemBody> {
    let source = prop_oneof![
        Just(VolumeSource::Blank),
        uuid().prop_map(|id| VolumeSource::Image(ImageUid(id))),
        uuid().prop_map(|id| VolumeSource::Volume(InstanceId(id))),
        (uuid(), uuid()).prop_map(|(volume, snapshot)| VolumeSource::Snapshot {
            volume: InstanceId(volume),
            snapshot: SnapshotId(snapshot),
        }),
    ];
    let restore = option::of(
        (uuid(), any::<String>()).prop_map(|(id, order)| RestoreOrder {
            snapshot: SnapshotId(id),
            order,
        }),
    );
    (uuid(), pool(), any::<u64>(), source, restore).prop_map(|(id, pool, size, source, restore)| {
        ItemBody::Volume(VolumeItem {
            volume: InstanceId(id),
            pool,
            size: Bytes(size),
            source,
            restore,
        })
    })
}

fn snapshot() -> impl Strategy<Value = ItemBody> {
    (uuid(), uuid(), pool()).prop_map(|(id, volume, pool)| {
        ItemBody::Snapshot(SnapshotItem {
            snapshot: SnapshotId(id),
            volume: InstanceId(volume),
            pool,
        })
    })
}

fn cephx() -> impl Strategy<Value = Cephx> {
    any::<(String, String, String)>().prop_map(|(user, key, namespace)| Cephx {
        user,
        key: Secret(key),
        namespace,
    })
}

fn cluster() -> impl Strategy<Value = RbdCluster> {
    (vec(portal(), 0..3), any::<String>())
        .prop_map(|(monitors, pool)| RbdCluster { monitors, pool })
}

fn grant() -> impl Strategy<Value = ItemBody> {
    let access = prop_oneof![
        chap().prop_map(|chap| GrantAccess::Iscsi { chap }),
        cephx().prop_map(|cephx| GrantAccess::Rbd { cephx }),
        label().prop_map(|host| GrantAccess::File {
            local: HostName::new(host).unwrap()
        }),
    ];
    (uuid(), pool(), any::<String>(), access).prop_map(|(id, pool, initiator, access)| {
        ItemBody::Grant(GrantItem {
            volume: InstanceId(id),
            pool,
            initiator,
            access,
        })
    })
}

fn segment() -> impl Strategy<Value = Segment> {
    use ZoneType::*;
    let zones = vec![Outside, Dmz, Internal, Database, Storage, Management, Soc];
    (
        (uuid(), any::<String>(), prop::sample::select(zones), vni()),
        option::of((any::<Ipv4Addr>(), 0..=32u8)),
        option::of((any::<Ipv6Addr>(), 0..=128u8)),
        (v4(), v6(), mac(), vec(any::<IpAddr>(), 0..3)),
    )
        .prop_map(|((subnet, name, zone, vni), n4, n6, rest)| Segment {
            subnet: SubnetUid(subnet),
            name,
            zone,
            vni,
            v4: n4.map(|(a, p)| Ipv4Net::new(a, p).unwrap()),
            v6: n6.map(|(a, p)| Ipv6Net::new(a, p).unwrap()),
            gateway_v4: rest.0,
            gateway_v6: rest.1,
            gateway_mac: rest.2,
            dns: rest.3,
        })
}

fn flow() -> impl Strategy<Value = Flow> {
    let from = prop_oneof![
        Just(FlowEnd::Outside),
        uuid().prop_map(|id| FlowEnd::Subnet(SubnetUid(id))),
    ];
    (1..=u32::MAX, from, uuid(), vec(service(), 0..3)).prop_map(|(id, from, to, services)| Flow {
        id,
        from,
        to: SubnetUid(to),
        services,
    })
}

fn peer() -> impl Strategy<Value = Peer> {
    (label(), any::<IpAddr>(), any::<bool>()).prop_map(|(host, vtep, gateway)| Peer {
        host: HostName::new(host).unwrap(),
        vtep,
        role: if gateway {
            PeerRole::Gateway
        } else {
            PeerRole::Compute
        },
    })
}

fn network() -> impl Strategy<Value = ItemBody> {
    (
        department(),
        vni(),
        vec(segment(), 0..3),
        vec(flow(), 0..3),
        vec(peer(), 0..3),
        any::<bool>(),
    )
        .prop_map(|(department, transit, segments, flows, peers, gateway)| {
            ItemBody::Network(NetworkItem {
                department,
                transit,
                segments,
                flows,
                peers,
                role: if gateway {
                    NetworkRole::Gateway
                } else {
                    NetworkRole::Compute
                },
            })
        })
}

fn endpoint() -> impl Strategy<Value = ItemBody> {
    (
        (department(), uuid(), uuid(), any::<u32>(), any::<String>()),
        (mac(), v4(), v6()),
        (label(), any::<IpAddr>(), vec(service(), 0..3)),
    )
        .prop_map(|(who, (mac, v4, v6), (host, vtep, published))| {
            let (department, subnet, vm, card, name) = who;
            ItemBody::Endpoint(EndpointItem {
                department,
                subnet: SubnetUid(subnet),
                vm: InstanceId(vm),
                card,
                name,
                mac,
                v4,
                v6,
                host: HostName::new(host).unwrap(),
                vtep,
                published,
            })
        })
}

fn disk_source() -> impl Strategy<Value = DiskSource> {
    prop_oneof![
        (portal(), chap()).prop_map(|(portal, chap)| DiskSource::Iscsi { portal, chap }),
        (cluster(), any::<String>(), cephx()).prop_map(|(cluster, image, cephx)| {
            DiskSource::Rbd {
                cluster,
                image,
                cephx,
            }
        }),
        any::<String>().prop_map(|path| DiskSource::File { path }),
    ]
}

fn disk() -> impl Strategy<Value = DiskItem> {
    let qos = any::<(u64, u64, u64, u64, u32)>().prop_map(
        |(iops, iops_burst, bandwidth, bandwidth_burst, burst_s)| Qos {
            iops,
            iops_burst,
            bandwidth: Bytes(bandwidth),
            bandwidth_burst: Bytes(bandwidth_burst),
            burst_s,
        },
    );
    let orders = vec![MirrorOrder::Copy, MirrorOrder::Switch];
    let order = prop::sample::select(orders);
    let mirror =
        (uuid(), epoch(), disk_source(), order).prop_map(|(place, grant, source, order)| {
            Box::new(Mirror {
                place: InstanceId(place),
                grant,
                source,
                order,
            })
        });
    (
        (uuid(), any::<String>(), epoch(), any::<String>()),
        (
            disk_source(),
            any::<u64>(),
            prop_oneof![Just(Qos::default()), qos],
        ),
        (
            option::of(uuid()),
            option::of(mirror),
            option::of((option::of(any::<String>()), any::<bool>())),
        ),
    )
        .prop_map(
            |((volume, name, grant, initiator), (source, size, qos), (stored, mirror, luks))| {
                DiskItem {
                    volume: InstanceId(volume),
                    name,
                    grant,
                    initiator,
                    source,
                    size: Bytes(size),
                    qos,
                    stored: stored.map(InstanceId),
                    mirror,
                    luks: luks.map(|(key, done)| Luks {
                        key: key.map(Secret),
                        formatted: if done {
                            Formatted::Done
                        } else {
                            Formatted::Never
                        },
                    }),
                }
            },
        )
}

fn nic() -> impl Strategy<Value = NicItem> {
    (any::<u32>(), uuid(), mac(), v4(), v6()).prop_map(|(card, subnet, mac, v4, v6)| NicItem {
        card,
        subnet: SubnetUid(subnet),
        mac,
        v4,
        v6,
    })
}

fn vm() -> impl Strategy<Value = ItemBody> {
    use OnStop::*;
    (
        (uuid(), department(), any::<[String; 5]>()),
        (any::<[bool; 2]>(), any::<u32>(), any::<u64>(), any::<u32>()),
        (vec(disk(), 0..3), vec(nic(), 0..3)),
        (
            any::<[String; 2]>(),
            prop::sample::select(vec![Restart, RestartOnFailure, Stay]),
            option::of((epoch(), any::<u32>())),
            option::of(any::<(Option<String>, bool, std::vec::Vec<String>)>()),
        ),
    )
        .prop_map(
            |(who, sizes, (disks, nics), (seed, on_stop, hold, probes))| {
                let (vm, department, [system, name, restart, cpu_model, machine_type]) = who;
                let ([on, uefi], vcpus, memory, stop_deadline_s) = sizes;
                let [hostname, user_data] = seed;
                ItemBody::Vm(Box::new(VmItem {
                    vm: InstanceId(vm),
                    department,
                    system,
                    name,
                    power: if on { Power::On } else { Power::Off },
                    restart,
                    vcpus,
                    memory: MiB(memory),
                    cpu_model,
                    machine_type,
                    firmware: firmware(uefi),
                    disks,
                    nics,
                    seed: SeedItem {
                        hostname,
                        user_data: Secret(user_data),
                    },
                    stop_deadline_s,
                    on_stop,
                    hold: hold.map(|(id, deadline_s)| Hold { id, deadline_s }),
                    probes: probes.map(|(console, agent, command)| Probes {
                        console,
                        agent,
                        command,
                    }),
                }))
            },
        )
}

fn firmware(uefi: bool) -> Firmware {
    if uefi { Firmware::Uefi } else { Firmware::Bios }
}

fn key_of(body: &ItemBody) -> ItemKey {
    match body {
        ItemBody::Image(b) => ItemKey::new(ItemKind::Image, b.image.0),
        ItemBody::Volume(b) => ItemKey::new(ItemKind::Volume, b.volume.0),
        ItemBody::Snapshot(b) => ItemKey::new(ItemKind::Snapshot, b.snapshot.0),
        ItemBody::Backup(b) => ItemKey::new(ItemKind::Backup, b.run.0),
        ItemBody::Restore(b) => ItemKey::new(ItemKind::Restore, b.run.0),
        ItemBody::Manifest(b) => ItemKey::new(ItemKind::Manifest, b.run.0),
        ItemBody::Grant(b) => ItemKey::new(ItemKind::Grant, b.volume.0),
        ItemBody::Network(b) => ItemKey::network(&b.department),
        ItemBody::Endpoint(b) => ItemKey::endpoint(b.vm, b.card),
        ItemBody::Vm(b) => ItemKey::new(ItemKind::Vm, b.vm.0),
    }
}

pub fn item() -> impl Strategy<Value = Item> {
    let body = prop_oneof![
        image(),
        volume(),
        snapshot(),
        backup::backup(),
        backup::restore(),
        backup::manifest(),
        grant(),
        network(),
        endpoint(),
        vm()
    ];
    (epoch(), object(), body).prop_map(|(epoch, object, body)| Item {
        key: key_of(&body),
        epoch,
        object,
        body,
    })
}

pub fn key() -> impl Strategy<Value = ItemKey> {
    use ItemKind::*;
    let kinds = vec![
        Image, Volume, Snapshot, Backup, Restore, Manifest, Grant, Network, Endpoint, Vm,
    ];
    (prop::sample::select(kinds), uuid(), any::<u32>()).prop_map(|(kind, id, card)| ItemKey {
        kind,
        id,
        card,
    })
}

pub fn release() -> impl Strategy<Value = Release> {
    use Disposition::*;
    let how = prop::sample::select(vec![Remove, Retain, EraseDiscard, EraseZero, EraseRandom]);
    (key(), epoch(), object(), how).prop_map(|(key, epoch, object, disposition)| Release {
        key,
        epoch,
        object,
        disposition,
    })
}

fn pool_facts() -> impl Strategy<Value = PoolFacts> {
    use Verb::*;
    let place = prop_oneof![
        Just(PoolPlace::Iscsi),
        any::<String>().prop_map(|folder| PoolPlace::Directory { folder }),
        cluster().prop_map(PoolPlace::Rbd),
    ];
    let verbs = vec![Snapshot, Clone, ChangedExtents, GrowOnline, Fence, Discard];
    let lack =
        (prop::sample::select(verbs), any::<String>()).prop_map(|(verb, why)| Lack { verb, why });
    (
        pool(),
        any::<(u64, u64, bool)>(),
        option::of(any::<String>()),
        place,
        (vec(lack, 0..3), vec(orphan(), 0..3)),
    )
        .prop_map(
            |(pool, (capacity, used, reflink), fault, place, (lacks, orphans))| PoolFacts {
                pool,
                capacity: Bytes(capacity),
                used: Bytes(used),
                reflink,
                fault,
                place,
                lacks,
                orphans,
            },
        )
}

fn orphan() -> impl Strategy<Value = Orphan> {
    use OrphanKind::*;
    let kinds = vec![Volume, Snapshot, Image, Grant, Other];
    (
        prop::sample::select(kinds),
        any::<(String, u64, Option<i64>)>(),
    )
        .prop_map(|(kind, (name, size, since))| Orphan {
            kind,
            name,
            size: Bytes(size),
            since,
        })
}

pub fn erasure() -> impl Strategy<Value = Erasure> {
    use Disposition::*;
    (
        prop::sample::select(vec![EraseDiscard, EraseZero, EraseRandom]),
        any::<(u64, u64, u64, i64, i64)>(),
    )
        .prop_map(
            |(method, (extents, bytes, verified, began_at, ended_at))| Erasure {
                method,
                extents,
                bytes: Bytes(bytes),
                verified: Bytes(verified),
                began_at,
                ended_at,
            },
        )
}

pub fn facts() -> impl Strategy<Value = HostFacts> {
    use Role::*;
    (
        any::<String>(),
        vec(prop::sample::select(vec![Compute, Storage, Gateway]), 0..4),
        (any::<u32>(), any::<(u64, u64)>()),
        (vec(any::<String>(), 0..3), vec(any::<String>(), 0..3)),
        vec(any::<bool>(), 0..3),
        (any::<bool>(), any::<IpAddr>()),
        (option::of(portal()), vec(pool_facts(), 0..3)),
    )
        .prop_map(
            |(boot_id, roles, sizes, texts, uefi, (kvm, overlay), rest)| {
                let (vcpus, (memory, available)) = sizes;
                HostFacts {
                    boot_id,
                    roles,
                    vcpus,
                    memory: MiB(memory),
                    memory_available: MiB(available),
                    machine_types: texts.0,
                    firmwares: uefi.into_iter().map(firmware).collect(),
                    accelerator: if kvm {
                        Accelerator::Kvm
                    } else {
                        Accelerator::Tcg
                    },
                    cpu_models: texts.1,
                    overlay,
                    portal: rest.0,
                    pools: rest.1,
                }
            },
        )
}

pub fn trouble() -> impl Strategy<Value = Trouble> {
    any::<(String, String)>().prop_map(|(reason, message)| Trouble { reason, message })
}

fn hold_seen() -> impl Strategy<Value = HoldSeen> {
    use Consistency::*;
    use HoldState::*;
    let levels = vec![Consistency::Crash, FileSystem, Application];
    let states = vec![Holding, Kept, Broken];
    (
        epoch(),
        prop::sample::select(levels),
        prop::sample::select(states),
    )
        .prop_map(|(id, level, state)| HoldSeen { id, level, state })
}

fn move_seen() -> impl Strategy<Value = MoveSeen> {
    let state = prop_oneof![
        Just(MoveState::Waiting),
        any::<u32>().prop_map(|percent| MoveState::Copying { percent }),
        Just(MoveState::Ready),
        Just(MoveState::Ending),
        Just(MoveState::Switched),
    ];
    (uuid(), uuid(), any::<u32>(), state).prop_map(|(volume, place, tries, state)| MoveSeen {
        volume: InstanceId(volume),
        place: InstanceId(place),
        tries,
        state,
    })
}

fn detail() -> impl Strategy<Value = Detail> {
    use Guest::*;
    let guests = vec![
        Absent,
        Starting,
        Running,
        Paused,
        Stopping,
        Stopped,
        Guest::Crashed,
    ];
    let stops = vec![
        Stop::Clean,
        Stop::Forced,
        Stop::ByGuest,
        Stop::Crashed,
        Stop::HostLost,
    ];
    prop_oneof![
        Just(Detail::None),
        backup::detail(),
        any::<u64>().prop_map(|n| Detail::Image {
            virtual_size: Bytes(n)
        }),
        any::<(u64, u64, Option<String>)>().prop_map(|(size, allocated, restored)| {
            Detail::Volume {
                size: Bytes(size),
                allocated: Bytes(allocated),
                restored,
            }
        }),
        any::<(u64, i64)>().prop_map(|(size, taken_at)| Detail::Snapshot {
            size: Bytes(size),
            taken_at,
        }),
        (
            prop::sample::select(guests),
            option::of(prop::sample::select(stops)),
            any::<(Option<String>, Option<i64>, String)>(),
            (
                option::of(hold_seen()),
                vec(move_seen(), 0..3),
                vec(disk_use(), 0..3),
                vec(uuid(), 0..3),
                option::of(any::<(bool, bool, Option<i32>)>()),
            ),
        )
            .prop_map(
                |(guest, last_stop, (machine_type, started_at, restart), of_disks)| {
                    let (held, moves, used, formatted, probed) = of_disks;
                    Detail::Vm {
                        guest,
                        last_stop,
                        machine_type,
                        started_at,
                        restart,
                        held: held.map(Box::new),
                        moves,
                        used,
                        formatted: formatted.into_iter().map(InstanceId).collect(),
                        probed: probed.map(|(console, agent, command)| {
                            Box::new(Probed {
                                console,
                                agent,
                                command,
                            })
                        }),
                    }
                }
            ),
    ]
}

fn disk_use() -> impl Strategy<Value = DiskUse> {
    (uuid(), any::<(u64, u64)>()).prop_map(|(volume, (iops, bandwidth))| DiskUse {
        volume: InstanceId(volume),
        iops,
        bandwidth: Bytes(bandwidth),
    })
}

pub fn observation() -> impl Strategy<Value = Observation> {
    let state = prop_oneof![
        Just(ItemState::Ready),
        trouble().prop_map(ItemState::Pending),
        trouble().prop_map(ItemState::Failed),
    ];
    (key(), epoch(), any::<u64>(), state, detail()).prop_map(|(key, epoch, hash, state, detail)| {
        Observation {
            key,
            epoch,
            hash: ItemHash(hash),
            state,
            detail,
        }
    })
}

pub fn hello() -> impl Strategy<Value = Hello> {
    let held = (key(), epoch(), any::<u64>()).prop_map(|(key, epoch, hash)| Held {
        key,
        epoch,
        hash: ItemHash(hash),
    });
    (label(), any::<String>(), epoch(), vec(held, 0..5), facts()).prop_map(
        |(host, version, term, held, facts)| Hello {
            host: HostName::new(host).unwrap(),
            version,
            term: Term {
                incarnation: term.incarnation,
                revision: term.revision,
            },
            held,
            facts,
        },
    )
}
