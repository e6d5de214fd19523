//! What pages say of states, roles, times and amounts, in both languages. Pure.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, offset};

use maud::{Markup, html};

use crate::language::Language;

/// How something stands, for its colour and its sign. The word beside it says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Moving,
    Bad,
    Quiet,
}

impl Tone {
    /// As the style calls it.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "mark good",
            Self::Moving => "mark moving",
            Self::Bad => "mark bad",
            Self::Quiet => "mark quiet",
        }
    }
}

/// A state of a machine, volume, snapshot or request. One that is not known is shown as it is.
#[must_use]
pub fn state(language: Language, state: &str) -> (Tone, String) {
    let (tone, vi, en) = match state {
        "Running" => (Tone::Good, "Đang chạy", "Running"),
        "Available" => (Tone::Good, "Sẵn sàng", "Available"),
        "Attached" => (Tone::Good, "Đang dùng", "In use"),
        "Taken" => (Tone::Good, "Đã chụp", "Taken"),
        "Provisioned" => (Tone::Good, "Hoàn tất", "Provisioned"),
        "Done" => (Tone::Good, "Hoàn tất", "Done"),
        "Proven" => (Tone::Good, "Đã chứng minh", "Proven"),
        "Copying" => (Tone::Moving, "Đang sao chép", "Being copied"),
        "Writing" => (Tone::Moving, "Đang ghi", "Being written"),
        "Waiting" => (Tone::Moving, "Đang chờ", "Waiting"),
        "Reading" => (Tone::Moving, "Đang đọc bản sao lưu", "Reading the backup"),
        "Building" => (Tone::Moving, "Đang dựng máy ảo", "Building the machine"),
        "Restoring" => (Tone::Moving, "Đang khôi phục thử", "Being restored"),
        "Booting" => (Tone::Moving, "Đang khởi động thử", "Being booted"),
        "Probing" => (Tone::Moving, "Đang thử", "Being probed"),
        "Erasing" => (Tone::Moving, "Đang xóa bản thử", "Being erased"),
        "Failed" => (Tone::Bad, "Không đạt", "Failed"),
        "" | "Pending" => (Tone::Moving, "Đang chờ", "Pending"),
        "Starting" => (Tone::Moving, "Đang khởi động", "Starting"),
        "Stopping" => (Tone::Moving, "Đang dừng", "Stopping"),
        "Creating" => (Tone::Moving, "Đang tạo", "Creating"),
        "Holding" | "Taking" | "Verifying" => (Tone::Moving, "Đang chụp", "Being taken"),
        "Releasing" => (Tone::Moving, "Đang thu hồi", "Being released"),
        "Submitted" => (Tone::Moving, "Đã gửi", "Submitted"),
        "Approved" => (Tone::Moving, "Lãnh đạo đã duyệt", "Approved"),
        "Granted" => (Tone::Moving, "Đã cấp, đang tạo", "Granted, being built"),
        "Crashed" => (Tone::Bad, "Gặp sự cố", "Crashed"),
        "Unknown" => (Tone::Bad, "Không rõ", "Unknown"),
        "Rejected" => (Tone::Bad, "Bị từ chối", "Rejected"),
        "Stopped" => (Tone::Quiet, "Đã dừng", "Stopped"),
        "Paused" => (Tone::Quiet, "Tạm dừng", "Paused"),
        "Draft" => (Tone::Quiet, "Bản nháp", "Draft"),
        "Withdrawn" => (Tone::Quiet, "Đã rút", "Withdrawn"),
        other => return (Tone::Quiet, other.to_owned()),
    };
    (tone, language.pick(vi, en).to_owned())
}

/// With whom a request is.
#[must_use]
pub fn waits_for(language: Language, whom: &str) -> &str {
    match whom {
        "authors" => language.pick("người soạn", "its authors"),
        "leader" => language.pick("lãnh đạo đơn vị", "the department's leader"),
        "centre" => language.pick("đơn vị vận hành trung tâm", "the operator of the centre"),
        "operator" => language.pick("hệ thống đang tạo", "the system, which builds it"),
        "" => language.pick("không ai", "nobody"),
        other => other,
    }
}

