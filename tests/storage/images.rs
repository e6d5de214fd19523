//! Images as qemu-img makes them, good and bad.

use std::fs;
use std::process::Command;

use dc_types::Bytes;
use dc_types::plan::{ImageFormat, ImageItem, ImageSource, ItemKind, VolumeSource};

use crate::conformance::bytes::all_are;
use crate::inside::{inside, run};
use crate::site::{MIB, Site, image, key, pool, volume_path};

/// A file in the images folder.
pub struct Disk {
    name: String,
    format: ImageFormat,
}

pub fn raw(name: &str, bytes: &[u8]) -> Disk {
    let disk = Disk {
        name: name.to_owned(),
        format: ImageFormat::Raw,
    };
    fs::write(disk.path(), bytes).unwrap();
    disk
}

fn qcow2(name: &str, arguments: &[&str]) -> Disk {
    let disk = Disk {
        name: name.to_owned(),
        format: ImageFormat::Qcow2,
    };
    let path = disk.path();
    let line: Vec<&str> = arguments
        .iter()
        .map(|word| if *word == "FILE" { path.as_str() } else { word })
        .collect();
    run(&line);
    disk
}

impl Disk {
    fn path(&self) -> String {
        format!("/mnt/images/{}", self.name)
    }

    fn sha256(&self) -> String {
        let said = run(&["sha256sum", &self.path()]);
        said.split(' ').next().unwrap().to_owned()
    }

    pub fn item(&self, n: u128) -> ImageItem {
        ImageItem {
            image: image(n),
            pool: pool(),
            source: ImageSource::File(self.name.clone()),
            sha256: self.sha256(),
            format: self.format,
            max_download: Bytes(256 * MIB),
            max_virtual: Bytes(256 * MIB),
        }
    }
}

/// 3 MiB of a pattern, a hole, and a last sector.
fn pattern() -> Vec<u8> {
    let mut bytes = vec![0xab; 3 << 20];
    bytes.resize((20 << 20) - 512, 0);
    bytes.extend([0xcd; 512]);
    bytes
}

#[test]
fn a_packed_qcow2_becomes_raw_once_and_volumes_have_its_bytes() {
    inside(
        "images::a_packed_qcow2_becomes_raw_once_and_volumes_have_its_bytes",
        async || {
            let mut site = Site::new().await;
            raw("base.raw", &pattern());
            let packed = qcow2(
                "packed.qcow2",
                &[
                    "qemu-img",
                    "convert",
                    "-c",
                    "-O",
                    "qcow2",
                    "/mnt/images/base.raw",
                    "FILE",
                ],
            );
            site.put_image(packed.item(1));
            site.put_volume(1, 20 * MIB, VolumeSource::Image(image(1)));
            site.put_volume(2, 40 * MIB, VolumeSource::Image(image(1)));
            site.settle().await;
            site.expect_ready().await;
            assert!(fs::read(volume_path(1)).unwrap() == pattern());
            let longer = fs::read(volume_path(2)).unwrap();
            assert!(longer[..20 << 20] == pattern());
            assert!(all_are(&longer[20 << 20..], 0));
            assert_eq!(fs::read_dir("/mnt/pool/tmp").unwrap().count(), 0);
            // The source is not needed any more.
            fs::remove_file(packed.path()).unwrap();
            site.restart_agent().await;
            site.put_volume(3, 20 * MIB, VolumeSource::Image(image(1)));
            site.settle().await;
            site.expect_ready().await;
            // A volume that is smaller than its image is refused, with what it needs.
            site.put_volume(4, 10 * MIB, VolumeSource::Image(image(1)));
            site.settle().await;
            let told = site.stand(key(ItemKind::Volume, 4)).await;
            assert!(
                told.starts_with("SizeBelowSource") && told.contains("20Mi"),
                "{told}"
            );
        },
    );
}

