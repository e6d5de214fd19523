//! Who reaches whom, as the guests themselves find it.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, ensure};
use dc_lab::address::Network;
use dc_lab::wires::OUTSIDE_V4;
use futures::future::try_join_all;

use crate::cast::{self, FINANCE, HEALTH, SHARED_ADDRESS};
use crate::centre::Centre;
use crate::guest::{Answer, Guest};

/// What every guest serves: web, application, database.
const PORTS: [u16; 3] = [80, 8080, 5432];

/// The matrix of the province's zones, for guests of one department.
fn allowed(from: &Guest, to: &Guest, port: u16) -> bool {
    let tier = |guest: &Guest| guest.name.split('-').nth(1).map(str::to_owned);
    matches!(
        (tier(from).as_deref(), tier(to).as_deref(), port),
        (Some("web"), Some("app"), 8080) | (Some("app"), Some("db"), 5432)
    )
}

/// A probe and whether it is to find something.
struct Expectation {
    what: String,
    target: String,
    open: bool,
}

/// Lets each guest probe on its own, all of them at once, and tells what is not as expected.
async fn surprises(
    guests: &mut [Guest],
    expected: impl Fn(usize) -> Vec<Expectation>,
) -> Result<Vec<String>> {
    let asked = guests.iter_mut().enumerate().map(|(at, guest)| {
        let expected = expected(at);
        async move {
            let targets: Vec<String> = expected.iter().map(|e| e.target.clone()).collect();
            let answers = guest.probe(&targets).await?;
            let wrong = expected.into_iter().zip(answers).filter_map(|(e, answer)| {
                let open = matches!(answer, Answer::Open(_));
                let what = format!("{} ({}): {answer:?}", e.what, e.target);
                (open != e.open).then_some(what)
            });
            anyhow::Ok(wrong.collect::<Vec<_>>())
        }
    });
    Ok(try_join_all(asked).await?.concat())
}

fn tcp(address: IpAddr, port: u16) -> String {
    format!("tcp {address} {port}")
}

/// Same subnet, other subnet, same host, other host, both families, every service.
pub fn pairs(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    centre.block_on(async {
        let mut guests = cast::guests(centre).await?;
        guests.retain(|guest| guest.department == HEALTH);
        let plan: Vec<Vec<Expectation>> = guests.iter().map(|g| from_one(g, &guests)).collect();
        let plan = std::cell::RefCell::new(plan);
        let wrong = surprises(&mut guests, |at| std::mem::take(&mut plan.borrow_mut()[at])).await?;
        ensure!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    })
}

fn from_one(from: &Guest, guests: &[Guest]) -> Vec<Expectation> {
    let mut expected = Vec::new();
    for to in guests {
        for address in to.addresses() {
            for port in PORTS {
                // Itself it reaches always: so what others do not reach is served all the same.
                let open = from.name == to.name || allowed(from, to, port);
                expected.push(Expectation {
                    what: format!(
                        "{} on {} to {} on {}",
                        from.name, from.host, to.name, to.host
                    ),
                    target: tcp(address, port),
                    open,
                });
            }
        }
    }
    expected
}

pub fn outside(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    let guests = centre.block_on(cast::guests(centre))?;
    let mut wrong = Vec::new();
    let mut probes = Vec::new();
    for guest in &guests {
        for address in guest.addresses() {
            for port in PORTS {
                let published = port == 80 && guest.name.ends_with("-web-1");
                probes.push((guest, address, port, published));
            }
        }
    }
    // All at once: what is closed answers by silence.
    let children: Result<Vec<_>> = probes
        .iter()
        .map(|(_, address, port, _)| Ok(fetch(centre, *address, *port).spawn()?))
        .collect();
    for ((guest, address, port, published), child) in probes.iter().zip(children?) {
        let output = child.wait_with_output()?;
        let page = String::from_utf8_lossy(&output.stdout);
        let open = output.status.success();
        let right_page = page.contains(&format!("hostname: {}", guest.name));
        if open != *published || (open && !right_page) {
            wrong.push(format!(
                "{} at {address} port {port}: {page:?}",
                guest.label()
            ));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// Someone outside asks for a page.
fn fetch(centre: &Centre, address: IpAddr, port: u16) -> Command {
    let url = match address {
        IpAddr::V4(v4) => format!("http://{v4}:{port}/"),
        IpAddr::V6(v6) => format!("http://[{v6}]:{port}/"),
    };
    let mut command = centre.outside.command("timeout");
    command
        .args(["8", "busybox", "wget", "-q", "-O", "-", &url])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}

/// The same address means each department's own machine, and what is another department's is out
/// of reach even where its address is known and its service published.
pub fn departments(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    centre.block_on(async {
        let mut guests = cast::guests(centre).await?;
        let addresses = |department: &str, guests: &[Guest]| -> Vec<IpAddr> {
            let web = |g: &&Guest| g.department == department && g.name.ends_with("-web-1");
            guests
                .iter()
                .filter(web)
                .flat_map(Guest::addresses)
                .collect()
        };
        for (mine, app, other) in [(HEALTH, "y-app-1", FINANCE), (FINANCE, "c-app-1", HEALTH)] {
            let theirs = addresses(other, &guests);
            let web = guests
                .iter_mut()
                .find(|guest| guest.department == mine && guest.name.ends_with("-web-1"));
            let Some(web) = web else {
                anyhow::bail!("{mine} has no web server");
            };
            let page = format!("http http://{SHARED_ADDRESS}:8080/");
            let found = web.probe(&[page]).await?;
            let expected = Answer::Open(format!("hostname: {app}"));
            ensure!(
                found[0] == expected,
                "{mine} found {found:?} at {SHARED_ADDRESS}"
            );
            let targets: Vec<String> = theirs.iter().map(|a| tcp(*a, 80)).collect();
            let answers = web.probe(&targets).await?;
            ensure!(
                answers
                    .iter()
                    .all(|answer| matches!(answer, Answer::Closed(_))),
                "{mine} reaches the web server of {other}: {targets:?} {answers:?}"
            );
        }
        Ok(())
    })
}

/// The operator, the agents, the SAN and the outside are no guest's business.
pub fn hosts_networks(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    let addresses = centre.lab().addresses();
    let mut targets = vec![tcp(OUTSIDE_V4.into(), 80)];
    for machine in &centre.machines {
        targets.push(tcp(machine.address(Network::Management).into(), 9464));
    }
    targets.push(tcp(
        centre.storage()?.address(Network::Storage).into(),
        3260,
    ));
    let operator = dc_lab::operator::Replica::First
        .agents_address(centre.lab(), dc_lab::operator::Agents::OnMachines);
    targets.push(tcp((*operator.ip()).into(), operator.port()));
    targets.push(tcp(addresses.root(Network::Storage).into(), 22));
    centre.block_on(async {
        let mut guests = cast::guests(centre).await?;
        let wrong = surprises(&mut guests, |_| {
            let closed = targets.iter().map(|target| Expectation {
                what: "a guest".to_owned(),
                target: target.clone(),
                open: false,
            });
            closed.collect()
        })
        .await?;
        ensure!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    })
}