#[must_use]
pub fn role(language: Language, role: &str) -> &str {
    match role {
        "Leader" => language.pick("Lãnh đạo đơn vị", "The department's leader"),
        "Centre" => language.pick("Đơn vị vận hành trung tâm", "The operator of the centre"),
        other => other,
    }
}

#[must_use]
pub fn kind(language: Language, kind: &str) -> &str {
    match kind {
        "InformationSystem" => language.pick("Hệ thống thông tin", "Information system"),
        "VirtualMachine" => language.pick("Máy ảo", "Virtual machine"),
        "Volume" => language.pick("Ổ đĩa", "Volume"),
        "Subnet" => language.pick("Mạng con", "Subnet"),
        other => other,
    }
}

/// What a quota counts.
#[must_use]
pub fn resource(language: Language, resource: &str) -> String {
    let known = match resource {
        "virtualMachines" => language.pick("Máy ảo", "Virtual machines"),
        "vcpus" => "vCPU",
        "memory" => language.pick("Bộ nhớ", "Memory"),
        "subnets" => language.pick("Mạng con", "Subnets"),
        "addresses" => language.pick("Địa chỉ mạng", "Addresses"),
        "snapshots" => language.pick("Bản chụp ổ đĩa", "Snapshots of volumes"),
        "publicAddresses" => language.pick("Địa chỉ công khai", "Public addresses"),
        "publishedServices" => language.pick("Dịch vụ công bố", "Published services"),
        other => match other.strip_prefix("storage/") {
            Some(class) => {
                return format!("{} ({class})", language.pick("Lưu trữ", "Storage"));
            }
            None => other,
        },
    };
    known.to_owned()
}

/// What a condition is about.
#[must_use]
pub fn condition(language: Language, condition: &str) -> &str {
    match condition {
        "Ready" => language.pick("Sẵn sàng", "Ready"),
        "Placed" => language.pick("Đã xếp máy chủ", "Placed"),
        "Attached" => language.pick("Đã gắn ổ đĩa", "Attached"),
        "Booted" => language.pick("Đã khởi động", "Booted"),
        "WithinQuota" => language.pick("Trong hạn mức", "Within quota"),
        "WithinLease" => language.pick("Trong thời hạn", "Within lease"),
        "Kept" => language.pick("Được giữ lại", "Kept"),
        "Proven" => language.pick("Đã chứng minh khôi phục được", "Proven"),
        "Usual" => language.pick("Giống các lần trước", "Usual"),
        "RestartNeeded" => language.pick("Cần khởi động lại", "Restart needed"),
        other => other,
    }
}

/// The operator writes each sentence in English, then in Vietnamese.
#[must_use]
pub fn message(language: Language, text: &str) -> &str {
    match text.split_once(" · ") {
        Some((en, vi)) => language.pick(vi, en),
        None => text,
    }
}

/// In the province's own time; what is no time is shown as it is.
#[must_use]
pub fn time(text: &str) -> String {
    let Ok(time) = text.parse::<Timestamp>() else {
        return text.to_owned();
    };
    let here = time.to_zoned(TimeZone::fixed(offset(7)));
    here.strftime("%d/%m/%Y %H:%M").to_string()
}

/// A time in the province as a part of a name.
#[must_use]
pub fn stamp(time: Timestamp) -> String {
    let here = time.to_zoned(TimeZone::fixed(offset(7)));
    here.strftime("%Y%m%d-%H%M").to_string()
}

/// A name for something that is made of another thing now, so that lists are read without opening each.
#[must_use]
pub fn named_now(of: &str, now: Timestamp) -> String {
    const LONGEST: usize = 63;
    let when = stamp(now);
    let room = LONGEST.saturating_sub(when.len() + 1);
    let of: String = of.chars().take(room).collect();
    format!("{}-{when}", of.trim_end_matches('-'))
}

/// How far something is, as the operator writes it (`3.4 GiB of 20 GiB`): a bar, and the amounts.
#[must_use]
pub fn progress(language: Language, text: &str) -> Markup {
    let parts = text.split_once(" of ");
    let share = parts.and_then(|(done, of)| Some(binary(done)? / binary(of)? * 100.0));
    html! {
        @if let Some(share) = share.filter(|share| share.is_finite()) {
            progress max="100" value=(format!("{:.0}", share.min(100.0)))
                aria-label=(language.pick("Tiến độ", "Progress")) {}
            " "
        }
        @match parts { Some((done, of)) => { (done) " / " (of) }, None => (text) }
    }
}

