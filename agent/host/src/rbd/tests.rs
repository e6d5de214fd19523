//! The answers of Ceph 16.2.15, as they were, and what is taken from them.

use dc_types::Bytes;
use dc_types::plan::Secret;
use nix::errno::Errno;

use super::answers::{
    AuthDump, Child, Df, DiffExtent, DiskUsage, MonitorDump, PoolListed, SessionListed, blocked,
    keyring, space, users,
};
use super::{ClientAddress, Difference, ImageName, RbdError, Session, SpaceState, Usage, User};

fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> T {
    serde_json::from_str(text).expect("this is what Ceph answered")
}

#[test]
fn usage_tells_images_and_snapshots_apart() {
    let text = r#"{"images":[{"name":"v1","id":"1024b7c1acc7","snapshot":"s1","snapshot_id":5,
        "provisioned_size":67108864,"used_size":16777216},{"name":"v1","id":"1024b7c1acc7",
        "provisioned_size":67108864,"used_size":0}],"total_provisioned_size":134217728,
        "total_used_size":16777216}"#;
    let usage = Vec::<Usage>::from(read::<DiskUsage>(text));
    let snapshots: Vec<_> = usage.iter().map(|one| one.snapshot.as_deref()).collect();
    assert_eq!(snapshots, [Some("s1"), None]);
    assert_eq!(usage[0].used, Bytes(16 << 20));
}

#[test]
fn a_run_that_holds_nothing_now_differs_too() {
    let text = r#"[{"offset":0,"length":4194304,"exists":"true"},
        {"offset":8388608,"length":512,"exists":"false"}]"#;
    let found: Vec<Difference> = read::<Vec<DiffExtent>>(text)
        .into_iter()
        .map(Into::into)
        .collect();
    let (offset, length) = (8 << 20, 512);
    assert_eq!(found[1], Difference { offset, length });
}

#[test]
fn the_clones_of_an_image_are_named() {
    let text = r#"[{"pool":"vms","pool_namespace":"a","image":"c1","id":"10dd","trash":false}]"#;
    let clone = ImageName::from(read::<Vec<Child>>(text).remove(0));
    assert_eq!(clone, ImageName::new("a", "c1"));
}

#[test]
fn the_blocklist_is_two_lists() {
    let text = b"[{\"addr\":\"127.0.0.1:0/93\",\"until\":\"2026-11-26T23:03:03\"}]\n\n[]\n";
    let found = blocked(text).unwrap();
    assert_eq!(found, [ClientAddress("127.0.0.1:0/93".into())]);
    assert_eq!(blocked(b"[][]\n").unwrap(), []);
}

#[test]
fn a_session_tells_its_user_and_the_address_to_block() {
    let text = r#"[{"name":"client.?","entity_name":"client.u1","addrs":{"addrvec":[{"type":"any",
        "addr":"127.0.0.1:0","nonce":2987665631}]},"socket_addr":{"type":"any",
        "addr":"127.0.0.1:0","nonce":2987665631},"con_type":"client","open":true}]"#;
    let listed = read::<Vec<SessionListed>>(text);
    let found: Vec<Session> = listed.iter().flat_map(SessionListed::sessions).collect();
    let expected = Session {
        user: "client.u1".into(),
        address: ClientAddress("127.0.0.1:0/2987665631".into()),
    };
    assert_eq!(found, [expected]);
}

#[test]
fn a_monitor_is_reached_where_every_client_can() {
    let text = r#"{"epoch":1,"mons":[{"rank":0,"name":"a","public_addrs":{"addrvec":[
        {"type":"v2","addr":"10.0.0.1:3300","nonce":0},
        {"type":"v1","addr":"10.0.0.1:6789","nonce":0}]},"addr":"10.0.0.1:6789/0"}]}"#;
    let dump = read::<MonitorDump>(text);
    assert_eq!(
        dump.mons[0].address(),
        Some("10.0.0.1:6789".parse().unwrap())
    );
}

#[test]
fn room_is_what_the_cluster_or_the_quota_leaves() {
    let df = r#"{"stats":{"total_bytes":10737418240},"pools":[{"name":"vms","id":1,"stats":{
        "stored":79692048,"objects":39,"kb_used":77864,"bytes_used":79732736,
        "percent_used":0.008,"max_avail":9816432640}}]}"#;
    let listed = |flags: &str, quota: u64| {
        let pool = serde_json::json!({
            "pool_name": "vms", "flags_names": flags, "quota_max_bytes": quota,
        });
        let pools: Vec<PoolListed> = serde_json::from_value(serde_json::json!([pool])).unwrap();
        space(&read::<Df>(df), &pools, "vms").unwrap()
    };
    let open = listed("hashpspool,selfmanaged_snaps", 0);
    assert_eq!(open.free, Bytes(9_816_432_640));
    assert_eq!(open.state, SpaceState::Open);
    let full = listed("hashpspool,full,full_quota", 79_692_048);
    assert_eq!(full.free, Bytes(0));
    assert_eq!(full.state, SpaceState::Full);
    assert!(space(&read::<Df>(df), &[], "vms").is_none());
}

#[test]
fn users_are_those_of_a_prefix_and_go_back_as_they_came() {
    let text = r#"{"auth_dump":[{"entity":"client.admin","key":"AQCo1","caps":{"mon":"allow *"}},
        {"entity":"client.dc.x.1.7","key":"AQCo2","caps":{"mon":"allow r","osd":"allow r pool=p"}}]}"#;
    let found = users(read::<AuthDump>(text), "client.dc.");
    let expected = User {
        name: "client.dc.x.1.7".into(),
        key: Secret("AQCo2".into()),
        monitor: "allow r".into(),
        osd: "allow r pool=p".into(),
    };
    assert_eq!(found, [expected]);
    let text = keyring(&found[0]);
    assert_eq!(
        text,
        "[client.dc.x.1.7]\n\tkey = AQCo2\n\tcaps mon = \"allow r\"\n\tcaps osd = \"allow r pool=p\"\n"
    );
    assert!(!format!("{found:?}").contains("AQCo2"), "a key is shown");
}

#[test]
fn a_pool_that_is_not_there_is_told_apart_from_what_would_lie_in_it() {
    let refused = |said: &str| RbdError::Refused {
        program: "rbd",
        what: "info rbd/v1".into(),
        errno: Errno::ENOENT,
        said: said.into(),
    };
    let words = "rbd: error opening image v1: (2) No such file or directory";
    assert!(refused(words).is_missing() && !refused(words).is_of_pool());
    for words in [
        "rbd: error opening pool 'dc': (2) No such file or directory",
        "rbd: error opening default pool 'rbd'",
        "error opening pool dc",
    ] {
        assert!(
            refused(words).is_of_pool() && !refused(words).is_missing(),
            "{words}"
        );
    }
}
