//! What every storage driver must keep to, tried on the real thing: one list of cases, one row for
//! each driver. A new driver is a [`Rig`] beside the others and its row at the end of this file.
//!
//! What a driver says it cannot do ([`PoolFacts::lacks`]) it must refuse with the reason it gave; the
//! cases that need it then end there. All else holds for all of them.
//!
//! [`PoolFacts::lacks`]: dc_types::report::PoolFacts::lacks

mod bench;
pub mod bytes;
mod cutoffs;
mod directory;
mod extents;
mod fake;
mod grants;
mod iscsi;
mod rbd;
mod rig;
mod snapshots;
mod trouble;
mod volumes;

use std::pin::Pin;

use self::bench::Bench;
use self::rig::{Place, Rig};
use crate::inside::inside;
use crate::lent::with_ceph;

type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs one case on a pool of its own.
fn run<R: Rig>(name: &str, case: for<'a> fn(&'a mut Bench<R>) -> Work<'a>) {
    if let Some(done) = cutoffs::act_as_asked::<R>() {
        return done;
    }
    let work = async || {
        let mut bench = Bench::new(R::start().await, name).await;
        case(&mut bench).await;
        bench.see_in_order().await;
    };
    match R::PLACE {
        Place::Memory => tokio::runtime::Runtime::new()
            .expect("a runtime can be made")
            .block_on(work()),
        Place::Machine => inside(name, work),
        Place::Ceph => with_ceph(name, work),
    }
}

/// One test for each case, in a module named after the driver.
macro_rules! row {
    ($driver:ident, $rig:ty) => {
        row! { @cases $driver, $rig,
            volumes::a_blank_volume_is_thin_and_reads_as_zero,
            volumes::sizes_that_cannot_be_leave_nothing_behind,
            volumes::a_clone_has_its_sources_bytes_and_no_longer_follows_it,
            volumes::a_source_that_is_erased_while_it_is_cloned_leaves_a_whole_clone_or_none,
            volumes::a_source_that_is_missing_or_larger_is_told,
            volumes::a_volume_grows_keeps_its_bytes_and_never_shrinks,
            volumes::a_record_outlives_the_process_and_a_watermark_never_falls,
            volumes::every_way_of_erasing_is_read_back_and_told,
            volumes::retained_bytes_are_out_of_use_and_told,
            volumes::a_volume_that_was_never_made_is_gone_when_it_is_taken_away,
            volumes::many_write_and_read_one_volume_at_a_time,
            volumes::an_image_is_fetched_cloned_and_removed,
            snapshots::a_snapshot_keeps_what_was_there_whatever_comes_after,
            snapshots::a_volume_is_cloned_from_a_snapshot_that_then_goes,
            snapshots::a_volume_is_brought_back_to_a_snapshot_and_keeps_its_size,
            snapshots::a_volume_with_snapshots_is_not_erased,
            snapshots::what_is_not_there_is_told,
            snapshots::a_snapshot_that_was_changed_by_hand_is_not_used,
            snapshots::a_counter_written_meanwhile_has_no_gap_in_any_snapshot,
            extents::no_changed_byte_is_missed_whatever_was_written,
            extents::what_did_not_change_is_not_copied,
            grants::a_grant_lets_its_holder_in_until_it_is_revoked,
            grants::an_epoch_that_is_not_open_is_refused,
            grants::whoever_is_fenced_writes_no_more,
            grants::a_volume_that_is_held_is_not_changed_under_its_holder,
            grants::a_volume_grows_under_its_holder_who_loses_nothing,
            grants::what_serves_a_volume_dies_under_its_holder_who_loses_nothing,
            grants::a_volume_that_is_written_to_is_granted_to_nobody,
            trouble::a_full_pool_is_told_and_goes_on_when_there_is_room,
            trouble::a_pool_that_is_away_is_told_and_goes_on_when_it_is_back,
            trouble::what_may_not_be_written_is_told_and_goes_on_when_it_may,
            trouble::what_has_no_place_in_a_pool_is_shown_and_left_alone,
            trouble::what_the_driver_lacks_it_refuses_with_the_reason_it_gave,
            cutoffs::every_verb_may_be_repeated,
            cutoffs::every_verb_may_be_cut_off_anywhere_and_repeated,
            cutoffs::every_verb_may_lose_its_pool_anywhere_and_be_repeated,
            cutoffs::every_verb_may_lose_its_pool_for_a_moment_and_be_repeated,
        }
    };
    (@cases $driver:ident, $rig:ty, $($module:ident::$case:ident,)*) => {
        mod $driver {
            $(
                #[test]
                fn $case() {
                    use super::super::{$module, run};
                    let name = concat!(
                        "conformance::rows::", stringify!($driver), "::", stringify!($case)
                    );
                    run::<$rig>(name, |bench| Box::pin($module::$case(bench)));
                }
            )*
        }
    };
}

mod rows {
    row!(iscsi, super::super::iscsi::Iscsi);
    row!(directory, super::super::directory::Reflinks);
    row!(directory_without_reflinks, super::super::directory::Plain);
    row!(fake, super::super::fake::Fake);
    row!(rbd, super::super::rbd::Rbd);
}