/// An amount as people read it, such as `3.4 GiB`, in bytes.
fn binary(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let known = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let power = known.iter().position(|known| *known == unit)?;
    let power = i32::try_from(power).ok()?;
    Some(number.parse::<f64>().ok()? * 1024f64.powi(power))
}

/// A day as people write it; what is no day is shown as it is.
#[must_use]
pub fn day(text: &str) -> String {
    match text.parse::<Date>() {
        Ok(day) => day.strftime("%d/%m/%Y").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// How long ago, in its largest unit.
#[must_use]
pub fn ago(language: Language, text: &str, now: Timestamp) -> Option<String> {
    let then = text.parse::<Timestamp>().ok()?;
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    let (count, vi, one, many) = match seconds {
        0..60 => return Some(language.pick("vừa xong", "just now").to_owned()),
        60..3600 => (seconds / 60, "phút", "minute", "minutes"),
        3600..86_400 => (seconds / 3600, "giờ", "hour", "hours"),
        _ => (seconds / 86_400, "ngày", "day", "days"),
    };
    Some(match (language, count) {
        (Language::Vietnamese, _) => format!("{count} {vi} trước"),
        (Language::English, 1) => format!("1 {one} ago"),
        (Language::English, _) => format!("{count} {many} ago"),
    })
}

/// An amount as Kubernetes writes it, as a number to compare.
#[must_use]
pub fn amount(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let factor = match unit {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Language::{English, Vietnamese};

    #[test]
    fn times_are_those_of_the_province() {
        assert_eq!(time("2027-01-15T17:30:00Z"), "16/01/2027 00:30");
        assert_eq!(time("<b>"), "<b>");
        assert_eq!(day("2027-01-15"), "15/01/2027");
        assert_eq!(day("<b>"), "<b>");
    }

    #[test]
    fn how_long_ago_is_said_in_the_largest_unit() {
        let now: Timestamp = "2027-01-15T12:00:00Z".parse().unwrap();
        let ago = |language, then| ago(language, then, now).unwrap();
        assert_eq!(ago(English, "2027-01-15T11:59:30Z"), "just now");
        assert_eq!(ago(English, "2027-01-15T10:59:30Z"), "1 hour ago");
        assert_eq!(ago(Vietnamese, "2027-01-13T10:00:00Z"), "2 ngày trước");
        // Clocks may differ.
        assert_eq!(ago(English, "2027-01-15T12:00:30Z"), "just now");
    }

    #[test]
    fn amounts_are_compared_whatever_their_unit() {
        assert_eq!(amount("2Gi"), Some(2.0 * 1024f64.powi(3)));
        assert_eq!(amount("12"), Some(12.0));
        assert_eq!(amount("1.5k"), Some(1500.0));
        assert_eq!(amount("much"), None);
    }

    #[test]
    fn a_proposed_name_says_of_what_and_when_and_is_a_name() {
        let now = "2027-01-15T17:30:00Z".parse().unwrap();
        assert_eq!(named_now("data", now), "data-20270116-0030");
        let long = format!("{}-{}", "a".repeat(48), "b".repeat(14));
        let name = named_now(&long, now);
        assert_eq!(name, format!("{}-20270116-0030", "a".repeat(48)));
        assert!(crate::rights::is_name(&name));
    }

    #[test]
    fn progress_is_a_bar_where_both_amounts_are_known() {
        let shown = |text| progress(English, text).into_string();
        let half = shown("512 MiB of 1 GiB");
        assert!(
            half.contains("value=\"50\"") && half.contains("512 MiB / 1 GiB"),
            "{half}"
        );
        assert_eq!(shown("<b>"), "&lt;b&gt;");
        assert_eq!(shown("1 GiB of 0 B"), "1 GiB / 0 B");
    }

    #[test]
    fn a_sentence_is_read_in_the_readers_language() {
        let both = "waiting for a host · đang chờ máy chủ";
        assert_eq!(message(English, both), "waiting for a host");
        assert_eq!(message(Vietnamese, both), "đang chờ máy chủ");
        assert_eq!(message(Vietnamese, "one only"), "one only");
    }
}
