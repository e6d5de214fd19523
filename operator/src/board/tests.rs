use dc_types::plan::{ImageFormat, ImageItem, ImageSource, ItemBody};
use dc_types::{Bytes, Epoch, ImageUid, ObjectRef, ObjectUid, PoolName};
use uuid::Uuid;

use super::*;

fn host() -> HostName {
    HostName::new("s1").unwrap()
}

fn item(n: u128, file: &str) -> Item {
    let id = Uuid::from_u128(n);
    Item {
        key: ItemKey::new(ItemKind::Image, id),
        epoch: Epoch::default(),
        object: ObjectRef {
            namespace: String::new(),
            name: "tiny".into(),
            uid: ObjectUid(id),
        },
        body: ItemBody::Image(ImageItem {
            image: ImageUid(id),
            pool: PoolName::new("san").unwrap(),
            source: ImageSource::File(file.into()),
            sha256: "00".into(),
            format: ImageFormat::Raw,
            max_download: Bytes(1),
            max_virtual: Bytes(1),
        }),
    }
}

#[test]
fn the_same_item_again_is_not_news() {
    let board = Board::default();
    board.set(&host(), item(1, "a"));
    let (dirty, items) = board.take_dirty(&host());
    assert_eq!(dirty.keys.len(), 1);
    assert_eq!(items.len(), 1);

    board.set(&host(), item(1, "a"));
    assert_eq!(board.take_dirty(&host()).0, Dirty::default());
    board.set(&host(), item(1, "b"));
    assert_eq!(board.take_dirty(&host()).0.keys.len(), 1);
}

#[test]
fn an_item_that_is_taken_off_is_dirty_and_absent() {
    let board = Board::default();
    let key = item(1, "a").key;
    board.set(&host(), item(1, "a"));
    board.take_all(&host());
    board.unset(&host(), &key);
    let (dirty, items) = board.take_dirty(&host());
    assert!(dirty.keys.contains(&key));
    assert!(items.is_empty());
    board.unset(&host(), &key);
    assert_eq!(board.take_dirty(&host()).0, Dirty::default());
}

#[test]
fn a_cleared_board_is_empty_and_not_complete() {
    let board = Board::default();
    board.set(&host(), item(1, "a"));
    board.complete();
    board.clear();
    assert!(!board.is_complete());
    assert!(board.take_all(&host()).is_empty());
}
