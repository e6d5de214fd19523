//! What images say of themselves over the agent's own connection is what Ceph's program says.

use std::time::Duration;

use dc_host::rbd::{ImageName, ParentPlace, Rbd, RealCeph};
use jiff::Timestamp;
use serde_json::Value;

use super::Client;
use crate::cluster::{self, Cluster};
use crate::lent::with_ceph;
use crate::site::MIB;
use dc_lab::wait::{Look, until};

const SPACE: &str = "so-nnmt";

/// Ceph's own program, and what it answers.
struct Program(Cluster);

impl Program {
    fn rbd(&self, line: &str) -> Vec<u8> {
        let mut command = self.0.ceph.command("rbd");
        // It tells times in the local zone.
        let output = command.env("TZ", "UTC").args(line.split(' ')).output();
        let output = output.unwrap();
        assert!(output.status.success(), "rbd {line}: {output:?}");
        output.stdout
    }

    fn ask(&self, line: &str) -> Value {
        serde_json::from_slice(&self.rbd(&format!("{line} --format json"))).unwrap()
    }
}

fn as_the_program_tells(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap();
    time.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

#[test]
fn an_image_says_of_itself_what_the_program_says_of_it() {
    with_ceph(
        "rbd::looks::an_image_says_of_itself_what_the_program_says_of_it",
        async || {
            let program = Program(Cluster::lent());
            let ours = RealCeph::new(&cluster::place());
            program.0.make_image("so-nnmt/base", "32M");
            let base = ImageName::new(SPACE, "base");
            for (name, then) in [("first", "64M"), ("second", "96M"), ("gone", "128M")] {
                program.rbd(&format!(
                    "snap create --no-progress rbd/so-nnmt/base@{name}"
                ));
                let resize = "resize --no-progress rbd/so-nnmt/base --size";
                program.rbd(&format!("{resize} {then}"));
            }
            let clone = "clone --rbd-default-clone-format 2 rbd/so-nnmt/base@gone rbd/so-nnmt/copy";
            program.rbd(clone);
            // It stays for its clone, and is nobody's any more.
            program.rbd("snap rm --no-progress rbd/so-nnmt/base@gone");

            let told = program.ask("info rbd/so-nnmt/base");
            let info = ours.read_image(&base).await.unwrap().unwrap();
            assert_eq!(told["id"], info.id);
            assert_eq!(told["size"], info.size.0);
            let changed = as_the_program_tells(info.changed_at.unwrap());
            assert_eq!(told["modify_timestamp"], changed);
            assert_eq!(info.parent, None);

            let told = program.ask("snap ls rbd/so-nnmt/base");
            let snapshots = ours.list_snapshots(&base).await.unwrap();
            let told: Vec<_> = told.as_array().unwrap().iter().collect();
            assert_eq!(told.len(), 2);
            assert_eq!(snapshots.len(), 2);
            for (told, seen) in told.into_iter().zip(&snapshots) {
                assert_eq!(told["id"], seen.order);
                assert_eq!(told["name"], seen.name);
                assert_eq!(told["size"], seen.size.0);
                assert_eq!(told["timestamp"], as_the_program_tells(seen.taken_at));
            }
            assert_eq!(
                (snapshots[0].size.0, snapshots[1].size.0),
                (32 * MIB, 64 * MIB)
            );

            let copy = ImageName::new(SPACE, "copy");
            for (place, trash) in [(ParentPlace::Listed, false), (ParentPlace::Trash, true)] {
                let told = program.ask("info rbd/so-nnmt/copy");
                let parent = ours.read_image(&copy).await.unwrap().unwrap().parent;
                let parent = parent.unwrap();
                assert_eq!(told["parent"]["pool_namespace"], parent.image.namespace);
                assert_eq!(told["parent"]["image"], parent.image.name);
                assert_eq!(told["parent"]["id"], parent.id);
                assert_eq!(told["parent"]["trash"], trash);
                assert_eq!(parent.place, place);
                if !trash {
                    for name in ["first", "second"] {
                        program.rbd(&format!("snap rm --no-progress rbd/so-nnmt/base@{name}"));
                    }
                    program.rbd("trash mv rbd/so-nnmt/base");
                }
            }
            assert_eq!(ours.read_image(&base).await.unwrap(), None);
            let gone = ours.list_snapshots(&base).await.unwrap_err();
            assert!(gone.is_missing(), "{gone}");
        },
    );
}

#[test]
fn an_image_that_is_looked_at_has_no_watcher_and_one_that_is_written_has_its_writer() {
    with_ceph(
        "rbd::looks::an_image_that_is_looked_at_has_no_watcher_and_one_that_is_written_has_its_writer",
        async || {
            let program = Program(Cluster::lent());
            let ours = RealCeph::new(&cluster::place());
            program.0.make_image("so-nnmt/disk", "32M");
            let disk = ImageName::new(SPACE, "disk");
            assert_eq!(ours.list_watchers(&disk).await.unwrap(), []);
            assert_eq!(ours.list_locks(&disk).await.unwrap(), []);
            let writer = Client {
                image: "rbd:rbd/so-nnmt/disk:id=admin:conf=/mnt/ceph/ceph.conf".into(),
            };
            let mut writer = writer.stay();
            writer.tell("write 0 4k");
            let locks = until(
                "the writer's lock",
                Duration::from_secs(300),
                async || match ours.list_locks(&disk).await.unwrap() {
                    locks if locks.is_empty() => Look::NotYet("nobody has it".into()),
                    locks => Look::Holds(locks),
                },
            );
            let locks = locks.await.unwrap();
            let told = program.ask("lock ls rbd/so-nnmt/disk");
            assert_eq!(locks.len(), 1);
            assert_eq!(told[0]["id"], locks[0].id);
            assert_eq!(told[0]["locker"], locks[0].locker);
            assert_eq!(told[0]["address"], locks[0].address.0);
            let watchers = ours.list_watchers(&disk).await.unwrap();
            let told = program.ask("status rbd/so-nnmt/disk");
            assert_eq!(told["watchers"].as_array().unwrap().len(), 1);
            assert_eq!(told["watchers"][0]["address"], watchers[0].0);
            assert_eq!(watchers.len(), 1);
            writer.kill();
        },
    );
}
