use super::*;
use crate::plan::Plan;
use crate::sim::{fail, host, observe};
use crate::words::Fact;
use dc_crds::image::{ImageFormatName, ImageSourceSpec};
use dc_crds::{FINALIZER, ImageSpec};
use dc_types::ObjectUid;
use dc_types::plan::ItemBody;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use uuid::Uuid;

fn image() -> Image {
    let mut image = Image::new(
        "tiny",
        ImageSpec {
            source: ImageSourceSpec {
                file: Some("tiny.qcow2".into()),
                http: None,
            },
            sha256: "0".repeat(64),
            format: ImageFormatName::Qcow2,
            pools: vec!["a".into(), "b".into()],
            max_download: "1Gi".into(),
            max_virtual_size: "2Gi".into(),
        },
    );
    image.metadata.finalizers = Some(vec![FINALIZER.into()]);
    image
}

fn pool(name: &str) -> PoolSeen {
    PoolSeen {
        name: name.into(),
        at: Some((PoolName::new(name).unwrap(), host(&format!("s-{name}")))),
        presence: Presence::Connected,
        said: None,
        removal: Removal::NotAsked,
    }
}

fn plan_with(image: &Image, pools: &[PoolSeen]) -> Plan {
    let me = ObjectRef {
        namespace: String::new(),
        name: "tiny".into(),
        uid: ObjectUid(Uuid::from_u128(1)),
    };
    plan(&Seen {
        image,
        me: &me,
        pools,
        claims: &Claims::new(3),
    })
}

#[test]
fn an_image_is_kept_in_every_pool_and_ready_when_all_have_it() {
    let mut pools = [pool("a"), pool("b")];
    let first = plan_with(&image(), &pools);
    assert_eq!(first.carry.len(), 2);
    assert_eq!(
        first.found,
        [Fact::ImagePending {
            pools: vec!["a".into(), "b".into()]
        }]
    );
    for (pool, (_, item)) in pools.iter_mut().zip(&first.carry) {
        assert_eq!(item.epoch.incarnation, 3);
        assert!(matches!(item.body, ItemBody::Image(_)));
        pool.said = Some(observe(item));
    }
    assert_eq!(plan_with(&image(), &pools).found, []);
}

#[test]
fn a_wrong_checksum_is_told_in_the_hosts_words() {
    let mut pools = [pool("a"), pool("b")];
    let first = plan_with(&image(), &pools);
    pools[0].said = Some(observe(&first.carry[0].1));
    pools[1].said = Some(fail(&first.carry[1].1, "ChecksumWrong"));
    let words = plan_with(&image(), &pools).found[0].words();
    assert_eq!(words.reason, "ChecksumWrong");
    assert!(words.en.contains("s-b"));
}

#[test]
fn a_pool_that_is_not_there_does_not_hold_up_the_others() {
    let mut missing = pool("b");
    missing.at = None;
    let plan = plan_with(&image(), &[pool("a"), missing]);
    assert_eq!(plan.carry.len(), 1);
    assert!(plan.found.contains(&Fact::PoolMissing { pool: "b".into() }));
}

#[test]
fn an_image_goes_from_every_pool_before_it_is_let_go() {
    let mut gone = image();
    gone.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let mut pools = [pool("a"), pool("b")];
    let first = plan_with(&gone, &pools);
    assert_eq!(first.txn.as_ref().unwrap().writes.len(), 2);
    assert_eq!(first.uncarry.len(), 2, "it must not be sent again");
    pools[0].removal = Removal::Done;
    pools[1].removal = Removal::Pending;
    assert_eq!(plan_with(&gone, &pools).found, [Fact::Deleting]);
    pools[1].removal = Removal::Done;
    assert_eq!(plan_with(&gone, &pools), Plan::let_go());
}
