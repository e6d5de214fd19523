//! What guests are doing, as labels.

use dc_types::report::Guest;

pub(super) const GUESTS: [Guest; 7] = [
    Guest::Absent,
    Guest::Starting,
    Guest::Running,
    Guest::Paused,
    Guest::Stopping,
    Guest::Stopped,
    Guest::Crashed,
];

pub(super) fn guest_name(guest: Guest) -> &'static str {
    match guest {
        Guest::Absent => "absent",
        Guest::Starting => "starting",
        Guest::Running => "running",
        Guest::Paused => "paused",
        Guest::Stopping => "stopping",
        Guest::Stopped => "stopped",
        Guest::Crashed => "crashed",
    }
}
