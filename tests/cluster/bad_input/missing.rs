//! What is not there, or is another department's, or does not read.

use dc_host::Rule;
use dc_host::knobs::Action;
use dc_types::PoolName;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::desk::{Case, Desk, Named, OURS, THEIRS, machine, ours, volume};

fn our_volume(name: &str) -> Named<'_> {
    Named("Volume", OURS, name)
}

pub async fn what_is_not_there_or_anothers_is_named_and_nothing_is_claimed(desk: &mut Desk) {
    let budget = Named("Volume", THEIRS, "budget");
    desk.put(budget, volume(json!({"system": "tax"}))).await;
    desk.put(our_volume("kept"), volume(json!({}))).await;
    desk.wait_object(budget, "Ready").await;
    desk.wait_object(our_volume("kept"), "Ready").await;
    let before = desk.claims();

    machines_that_name_what_is_not_there(desk).await;
    user_data_that_no_guest_would_take(desk).await;
    volumes_that_cannot_be_made(desk).await;
    subnets_that_cannot_be(desk).await;

    // Volumes of machines that miss something else are not made either.
    let now = desk.claims();
    desk.check(
        (now.vms, now.attachments, now.held) == (before.vms, before.attachments, before.held),
        "something was claimed for what was refused",
    );
    desk.check(
        now.volumes == before.volumes,
        "a volume was claimed for a machine that was refused",
    );

    // What comes later is noticed.
    desk.put(
        Named("MachineClass", "", "huge"),
        json!({"vcpus": 2, "memory": "256Mi"}),
    )
    .await;
    desk.expect(ours("no-class"), "Running", &["running on", "đang chạy"])
        .await;
    let wrong = [
        "no-class",
        "no-system",
        "their-subnet",
        "their-volume",
        "no-image",
        "no-pool",
        "twice",
        "two-wrongs",
        "unpublished",
        "not-yaml",
        "not-cloud",
        "no-secret",
        "no-key",
        "bad-secret",
    ];
    desk.remove(&wrong).await;
}

async fn machines_that_name_what_is_not_there(desk: &mut Desk) {
    let from = |source: serde_json::Value, pool: &str| {
        json!({"disks": [{"name": "root",
                          "template": {"pool": pool, "size": "4Gi", "source": source}}]})
    };
    let cases = [
        Case {
            object: ours("no-class"),
            spec: machine(json!({"class": "huge"})),
            reason: "ClassMissing",
            says: &[
                "class: there is no MachineClass huge",
                "`kubectl get mclass` lists them",
                "không có MachineClass huge",
            ],
        },
        Case {
            object: ours("no-system"),
            spec: machine(json!({"system": "tax"})),
            reason: "SystemMissing",
            says: &[
                "system: there is no InformationSystem tax in this namespace",
                "create it",
            ],
        },
        Case {
            object: ours("their-subnet"),
            spec: machine(json!({"interfaces": [{"subnet": "app"}, {"subnet": "treasury"}]})),
            reason: "SubnetMissing",
            says: &[
                "interfaces[1].subnet: there is no Subnet treasury in this namespace",
                "`kubectl get subnet` lists them",
            ],
        },
        Case {
            object: ours("their-volume"),
            spec: machine(json!({"disks": [{"name": "data", "volume": "budget"}]})),
            reason: "VolumeMissing",
            says: &[
                "disks[data].volume: there is no Volume budget in this namespace",
                "create it",
            ],
        },
        Case {
            object: ours("no-image"),
            spec: machine(from(json!({"image": "windows-99"}), "san-1")),
            reason: "VolumesPending",
            says: &[
                "no-image-root",
                "source.image: there is no Image windows-99",
                "`kubectl get images` lists them",
                "không có Image windows-99",
            ],
        },
        Case {
            object: ours("no-pool"),
            spec: machine(from(json!({}), "san-9")),
            reason: "VolumesPending",
            says: &[
                "no-pool-root",
                "pool: there is no StoragePool san-9",
                "`kubectl get pool` lists them",
                "không có StoragePool san-9",
            ],
        },
        Case {
            object: ours("twice"),
            spec: machine(json!({"disks": [{"name": "a", "volume": "kept"},
                                           {"name": "b", "volume": "kept"}]})),
            reason: "VolumeTwice",
            says: &[
                "disks[b]: Volume kept is named twice in this machine",
                "take one out",
            ],
        },
        Case {
            object: ours("two-wrongs"),
            spec: machine(json!({"class": "enormous", "interfaces": [{"subnet": "nowhere"}]})),
            reason: "ClassMissing",
            says: &["MachineClass enormous", "Subnet nowhere"],
        },
        Case {
            object: ours("unpublished"),
            spec: machine(json!({"interfaces": [{"subnet": "app", "publish": ["gopher"]}]})),
            reason: "ServiceNotNamed",
            says: &[
                "interfaces[0].publish: Zone internal lets no service gopher in from outside",
                "it has: none",
                "take it out of publish",
            ],
        },
    ];
    desk.answer(&cases).await;
}

