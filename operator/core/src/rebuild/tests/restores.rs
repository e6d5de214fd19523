use dc_crds::{Backup, Condition, ConditionStatus, Volume, VolumeStatus};
use dc_types::claim::{Contents, SnapshotPurpose, SnapshotState};
use dc_types::plan::{ItemKey, ItemKind, RepositoryAccess, RepositoryPlace, RestoreItem, Secret};
use dc_types::{Bytes, RunId};

use super::*;

/// A host that writes volume `n` from a backup.
fn restore(n: u128) -> Item {
    let body = RestoreItem {
        run: RunId(Uuid::from_u128(900 + n)),
        repository: RepositoryAccess {
            place: RepositoryPlace::Folder {
                path: "/backups/so-nnmt".into(),
            },
            password: Secret("secret".into()),
        },
        backup: "0".repeat(64),
        file: "web-root.raw".into(),
        volume: id(n),
        pool: dc_types::PoolName::new("san").unwrap(),
        size: Bytes(1 << 30),
        verify: false,
        limit: None,
    };
    Item {
        key: ItemKey::new(ItemKind::Restore, body.run.0),
        epoch: epoch(5),
        object: object("back", 900 + n),
        body: ItemBody::Restore(Box::new(body)),
    }
}

/// A volume of which people were told this last.
fn told(n: u128, reason: &str) -> Volume {
    let spec = serde_json::json!({"system": "s", "pool": "san", "size": "1Gi",
        "source": {"restore": "back"}});
    let mut volume = Volume::new(&format!("v{n}"), serde_json::from_value(spec).unwrap());
    volume.metadata.uid = Some(Uuid::from_u128(n).to_string());
    volume.status = Some(VolumeStatus {
        conditions: vec![Condition {
            type_: "Ready".into(),
            status: ConditionStatus::False,
            reason: reason.into(),
            message: String::new(),
            observed_generation: 1,
            last_transition_time: String::new(),
        }],
        ..VolumeStatus::default()
    });
    volume
}

#[test]
fn a_volume_that_is_not_all_written_is_still_nobodys() {
    let items = (101..=104)
        .map(|n| volume(n, 4))
        .chain([restore(101)])
        .collect();
    let storage = inventory("s1", items);
    let objects = Objects {
        volumes: vec![
            told(102, "AwaitsRestore"),
            told(103, "Ready"),
            told(104, "HalfRestored"),
        ],
        ..objects()
    };
    let claims = read(&rebuild(&[storage], &objects));
    let contents = |n| claims.volumes[&id(n)].value.contents;
    assert_eq!(contents(101), Contents::AwaitRestore, "its host writes it");
    assert_eq!(contents(102), Contents::AwaitRestore, "people were told so");
    assert_eq!(contents(103), Contents::Whole);
    assert_eq!(
        contents(104),
        Contents::AwaitRestore,
        "and nobody writes it"
    );
}

#[test]
fn the_snapshots_of_backups_are_the_platforms_and_nobody_need_look_at_them() {
    let (host, body) = (
        "s1",
        dc_types::plan::SnapshotItem {
            snapshot: dc_types::SnapshotId(Uuid::from_u128(201)),
            volume: id(101),
            pool: dc_types::PoolName::new("san").unwrap(),
        },
    );
    let base = item(ItemKind::Snapshot, 201, 5, "one", ItemBody::Snapshot(body));
    let owner = base.object.uid;
    let storage = inventory(host, vec![volume(101, 4), base]);
    let mut backup = Backup::new(
        "one",
        dc_crds::BackupSpec {
            vm: "web".into(),
            repository: "main".into(),
            policy: None,
            scheduled_at: None,
        },
    );
    backup.metadata.uid = Some(owner.to_string());
    let objects = Objects {
        backups: vec![backup],
        ..objects()
    };
    let outcome = rebuild(&[storage], &objects);
    assert!(outcome.disagreements.is_empty(), "{outcome:#?}");
    let claims = read(&outcome);
    let mut snapshots = claims.snapshots.values();
    let one = snapshots.next().unwrap();
    assert_eq!(one.value.purpose, SnapshotPurpose::Backup);
    assert_eq!(one.value.state, SnapshotState::Broken);
}
