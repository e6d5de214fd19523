//! What the key of a grant opens, and what it does not.

use std::process::Command;

use dc_types::Bytes;
use dc_types::plan::{Cephx, VolumeSource};

use super::{Bench, Client};
use crate::cluster;
use crate::lent::with_ceph;
use crate::site::{epoch, volume};

/// What one of Ceph's own tools says to the user of a grant.
fn as_user(user: &str, line: &str) -> Result<String, String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(["--conf", "/mnt/ceph/ceph.conf", "--id", user]);
    let output = command.args(words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

#[test]
fn a_key_opens_the_image_of_its_grant_and_nothing_else() {
    with_ceph(
        "rbd::reach::a_key_opens_the_image_of_its_grant_and_nothing_else",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            // Another of the same department, and one of another.
            bench.make(2, &VolumeSource::Blank).await;
            bench.own(3, "so-khcn").await;
            let other =
                bench
                    .driver
                    .create_volume(volume(3), Bytes(super::SIZE), &VolumeSource::Blank);
            other.await.unwrap();
            bench.grant(1, 6).await.unwrap();
            Client::of(1, 6).act(&["write -P 5 0 1M", "flush", "read -P 5 0 1M", "discard 0 1M"]);
            let user = Cephx::user_name(volume(1), epoch(6));
            for other in [2, 3] {
                let image = cluster::image_as(&user, &volume(other).to_string());
                for command in ["read 0 512", "write 0 512"] {
                    let client = Client {
                        image: image.clone(),
                    };
                    let refused = client.attempt(&[command]).unwrap_err();
                    assert!(refused.contains("not permitted"), "{image}: {refused}");
                }
            }
            for line in [
                "rbd ls rbd",
                "rbd ls rbd/dc_images",
                "rbd namespace ls rbd",
                "rados -p rbd ls",
                "rados -p rbd get rbd_directory -",
                "rados -p rbd -N dc_records ls",
                "rados -p rbd -N dc_records listomapvals dc.volumes",
                "ceph auth ls",
                "ceph auth get client.admin",
                "ceph osd blocklist add 10.0.0.1:0/1",
                "ceph config-key ls",
            ] {
                let answer = as_user(&user, line);
                let refused = answer.as_ref().err();
                let denied = refused
                    .is_some_and(|why| why.contains("not permitted") || why.contains("denied"));
                assert!(denied, "{line}: {answer:?}");
            }
        },
    );
}

#[test]
fn another_key_of_the_same_user_opens_nothing() {
    with_ceph(
        "rbd::reach::another_key_of_the_same_user_opens_nothing",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            bench.grant(1, 6).await.unwrap();
            let client = Client::of(1, 6);
            client.act(&["read 0 512"]);
            let user = Cephx::user_name(volume(1), epoch(6));
            let keyring = format!("/mnt/ceph/client.{user}.keyring");
            let wrong = cluster::KEY.replace("MDEy", "MTEy");
            std::fs::write(&keyring, format!("[client.{user}]\n\tkey = {wrong}\n")).unwrap();
            let refused = client.attempt(&["read 0 512"]).unwrap_err();
            assert!(refused.contains("can't open"), "{refused}");
        },
    );
}

#[test]
fn a_clone_is_read_through_to_its_image_by_a_key_that_may_not_write_there() {
    with_ceph(
        "rbd::reach::a_clone_is_read_through_to_its_image_by_a_key_that_may_not_write_there",
        async || {
            let bench = Bench::new().await;
            bench.make(1, &VolumeSource::Blank).await;
            let open = bench.driver.open_volume(volume(1)).await.unwrap();
            open.write(0, vec![7; 1 << 20]).await.unwrap();
            open.flush().await.unwrap();
            drop(open);
            bench.make(2, &VolumeSource::Volume(volume(1))).await;
            bench.grant(2, 6).await.unwrap();
            let clone = Client::of(2, 6);
            clone.act(&[
                "read -P 7 0 1M",
                "write -P 8 0 512k",
                "flush",
                "read -P 8 0 512k",
            ]);
            clone.act(&["read -P 7 512k 512k"]);
            let user = Cephx::user_name(volume(2), epoch(6));
            let parent = Client {
                image: cluster::image_as(&user, &volume(1).to_string()),
            };
            let refused = parent.attempt(&["write 0 512"]).unwrap_err();
            assert!(refused.contains("not permitted"), "{refused}");
            assert_eq!(bench.read(1).await[0], 7, "the source is as it was");
        },
    );
}
