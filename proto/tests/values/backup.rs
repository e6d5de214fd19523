//! Arbitrary backups and restores.

use super::*;

fn access() -> impl Strategy<Value = RepositoryAccess> {
    let place = prop_oneof![
        any::<String>().prop_map(|path| RepositoryPlace::Folder { path }),
        any::<(String, String, String, String)>().prop_map(|(url, user, login, ca)| {
            RepositoryPlace::Rest {
                url,
                user,
                login: Secret(login),
                ca,
            }
        }),
    ];
    (place, any::<String>()).prop_map(|(place, password)| RepositoryAccess {
        place,
        password: Secret(password),
    })
}

fn volume() -> impl Strategy<Value = BackupVolume> {
    (any::<String>(), uuid(), pool(), uuid(), option::of(uuid())).prop_map(
        |(file, volume, pool, snapshot, base)| BackupVolume {
            file,
            volume: InstanceId(volume),
            pool,
            snapshot: SnapshotId(snapshot),
            base: base.map(SnapshotId),
        },
    )
}

pub fn backup() -> impl Strategy<Value = ItemBody> {
    let texts = any::<(bool, String, String, Option<String>, Option<u64>)>();
    (uuid(), access(), texts, vec(volume(), 0..3)).prop_map(
        |(run, repository, (make, machine, manifest, parent, limit), volumes)| {
            ItemBody::Backup(Box::new(BackupItem {
                run: RunId(run),
                repository,
                make,
                machine,
                manifest,
                volumes,
                parent,
                limit: limit.map(Bytes),
            }))
        },
    )
}

pub fn restore() -> impl Strategy<Value = ItemBody> {
    let texts = any::<(String, String, u64, bool, Option<u64>)>();
    (uuid(), access(), texts, uuid(), pool()).prop_map(
        |(run, repository, (backup, file, size, verify, limit), volume, pool)| {
            ItemBody::Restore(Box::new(RestoreItem {
                run: RunId(run),
                repository,
                backup,
                file,
                volume: InstanceId(volume),
                pool,
                size: Bytes(size),
                verify,
                limit: limit.map(Bytes),
            }))
        },
    )
}

fn progress() -> impl Strategy<Value = Option<Progress>> {
    option::of(any::<(u64, u64)>()).prop_map(|progress| {
        progress.map(|(done, of)| Progress {
            done: Bytes(done),
            of: Bytes(of),
        })
    })
}

fn counts() -> impl Strategy<Value = BackupCounts> {
    let volume = (any::<(String, u64, u64)>(), option::of(trouble()));
    let volume = volume.prop_map(|((file, size, read), full)| VolumeBackedUp {
        file,
        size: Bytes(size),
        read: Bytes(read),
        full,
    });
    (any::<(u64, u64)>(), vec(volume, 0..3)).prop_map(|((read, added), volumes)| BackupCounts {
        read: Bytes(read),
        added: Bytes(added),
        volumes,
    })
}

pub fn manifest() -> impl Strategy<Value = ItemBody> {
    (uuid(), access(), any::<String>()).prop_map(|(run, repository, backup)| {
        ItemBody::Manifest(Box::new(ManifestItem {
            run: RunId(run),
            repository,
            backup,
        }))
    })
}

fn manifest_read() -> impl Strategy<Value = ManifestRead> {
    let file = any::<(String, u64)>().prop_map(|(file, size)| ManifestFile {
        file,
        size: Bytes(size),
    });
    (any::<String>(), vec(file, 0..3)).prop_map(|(machine, files)| ManifestRead { machine, files })
}

pub fn detail() -> impl Strategy<Value = Detail> {
    let done = (any::<(String, u64, i64, i64)>(), option::of(counts()));
    let done = done.prop_map(|((backup, size, began_at, ended_at), counts)| BackupDone {
        backup,
        size: Bytes(size),
        began_at,
        ended_at,
        counts,
    });
    let restored = any::<(u64, i64, i64, Option<[u8; 32]>)>();
    let restored = restored.prop_map(|(written, began_at, ended_at, verified)| RestoreDone {
        written: Bytes(written),
        began_at,
        ended_at,
        verified: verified.map(Sha256),
    });
    prop_oneof![
        (progress(), option::of(done)).prop_map(|(progress, done)| Detail::Backup {
            progress,
            done: done.map(Box::new),
        }),
        (progress(), option::of(restored))
            .prop_map(|(progress, done)| Detail::Restore { progress, done }),
        option::of(manifest_read()).prop_map(|read| Detail::Manifest {
            read: read.map(Box::new)
        }),
    ]
}
