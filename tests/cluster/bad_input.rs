//! Bad input, by the real operator and the real agents over fakes: each gets a message that says
//! what is wrong, where, and what to do, in both languages, and nothing that stands is lost by it.
//!
//! One data centre serves all cases, one after the other, and what went wrong is told at the end,
//! all of it. What the API server refuses by itself is in `rules`; tokens and certificates are in
//! `sessions`; images that lie, on the real tools, in the target `storage`.

mod addresses;
mod desk;
mod hosts;
mod missing;
mod names;
mod removal;
mod room;
mod texts;
mod volumes;

use desk::Desk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_is_answered_in_words_and_nothing_is_lost() {
    let mut desk = Desk::open().await;
    missing::what_is_not_there_or_anothers_is_named_and_nothing_is_claimed(&mut desk).await;
    missing::an_image_that_cannot_be_had_says_so_and_so_do_all_who_wait_for_it(&mut desk).await;
    addresses::an_address_or_mac_is_given_once_and_free_again_later(&mut desk).await;
    volumes::a_volume_stays_with_the_machine_that_holds_it(&mut desk).await;
    names::a_name_used_again_never_touches_what_the_old_one_left(&mut desk).await;
    texts::quotes_and_brackets_arrive_as_they_were_written(&mut desk).await;
    room::what_does_not_fit_is_told_host_by_host_with_the_smallest_change(&mut desk).await;
    room::what_runs_goes_on_when_its_object_is_broken(&mut desk).await;
    hosts::a_host_that_disappears_is_named_and_takes_nothing_with_it(&mut desk).await;
    removal::what_is_in_use_stays_and_says_by_whom(&mut desk).await;
    removal::everything_goes_and_the_ledger_is_empty(&mut desk).await;
    desk.close().await;
}
