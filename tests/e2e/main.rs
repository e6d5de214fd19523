//! The whole, as it is used: manifests in, guests out, and what happens to them when parts die.
//!
//! All tests share one data centre of two compute machines, a storage machine and a gateway, with
//! real libvirt, QEMU, tgt and nftables. So they run one after another, in this order, each leaving
//! the data centre as it found it: the guests of [`cast`] up, and nothing else. The first test
//! makes it, the last takes it away. A failed test says what objects, logs and machines show.
//!
//! Guests are looked at from inside, through their serial consoles: they are the probes.

mod cast;
mod centre;
mod debian;
mod down;
mod folder;
mod guest;
mod kills;
mod ledger;
mod life;
mod moves;
mod objects;
mod proof;
mod reach;
mod reader;
mod report;
mod ripe;
mod volumes;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use centre::{Centre, Stage};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // What they share is one machine.
    arguments.test_threads = Some(1);
    let stage = Arc::new(Stage::default());
    let trial = |name: &'static str, test: fn(&Arc<Centre>) -> Result<()>| {
        let stage = stage.clone();
        Trial::test(name, move || stage.run(name, test).map_err(Failed::from))
    };
    let last = stage.clone();
    let trials = vec![
        trial(
            "what_manifests_ask_for_becomes_ready_on_two_hosts",
            cast::all_become_ready,
        ),
        trial(
            "each_pair_of_guests_reaches_what_the_matrix_names_and_nothing_else",
            reach::pairs,
        ),
        trial(
            "the_outside_reaches_what_is_published_and_nothing_else",
            reach::outside,
        ),
        trial(
            "guests_of_two_departments_with_the_same_addresses_do_not_meet",
            reach::departments,
        ),
        trial(
            "no_guest_reaches_the_networks_of_the_hosts",
            reach::hosts_networks,
        ),
        trial(
            "guests_do_not_notice_when_any_part_is_killed",
            kills::every_part,
        ),
        trial(
            "a_guest_stops_clean_starts_again_and_restarts_when_asked",
            life::stop_start_restart,
        ),
        trial(
            "a_volume_grows_while_its_guest_is_stopped",
            volumes::grows_offline,
        ),
        trial(
            "a_volume_grows_while_its_guest_runs_and_the_guest_sees_it",
            volumes::grows_online,
        ),
        trial(
            "a_disk_comes_to_a_running_guest_and_goes_and_nobody_has_it_then",
            volumes::comes_and_goes,
        ),
        trial(
            "a_volume_says_how_much_its_guest_uses_it",
            volumes::use_is_told,
        ),
        trial(
            "a_reused_name_never_gets_the_bytes_of_the_former_one",
            volumes::reused_name,
        ),
        trial(
            "a_guest_lives_in_a_folder_of_its_host_and_the_next_one_is_told_why_it_cannot",
            folder::lives_there,
        ),
        trial(
            "a_volume_goes_to_another_pool_and_back_while_its_guest_writes_to_it",
            moves::there_and_back,
        ),
        trial(
            "a_copy_of_a_guest_boots_from_its_backup_and_reaches_nothing",
            proof::a_copy_boots,
        ),
        trial(
            "a_debian_guest_has_its_user_data_applied",
            debian::user_data_is_applied,
        ),
        trial(
            "a_restored_ledger_is_refused_and_rebuilt_under_running_guests",
            ledger::restored,
        ),
        trial(
            "a_wiped_ledger_is_refused_and_rebuilt_under_running_guests",
            ledger::wiped,
        ),
        Trial::test("down_leaves_nothing", move || {
            down::leaves_nothing(&last).map_err(|error| Failed::from(format!("{error:#}")))
        }),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Also when the last test was filtered out.
    if let Err(error) = stage.clear() {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