async fn user_data_that_no_guest_would_take(desk: &mut Desk) {
    let secrets: Api<Secret> = Api::namespaced(desk.province.place.client(), OURS);
    for (name, key, text) in [
        ("other-key", "user-data", "#cloud-config\n"),
        (
            "broken",
            "userData",
            "#cloud-config\npassword: [hunter2\nruncmd: 1\n",
        ),
    ] {
        let secret = json!({"metadata": {"name": name}, "stringData": {key: text}});
        let secret = serde_json::from_value(secret).unwrap();
        let made = secrets.create(&PostParams::default(), &secret).await;
        made.unwrap();
    }
    let inline = |text: &str| machine(json!({"cloudInit": {"userData": text}}));
    let secret = |name: &str| machine(json!({"cloudInit": {"secret": name}}));
    let cases = [
        Case {
            object: ours("not-yaml"),
            spec: inline("#cloud-config\npackages: [nginx\nruncmd: yes\n"),
            reason: "CloudInitNotYaml",
            says: &[
                "cloudInit: user-data is not YAML",
                "line ",
                "correct it and apply again",
                "không phải YAML",
            ],
        },
        Case {
            object: ours("not-cloud"),
            spec: inline("packages: [nginx]\n"),
            reason: "CloudInitKind",
            says: &["cloudInit: user-data must begin with #cloud-config", "#!"],
        },
        Case {
            object: ours("no-secret"),
            spec: secret("lost"),
            reason: "SecretMissing",
            says: &[
                "cloudInit.secret: there is no Secret lost in this namespace",
                "create it",
            ],
        },
        Case {
            object: ours("no-key"),
            spec: secret("other-key"),
            reason: "SecretKeyMissing",
            says: &[
                "cloudInit.secret: Secret other-key has no key userData",
                "add it",
            ],
        },
        Case {
            object: ours("bad-secret"),
            spec: secret("broken"),
            reason: "CloudInitNotYaml",
            says: &["line "],
        },
    ];
    desk.answer(&cases).await;
    let told = desk.get(ours("bad-secret")).await.unwrap();
    desk.check(
        !told.data["status"].to_string().contains("hunter2"),
        "the text of a Secret is in a status",
    );
}

async fn volumes_that_cannot_be_made(desk: &mut Desk) {
    let image = |pools: serde_json::Value| {
        json!({"source": {"file": "disk.qcow2"}, "sha256": "0".repeat(64), "format": "qcow2",
               "pools": pools})
    };
    desk.put(Named("Image", "", "tiny"), image(json!(["san-1"])))
        .await;
    let elsewhere = Case {
        object: Named("Image", "", "elsewhere"),
        spec: image(json!(["san-9"])),
        reason: "PoolMissing",
        says: &["pool: there is no StoragePool san-9", "kubectl get pool"],
    };
    desk.answer(&[elsewhere]).await;
    desk.wait_object(Named("Image", "", "tiny"), "Ready").await;
    let cases = [
        Case {
            object: our_volume("no-pool"),
            spec: volume(json!({"pool": "san-9"})),
            reason: "PoolMissing",
            says: &["pool: there is no StoragePool san-9", "kubectl get pool"],
        },
        Case {
            object: our_volume("no-image"),
            spec: volume(json!({"source": {"image": "windows-99"}})),
            reason: "ImageMissing",
            says: &[
                "source.image: there is no Image windows-99",
                "kubectl get images",
            ],
        },
        Case {
            object: our_volume("image-elsewhere"),
            spec: volume(json!({"source": {"image": "elsewhere"}})),
            reason: "ImageNotInPool",
            says: &[
                "source.image: Image elsewhere is not kept in pool san-1",
                "add it to its pools",
            ],
        },
        Case {
            object: our_volume("less-than-image"),
            spec: volume(json!({"size": "128Mi", "source": {"image": "tiny"}})),
            reason: "ImageLarger",
            says: &[
                "size: 128Mi is less than the 256Mi of Image tiny",
                "ask for more",
            ],
        },
        Case {
            object: our_volume("less-than-volume"),
            spec: volume(json!({"size": "1Gi", "source": {"volume": "kept"}})),
            reason: "SourceVolumeLarger",
            says: &["size: 1Gi is less than the 2Gi of Volume kept"],
        },
        Case {
            object: our_volume("their-source"),
            spec: volume(json!({"source": {"volume": "budget"}})),
            reason: "SourceVolumeMissing",
            says: &[
                "source.volume: there is no Volume budget in this namespace",
                "`kubectl get vol` lists them",
            ],
        },
        Case {
            object: our_volume("their-system"),
            spec: volume(json!({"system": "tax"})),
            reason: "SystemMissing",
            says: &["system: there is no InformationSystem tax in this namespace"],
        },
    ];
    desk.answer(&cases).await;
    for case in &cases {
        desk.delete(case.object).await;
        desk.wait_gone(case.object).await;
    }
    desk.delete(Named("Image", "", "elsewhere")).await;
    desk.wait_gone(Named("Image", "", "elsewhere")).await;
}