fn bad_images() -> Vec<(ImageItem, &'static str)> {
    let base = raw("base.raw", &pattern());
    let create = ["qemu-img", "create", "-q", "-f", "qcow2"];
    let with = |name: &str, rest: &[&str]| {
        let line: Vec<&str> = create.iter().chain(rest).copied().collect();
        qcow2(name, &line)
    };
    let backed = with(
        "backed.qcow2",
        &["-b", "/mnt/images/base.raw", "-F", "raw", "FILE"],
    );
    let external = with(
        "external.qcow2",
        &[
            "-o",
            "data_file=/mnt/images/data,data_file_raw=on",
            "FILE",
            "8M",
        ],
    );
    // Marked as encrypted by hand: qemu-img times its cipher first, and gives up on a busy machine.
    let encrypted = with("encrypted.qcow2", &["FILE", "8M"]);
    let mut bytes = fs::read(encrypted.path()).unwrap();
    bytes[35] = 2;
    fs::write(encrypted.path(), bytes).unwrap();
    let plain = with("plain.qcow2", &["FILE", "8M"]);
    let huge = with("huge.qcow2", &["FILE", "1G"]);
    let mut wrong_sum = plain.item(4);
    wrong_sum.sha256 = "0".repeat(64);
    let mut said_raw = plain.item(5);
    said_raw.format = ImageFormat::Raw;
    let mut said_qcow2 = base.item(6);
    said_qcow2.format = ImageFormat::Qcow2;
    let mut too_long = base.item(7);
    too_long.max_download = Bytes(MIB);
    let mut missing = plain.item(9);
    missing.source = ImageSource::File("missing.qcow2".into());
    // Cut off after its checksum was taken.
    let cut = with("cut.qcow2", &["FILE", "8M"]);
    let cut_item = cut.item(10);
    fs::write(cut.path(), &fs::read(cut.path()).unwrap()[..3000]).unwrap();
    // Cut off before: only what is inside shows it.
    let inside = with("inside.qcow2", &["FILE", "8M"]);
    fs::write(inside.path(), &fs::read(inside.path()).unwrap()[..60]).unwrap();
    let mut nobody = plain.item(12);
    nobody.source = ImageSource::Http("http://127.0.0.1:1/disk".into());
    vec![
        (backed.item(1), "ImageHasBackingFile"),
        (external.item(2), "ImageHasBackingFile"),
        (encrypted.item(3), "ImageEncrypted"),
        (wrong_sum, "ImageChecksumMismatch"),
        (said_raw, "ImageFormatMismatch"),
        (said_qcow2, "ImageFormatMismatch"),
        (too_long, "ImageTooLarge"),
        (huge.item(8), "ImageTooLarge"),
        (missing, "ImageUnreadable"),
        (cut_item, "ImageChecksumMismatch"),
        (inside.item(11), "ImageFormatMismatch"),
        (nobody, "ImageUnreadable"),
    ]
}

#[test]
fn every_bad_image_is_refused_with_its_reason_and_leaves_nothing() {
    inside(
        "images::every_bad_image_is_refused_with_its_reason_and_leaves_nothing",
        async || {
            let mut site = Site::new().await;
            let bad = bad_images();
            for (item, _) in &bad {
                site.put_image(item.clone());
            }
            site.round().await;
            for (n, (_, reason)) in (1..).zip(&bad) {
                let told = site.stand(key(ItemKind::Image, n)).await;
                println!("{told}");
                assert!(
                    told.starts_with(&format!("{reason}:")),
                    "{n} {reason}: {told}"
                );
            }
            for folder in ["tmp", "images"] {
                let left = fs::read_dir(format!("/mnt/pool/{folder}")).unwrap().count();
                assert_eq!(left, 0, "{folder}");
            }
        },
    );
}

#[test]
fn an_image_comes_over_http_and_can_be_corrected() {
    inside(
        "images::an_image_comes_over_http_and_can_be_corrected",
        async || {
            let mut site = Site::new().await;
            let disk = raw("web.raw", &pattern());
            let server = Command::new("busybox")
                .args(["httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/mnt/images"])
                .spawn();
            let mut server = server.expect("busybox can be started");
            let mut item = disk.item(1);
            item.source = ImageSource::Http("http://127.0.0.1:8080/web.raw".into());
            item.sha256 = "f".repeat(64);
            site.put_image(item.clone());
            let answers = dc_lab::wait::until("the server", crate::site::DEADLINE, async || {
                site.round().await;
                let told = site.stand(key(ItemKind::Image, 1)).await;
                match told.starts_with("ImageChecksumMismatch") {
                    true => dc_lab::wait::Look::Holds(()),
                    false => dc_lab::wait::Look::NotYet(told),
                }
            });
            answers.await.unwrap();
            item.sha256 = disk.sha256();
            site.put_image(item);
            site.settle().await;
            site.expect_ready().await;
            server.kill().unwrap();
            server.wait().unwrap();
        },
    );
}
