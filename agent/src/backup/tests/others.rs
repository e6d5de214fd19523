//! One repository that hangs, beside others.

use std::sync::{Condvar, Mutex};

use dc_backup::store::StoreError;
use dc_host::backup::{FakePlaces, Notes, Places, Runs};
use tokio::runtime::Handle;

use super::*;

/// Places of which one does not answer until it is let go.
struct Hanging {
    places: FakePlaces,
    hangs: Arc<(Mutex<bool>, Condvar)>,
}

impl Places for Hanging {
    fn open(&self, at: &RepositoryPlace, runtime: &Handle) -> Result<Arc<dyn Store>, StoreError> {
        let (hangs, freed) = &*self.hangs;
        if *at == place(2) {
            let guard = freed.wait_while(hangs.lock().unwrap(), |hangs| *hangs);
            drop(guard.unwrap());
        }
        self.places.open(at, runtime)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_hangs_holds_up_no_other_and_goes_on_when_it_answers() {
    let mut bench = Bench::new();
    bench.make_volume(1, SIZE).await;
    bench.write(1, 0, bytes(3, SIZE)).await;
    bench.take(1, 1).await;
    let hangs = Arc::new((Mutex::new(true), Condvar::new()));
    let places = Hanging {
        places: FakePlaces {
            repositories: bench.fakes.repositories.clone(),
            knobs: bench.fakes.knobs.clone(),
        },
        hangs: hangs.clone(),
    };
    let drivers = bench.tools.drivers.clone();
    bench.tools.runs = Runs::new(Arc::new(places), drivers, Notes::in_memory());
    // More of them than move data at a time, and asked first.
    let stuck: Vec<ItemKey> = (1..=4)
        .map(|n| {
            let mut item = first(n);
            item.repository = access(2);
            item.make = true;
            bench.put_backup(item)
        })
        .collect();
    let other = bench.put_backup(first(9));
    bench.back_up(other).await;

    // One that waits for its turn is released at once, one that hangs when it has ended.
    bench.release(stuck[3]);
    bench.until_released(stuck[3]).await;
    bench.release(stuck[0]);
    let first_is_released =
        |status: &Status| status.released.iter().any(|done| done.key == stuck[0]);
    let wanted = bench.wanted();
    let seen = bench.seen().await;
    let none = (BTreeMap::new(), BTreeSet::new());
    let status = status(&wanted.as_wanted(), &seen, &none.0, &none.1);
    assert!(!first_is_released(&status), "{status:?}");
    *hangs.0.lock().unwrap() = false;
    hangs.1.notify_all();
    bench.until_released(stuck[0]).await;
    for key in &stuck[1..3] {
        bench.back_up(*key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_move_data_at_a_time_and_the_next_begins_when_one_ends() {
    let mut bench = Bench::new();
    bench.make_volume(1, SIZE).await;
    bench.write(1, 0, bytes(3, SIZE)).await;
    bench.take(1, 1).await;
    let slow: Vec<ItemKey> = (1..=3)
        .map(|n| {
            let mut item = first(n);
            item.repository = access(n);
            item.limit = Some(Bytes(1));
            bench.put_backup(item)
        })
        .collect();
    let moving = |status: &Status| {
        let moves = slow.iter().filter(|key| {
            let seen = status.observations.iter().find(|seen| seen.key == **key);
            let detail = seen.map(|seen| &seen.detail);
            matches!(
                detail,
                Some(Detail::Backup {
                    progress: Some(_),
                    ..
                })
            )
        });
        moves.copied().collect::<Vec<ItemKey>>()
    };
    let status = bench
        .until("two move", |status| moving(status).len() == 2)
        .await;
    let both = moving(&status);
    let last = *slow.iter().find(|key| !both.contains(key)).unwrap();
    let waits = |status: &Status| {
        let ItemState::Pending(trouble) = observed(status, last).state else {
            return false;
        };
        trouble.message.contains("other runs of this host")
    };
    bench.until("the third waits", waits).await;
    bench.release(both[0]);
    let goes_on = |status: &Status| moving(status).contains(&last);
    bench.until("the third moves", goes_on).await;
}
