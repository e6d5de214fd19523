//! Reading counters: of the API server from its own metrics, of a process from /proc.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use dc_lab::progress;

/// Requests by (verb, resource with subresource).
pub type Requests = BTreeMap<(String, String), f64>;

/// Parses `apiserver_request_total` out of the Prometheus text format.
pub fn api_requests(text: &str) -> Requests {
    let mut requests = Requests::new();
    for line in text
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"))
    {
        let Some((labels, value)) = line.rsplit_once("} ") else {
            continue;
        };
        let label = |name: &str| {
            let start = labels.find(&format!("{name}=\""))? + name.len() + 2;
            Some(
                labels[start..]
                    .split('"')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            )
        };
        let resource = label("resource").unwrap_or_default();
        let resource = match label("subresource").filter(|sub| !sub.is_empty()) {
            Some(sub) => format!("{resource}/{sub}"),
            None => resource,
        };
        let verb = label("verb").unwrap_or_default();
        *requests.entry((verb, resource)).or_default() += value.parse().unwrap_or(0.0);
    }
    requests
}

/// What came in between two looks, without the zeros.
pub fn difference(before: &Requests, after: &Requests) -> Requests {
    let grown = after
        .iter()
        .map(|(key, value)| (key.clone(), value - before.get(key).unwrap_or(&0.0)));
    grown.filter(|(_, count)| *count > 0.0).collect()
}

/// CPU seconds used and resident bytes of a process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub resident_bytes: f64,
}

/// The kernel counts a hundred ticks a second on every Linux we run on (USER_HZ).
const TICKS: f64 = 100.0;
const PAGE: f64 = 4096.0;

pub fn usage(pid: i32) -> Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold spaces; the fields follow its closing parenthesis, beginning with field 3.
    let fields: Vec<&str> = stat
        .rsplit_once(") ")
        .context("no name in stat")?
        .1
        .split(' ')
        .collect();
    let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<f64>().ok());
    let user = field(14).context("no utime in stat")?;
    let system = field(15).context("no stime in stat")?;
    let pages = field(24).context("no rss in stat")?;
    Ok(Usage {
        cpu_seconds: (user + system) / TICKS,
        resident_bytes: pages * PAGE,
    })
}

/// Bytes sent and received over each TCP connection that a process has now, by its two ends.
pub type Traffic = BTreeMap<String, (u64, u64)>;

/// Reads them from the kernel, by `ss`.
pub fn traffic(pid: u32) -> Result<Traffic> {
    let listed =
        progress::run(Command::new("ss").args(["--tcp", "--info", "--processes", "-OHn"]))?;
    Ok(parse_traffic(&listed, pid))
}

/// Bytes sent and received between two looks, over what is still connected at the second.
pub fn traffic_between(before: &Traffic, after: &Traffic) -> (u64, u64) {
    after.iter().fold((0, 0), |(sent, received), (ends, now)| {
        let (s, r) = before.get(ends).copied().unwrap_or_default();
        let (s, r) = (now.0.saturating_sub(s), now.1.saturating_sub(r));
        (sent + s, received + r)
    })
}

/// One line for each connection: state, queues, the two ends, its process and counters.
fn parse_traffic(listed: &str, pid: u32) -> Traffic {
    let ours = format!("pid={pid},");
    let mut traffic = Traffic::default();
    for line in listed.lines().filter(|line| line.contains(&ours)) {
        let field = |name: &str| {
            let mut words = line.split_whitespace();
            let value = words.find_map(|word| word.strip_prefix(name));
            value
                .and_then(|value| value.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let ends: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
        let bytes = (field("bytes_sent:"), field("bytes_received:"));
        traffic.insert(ends.join(" "), bytes);
    }
    traffic
}

/// The value at `percent` of sorted samples.
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    sorted[((last as f64) * percent / 100.0).round() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_summed_by_verb_and_resource() {
        let text = "# HELP x\napiserver_request_total{code=\"200\",verb=\"PATCH\",resource=\"volumes\",subresource=\"status\"} 3\n\
                    apiserver_request_total{code=\"201\",verb=\"PATCH\",resource=\"volumes\",subresource=\"status\"} 2\n\
                    apiserver_request_total{code=\"200\",verb=\"LIST\",resource=\"hosts\",subresource=\"\"} 1\n";
        let requests = api_requests(text);
        assert_eq!(
            requests[&("PATCH".to_owned(), "volumes/status".to_owned())],
            5.0
        );
        assert_eq!(requests[&("LIST".to_owned(), "hosts".to_owned())], 1.0);
        assert!(difference(&requests, &requests).is_empty());
    }

    #[test]
    fn the_connections_of_one_process_are_summed() {
        let listed = "ESTAB 0 0 127.0.0.1:5 127.0.0.1:6 users:((\"dc-operator\",pid=12,fd=9)) cubic \
                      bytes_sent:100 bytes_acked:100 bytes_received:7 segs_out:3\n\
                      ESTAB 0 0 127.0.0.1:8 127.0.0.1:6 users:((\"dc-operator\",pid=12,fd=8)) cubic \
                      bytes_sent:1 bytes_received:2\n\
                      ESTAB 0 0 127.0.0.1:6 127.0.0.1:5 users:((\"etcd\",pid=123,fd=9)) bytes_sent:5\n";
        let now = parse_traffic(listed, 12);
        assert_eq!(traffic_between(&Traffic::new(), &now), (101, 9));
        // One connection has closed meanwhile, the other has said more.
        let before = Traffic::from([
            ("127.0.0.1:5 127.0.0.1:6".to_owned(), (40, 7)),
            ("127.0.0.1:9 127.0.0.1:6".to_owned(), (900, 900)),
        ]);
        assert_eq!(traffic_between(&before, &now), (61, 2));
    }

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(percentile(&sorted, 0.0), 1.0);
        assert_eq!(percentile(&sorted, 100.0), 4.0);
        assert!(percentile(&[], 50.0).is_nan());
    }
}
