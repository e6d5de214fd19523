//! What a test does to a pool's folder behind the driver's back.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use dc_types::plan::{ImageFormat, ImageItem, ImageSource};
use dc_types::report::{Orphan, OrphanKind};
use dc_types::{Bytes, ImageUid, InstanceId, SnapshotId};
use uuid::Uuid;

use crate::inside::run;
use crate::site::{MIB, POOL_FOLDER, pool};

/// A raw image of these bytes in the images folder.
pub fn image(bytes: &[u8]) -> ImageItem {
    let id = Uuid::new_v4();
    let name = format!("{id}.raw");
    let path = format!("/mnt/images/{name}");
    fs::write(&path, bytes).unwrap();
    let said = run(&["sha256sum", &path]);
    ImageItem {
        image: ImageUid(id),
        pool: pool(),
        source: ImageSource::File(name),
        sha256: said.split(' ').next().unwrap().to_owned(),
        format: ImageFormat::Raw,
        max_download: Bytes(256 * MIB),
        max_virtual: Bytes(256 * MIB),
    }
}

/// Leaves 20 MiB of the pool free, or all of it.
pub fn fill(filled: bool) {
    // Outside what a driver looks at.
    let filler = Path::new(POOL_FOLDER).join("lost+found/filler");
    if filled {
        fs::create_dir_all(filler.parent().unwrap()).unwrap();
        let free = run(&["df", "--output=avail", "-k", POOL_FOLDER]);
        let free: u64 = free.lines().last().unwrap().trim().parse().unwrap();
        let size = format!("{}K", free - 20 * 1024);
        run(&["fallocate", "-l", &size, filler.to_str().unwrap()]);
    } else {
        fs::remove_file(filler).unwrap();
    }
}

/// Forbids even root to make or remove a volume's file, or allows it again.
pub fn forbid(forbidden: bool) {
    let how = if forbidden { "+i" } else { "-i" };
    run(&["chattr", how, &format!("{POOL_FOLDER}/volumes")]);
}

/// Hides the pool's folder under an empty one, as when its disk is not mounted. Whoever works on it
/// leaves that one empty.
pub fn take_away(away: bool) {
    if away {
        run(&["mount", "-t", "tmpfs", "tmpfs", POOL_FOLDER]);
    } else {
        let left: Vec<_> = fs::read_dir(POOL_FOLDER).unwrap().flatten().collect();
        assert!(
            left.is_empty(),
            "written though the pool was away: {left:?}"
        );
        run(&["umount", POOL_FOLDER]);
    }
}

/// Changes a byte of a snapshot.
pub fn spoil(volume: InstanceId, snapshot: SnapshotId) {
    let path = format!("{POOL_FOLDER}/snapshots/{volume}/{snapshot}.raw");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff], 100).unwrap();
    file.sync_all().unwrap();
}

/// Names that are not the driver's, in each of its folders.
pub fn litter(root: &str) -> Vec<Orphan> {
    let odd = "thèse $(reboot)\n'; DROP TABLE.raw";
    let spelt = format!("{}.raw", Uuid::from_u128(77).simple());
    let image = format!("images/{}.raw", Uuid::from_u128(78));
    let kept = format!("retained/{}-1.6.raw", Uuid::from_u128(79));
    let names = [
        (OrphanKind::Other, odd.to_owned()),
        (OrphanKind::Other, format!("volumes/{odd}")),
        (OrphanKind::Other, format!("volumes/{spelt}")),
        (OrphanKind::Other, "records/..json".to_owned()),
        (OrphanKind::Image, image),
        (OrphanKind::Volume, kept),
    ];
    let left = names.map(|(kind, name)| {
        let path: PathBuf = Path::new(root).join(name);
        fs::write(&path, "x").unwrap();
        Orphan {
            kind,
            name: path.display().to_string(),
            size: Bytes(0),
            since: None,
        }
    });
    left.to_vec()
}