async fn subnets_that_cannot_be(desk: &mut Desk) {
    let app = desk.get(Named("Subnet", OURS, "app")).await.unwrap();
    let taken = app.data["status"]["ipv4"].as_str().unwrap().to_owned();
    let subnet = |name| Named("Subnet", OURS, name);
    let overlaps = format!("{taken} overlaps {taken} of Subnet app in this department");
    let cases = [
        Case {
            object: subnet("no-zone"),
            spec: json!({"zone": "dmz-9"}),
            reason: "ZoneMissing",
            says: &["zone: there is no Zone dmz-9", "`kubectl get zones`"],
        },
        Case {
            object: subnet("in-the-street"),
            spec: json!({"zone": "outside"}),
            reason: "ZoneCarriesNoMachines",
            says: &[
                "zone: Zone outside is of type outside",
                "choose another zone",
                "hãy chọn",
            ],
        },
        Case {
            object: subnet("no-pool"),
            spec: json!({"zone": "bare"}),
            reason: "ZoneWithoutPool",
            says: &["zone: Zone bare has no address pool", "give ipv4 or ipv6"],
        },
        Case {
            object: subnet("public"),
            spec: json!({"zone": "internal", "ipv4": "203.0.113.0/24"}),
            reason: "PrefixNotPrivate",
            says: &[
                "ipv4: 203.0.113.0/24 is not a private network",
                "use one inside 10.0.0.0/8",
            ],
        },
        Case {
            object: subnet("over"),
            spec: json!({"zone": "internal", "ipv4": taken}),
            reason: "PrefixOverlaps",
            says: &["ipv4: ", &overlaps, "choose another"],
        },
    ];
    desk.answer(&cases).await;
    for case in &cases {
        desk.delete(case.object).await;
        desk.wait_gone(case.object).await;
    }
}

/// The sum itself is the real tools' matter; the words of the host have to reach the reader.
pub async fn an_image_that_cannot_be_had_says_so_and_so_do_all_who_wait_for_it(desk: &mut Desk) {
    let storage = desk.province.host("storage-1").fakes.clone();
    let pool = PoolName::new("san-1").unwrap();
    let source = "debian-cut.qcow2";
    storage.pool(&pool).set_sum(source, &"b".repeat(64));
    let broken = Case {
        object: Named("Image", "", "debian-cut"),
        spec: json!({"source": {"file": source}, "sha256": "a".repeat(64), "format": "qcow2",
                     "pools": ["san-1"]}),
        reason: "ImageChecksumMismatch",
        says: &[
            "host storage-1: image file debian-cut.qcow2 has the SHA-256 bbbb",
            "damaged",
            "correct the checksum or the source",
            "máy chủ storage-1",
        ],
    };
    let waits = Case {
        object: our_volume("from-cut"),
        spec: volume(json!({"source": {"image": "debian-cut"}})),
        reason: "ImageFailed",
        says: &[
            "source.image: Image debian-cut cannot be had in pool san-1",
            "SHA-256",
            "platform administrator",
            "quản trị",
        ],
    };
    desk.answer(&[broken, waits]).await;

    // A storage host that cannot work says so too, and goes on when it can.
    let rule = Rule {
        action: Action::Fail {
            message: "Input/output error".into(),
        },
        skip: 0,
        times: None,
    };
    storage.knobs.set("pool.create_volume", rule);
    let unlucky = Case {
        object: our_volume("unlucky"),
        spec: volume(json!({})),
        reason: "StorageFailed",
        says: &["host storage-1:", "Input/output error", "máy chủ storage-1"],
    };
    desk.answer(&[unlucky]).await;
    storage.knobs.clear("pool.create_volume");
    desk.wait_object(our_volume("unlucky"), "Ready").await;

    // The file is put right: the image is had without being asked for again.
    storage.pool(&pool).set_sum(source, &"a".repeat(64));
    desk.wait_object(Named("Image", "", "debian-cut"), "Ready")
        .await;
    desk.wait_object(our_volume("from-cut"), "Ready").await;
    for name in ["unlucky", "from-cut"] {
        desk.delete(our_volume(name)).await;
        desk.wait_gone(our_volume(name)).await;
    }
    desk.check(
        storage.pool(&pool).erased().len() >= 2,
        "erased volumes are not erased",
    );
}
