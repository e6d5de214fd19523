use super::text::MESSAGE_MAX;
use super::{Awaited, Fact, Standing};
use crate::place::verdict::Change;

fn no_capacity(hosts: usize) -> Fact {
    let host = |n| format!("compute-{n}: memory (need 4 TiB, have 240 GiB)");
    Fact::NoCapacity {
        class: "giant".into(),
        need: "200 vCPU, 4 TiB".into(),
        help: Change {
            en: "compute-1 needs 3.7 TiB more free memory".into(),
            vi: "compute-1 cần thêm 3.7 TiB bộ nhớ trống".into(),
        },
        hosts: (0..hosts).map(host).collect::<Vec<_>>().join("; "),
    }
}

#[test]
fn a_long_list_of_hosts_leaves_room_for_the_other_language() {
    let short = no_capacity(2).words().message();
    assert!(short.contains("compute-1: memory (need 4 TiB, have 240 GiB)"));
    let long = no_capacity(500).words().message();
    assert!(long.len() <= MESSAGE_MAX, "{}", long.len());
    let (english, vietnamese) = long.split_once(" · ").unwrap();
    assert!(english.ends_with('…') && english.contains("Smallest change: compute-1"));
    assert_eq!(vietnamese, no_capacity(500).words().vi);
}

#[test]
fn a_machine_that_waits_says_why_its_volume_is_not_there() {
    let missing = Fact::ImageMissing {
        image: "windows-99".into(),
    };
    let waits = |says| Fact::VolumesPending {
        waiting: vec![Awaited {
            volume: "web-root".into(),
            says,
        }],
    };
    let words = waits(Some(missing.words().message())).words();
    assert!(
        words
            .en
            .contains("web-root: source.image: there is no Image windows-99")
    );
    assert!(
        words
            .vi
            .contains("web-root: source.image: không có Image windows-99")
    );
    assert!(!words.vi.contains("there is no"));
    assert_eq!(waits(None).words().en, "waiting for volumes: web-root");
}

#[test]
fn what_a_host_says_comes_in_both_languages() {
    for (reason, vi) in [
        ("ImageChecksumMismatch", "SHA-256"),
        ("Novel", "phần tiếng Anh"),
    ] {
        let says = Fact::HostSays {
            host: "san-1".into(),
            standing: Standing::Troubled,
            reason: reason.into(),
            message: "it is so".into(),
        };
        let words = says.words();
        assert_eq!(words.en, "host san-1: it is so");
        assert!(words.vi.starts_with("máy chủ san-1: ") && words.vi.contains(vi));
    }
}

#[test]
fn an_address_is_named_by_its_field() {
    for (address, field) in [
        ("10.0.0.1", "interfaces[2].ipv4: "),
        ("fd00::1", "interfaces[2].ipv6: "),
    ] {
        let taken = Fact::AddressTaken {
            card: 2,
            address: address.into(),
            subnet: "app".into(),
        };
        assert!(taken.words().en.starts_with(field), "{}", taken.words().en);
        assert!(taken.words().vi.starts_with(field));
    }
}
