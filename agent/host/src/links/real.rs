//! [`Links`] by `ip` and `bridge`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use async_trait::async_trait;
use dc_agent_core::names;
use dc_agent_core::network::state::LinkKind;
use dc_agent_core::network::{Change, NetState, Place};

use super::parse::{self, BridgeFdb, IpLink, IpNeighbour, IpRoute};
use super::render::{Line, render};
use super::{Links, LinksError, TapSeen};
use crate::enter::{Enter, EnterError};

/// The kernel's interfaces, by `ip` and `bridge`.
#[derive(Clone, Debug)]
pub struct RealLinks {
    enter: Enter,
}

impl RealLinks {
    #[must_use]
    pub fn new(enter: Enter) -> Self {
        Self { enter }
    }

    /// In a namespace: both tools enter it by themselves, `ip` just as well by `-n`, but then a
    /// missing one cannot be told from other failures.
    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        place: &Place,
        tool: &'static str,
        arguments: &[&str],
    ) -> Result<Vec<T>, LinksError> {
        let text = self.enter.run(place, tool, arguments, None).await?;
        parse::json(tool, &text)
    }

    async fn ip(&self, place: &Place, arguments: &[&str]) -> Result<(), LinksError> {
        self.enter.run(place, "ip", arguments, None).await?;
        Ok(())
    }

    async fn sysctls(
        &self,
        place: &Place,
        names: &[&str],
    ) -> Result<BTreeMap<String, String>, LinksError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let read = move || {
            let value = |name: String| {
                let value = std::fs::read_to_string(sysctl_path(&name)).ok()?;
                Some((name, value.trim().to_owned()))
            };
            names.into_iter().filter_map(value).collect()
        };
        Ok(self.enter.inside(place, read).await?)
    }

    async fn set_sysctls(
        &self,
        place: &Place,
        settings: Vec<(String, String)>,
    ) -> Result<(), LinksError> {
        let write = move || {
            settings.into_iter().try_for_each(|(name, value)| {
                std::fs::write(sysctl_path(&name), &value).map_err(|error| (name, value, error))
            })
        };
        let written = self.enter.inside(place, write).await?;
        written.map_err(|(name, value, error)| LinksError::Sysctl {
            message: sysctl_hint(&name, &error),
            name,
            value,
            place: place.to_string(),
        })
    }

    async fn batch(
        &self,
        place: &Place,
        tool: &'static str,
        lines: &[String],
    ) -> Result<(), LinksError> {
        let text = lines.join("\n") + "\n";
        let run = self.enter.run(place, tool, &["-batch", "-"], Some(&text));
        match run.await {
            Ok(_) => Ok(()),
            Err(EnterError::Failed { tool, stderr, .. }) => Err(LinksError::Enter({
                let (arguments, stderr) = blame(lines, stderr);
                EnterError::Failed {
                    tool,
                    arguments,
                    stderr,
                }
            })),
            Err(other) => Err(other.into()),
        }
    }

    async fn has_link(&self, place: &Place, name: &str) -> Result<bool, LinksError> {
        let name = name.to_owned();
        let exists = move || nix::net::if_::if_nametoindex(name.as_str()).is_ok();
        Ok(self.enter.inside(place, exists).await?)
    }

    /// The host's own namespace, and the departments'.
    async fn tap_places(&self) -> Result<Vec<Place>, LinksError> {
        let names = self.netns_names().await?;
        let ours = names
            .into_iter()
            .filter(|n| names::netns_transit(n).is_some());
        Ok(std::iter::once(Place::Host)
            .chain(ours.map(Place::Netns))
            .collect())
    }
}

fn sysctl_path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

fn sysctl_hint(name: &str, error: &io::Error) -> String {
    if name.starts_with("net.bridge.") && error.kind() == io::ErrorKind::NotFound {
        format!("{error}: load the kernel module br_netfilter, without it nothing is filtered")
    } else {
        error.to_string()
    }
}

/// The line at fault and the reason: both tools end with `Command failed -:<line>`.
fn blame(lines: &[String], stderr: String) -> (String, String) {
    let number = stderr
        .rsplit_once("-:")
        .and_then(|(_, number)| number.trim().parse::<usize>().ok());
    let line = number.and_then(|number| lines.get(number.checked_sub(1)?));
    match line {
        Some(line) => {
            let reason = stderr.lines().find(|l| !l.starts_with("Command failed"));
            (line.clone(), reason.unwrap_or(&stderr).to_owned())
        }
        None => ("-batch -".to_owned(), stderr),
    }
}

#[async_trait]
impl Links for RealLinks {
    async fn netns_names(&self) -> Result<BTreeSet<String>, LinksError> {
        let folder = self.enter.netns_folder();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(source) => {
                return Err(EnterError::Open {
                    path: folder,
                    source,
                }
                .into());
            }
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.collect())
    }

    async fn add_netns(&self, name: &str) -> Result<(), LinksError> {
        if !self.netns_names().await?.contains(name) {
            self.ip(&Place::Host, &["netns", "add", name]).await?;
        }
        let place = Place::Netns(name.to_owned());
        self.ip(&place, &["link", "set", "dev", "lo", "up"]).await
    }

    async fn remove_netns(&self, name: &str) -> Result<(), LinksError> {
        if self.netns_names().await?.contains(name) {
            self.ip(&Place::Host, &["netns", "delete", name]).await?;
        }
        Ok(())
    }

    async fn state(&self, place: &Place, sysctls: &[&str]) -> Result<Option<NetState>, LinksError> {
        if let Place::Netns(name) = place
            && !self.netns_names().await?.contains(name)
        {
            return Ok(None);
        }
        let (links, v4, v6, neighbours, fdb, sysctls) = tokio::try_join!(
            self.list::<IpLink>(place, "ip", &["-j", "-d", "address", "show"]),
            self.list::<IpRoute>(
                place,
                "ip",
                &["-j", "-4", "route", "show", "proto", "static"]
            ),
            self.list::<IpRoute>(
                place,
                "ip",
                &["-j", "-6", "route", "show", "proto", "static"]
            ),
            self.list::<IpNeighbour>(
                place,
                "ip",
                &["-j", "neighbour", "show", "nud", "permanent"]
            ),
            self.list::<BridgeFdb>(place, "bridge", &["-j", "fdb", "show"]),
            self.sysctls(place, sysctls),
        )?;
        let mut routes = parse::routes(v4, parse::default_v4());
        routes.extend(parse::routes(v6, parse::default_v6()));
        Ok(Some(NetState {
            sysctls,
            links: parse::links(links),
            routes,
            neighbours: parse::neighbours(neighbours),
            fdb: parse::fdb(fdb),
        }))
    }

    async fn change(&self, place: &Place, changes: &[Change]) -> Result<(), LinksError> {
        for batch in batches(place, changes) {
            match &batch[0] {
                Line::Sysctl { .. } => {
                    let settings = batch.into_iter().filter_map(|line| match line {
                        Line::Sysctl { name, value } => Some((name, value)),
                        _ => None,
                    });
                    self.set_sysctls(place, settings.collect()).await?;
                }
                Line::Ip(_) => self.batch(place, "ip", &texts(&batch)).await?,
                Line::HostIp(_) => self.batch(&Place::Host, "ip", &texts(&batch)).await?,
                Line::Bridge(_) => self.batch(place, "bridge", &texts(&batch)).await?,
            }
        }
        Ok(())
    }

    async fn make_tap(&self, name: &str, mtu: u32) -> Result<(), LinksError> {
        self.delete_tap(name).await?;
        let lines = [
            format!("tuntap add dev {name} mode tap vnet_hdr"),
            format!("link set dev {name} mtu {mtu}"),
        ];
        self.batch(&Place::Host, "ip", &lines).await
    }

    async fn plug_tap(&self, name: &str, netns: &str, bridge: &str) -> Result<(), LinksError> {
        let place = Place::Netns(netns.to_owned());
        if self.has_link(&Place::Host, name).await? {
            let move_it = ["link", "set", "dev", name, "netns", netns];
            self.ip(&Place::Host, &move_it).await?;
        }
        let lines = [
            format!("link set dev {name} master {bridge}"),
            format!("link set dev {name} up"),
        ];
        self.batch(&place, "ip", &lines).await
    }

    async fn delete_tap(&self, name: &str) -> Result<(), LinksError> {
        for place in self.tap_places().await? {
            let gone = match self.has_link(&place, name).await {
                Ok(found) => !found,
                // The namespace went away meanwhile, and the tap with it.
                Err(LinksError::Enter(EnterError::NoNamespace(_))) => true,
                Err(other) => return Err(other),
            };
            if !gone {
                self.ip(&place, &["link", "delete", "dev", name]).await?;
            }
        }
        Ok(())
    }

    async fn taps(&self) -> Result<BTreeMap<String, TapSeen>, LinksError> {
        let mut out = BTreeMap::new();
        for place in self.tap_places().await? {
            let arguments = ["-j", "-d", "link", "show", "type", "tun"];
            let list = match self.list::<IpLink>(&place, "ip", &arguments).await {
                Ok(list) => list,
                Err(LinksError::Enter(EnterError::NoNamespace(_))) => continue,
                Err(other) => return Err(other),
            };
            for (name, link) in parse::links(list) {
                if let LinkKind::Tap(in_use) = link.kind {
                    let seen = TapSeen {
                        place: place.clone(),
                        bridge: link.master,
                        in_use,
                    };
                    out.insert(name, seen);
                }
            }
        }
        Ok(out)
    }
}

/// Neighbours in the list that go to the same tool go in one batch.
fn batches(place: &Place, changes: &[Change]) -> Vec<Vec<Line>> {
    let netns = match place {
        Place::Host => None,
        Place::Netns(name) => Some(name.as_str()),
    };
    let mut out: Vec<Vec<Line>> = Vec::new();
    for line in changes.iter().flat_map(|change| render(change, netns)) {
        let tool = std::mem::discriminant(&line);
        match out.last_mut() {
            Some(batch) if std::mem::discriminant(&batch[0]) == tool => batch.push(line),
            _ => out.push(vec![line]),
        }
    }
    out
}

fn texts(batch: &[Line]) -> Vec<String> {
    batch
        .iter()
        .filter_map(|line| match line {
            Line::Ip(text) | Line::HostIp(text) | Line::Bridge(text) => Some(text.clone()),
            Line::Sysctl { .. } => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_batch_names_the_line_at_fault() {
        let lines = [
            "link set dev a up".to_owned(),
            "link set dev b up".to_owned(),
        ];
        let stderr = "Cannot find device \"b\"\nCommand failed -:2".to_owned();
        let (line, reason) = blame(&lines, stderr);
        assert_eq!(line, "link set dev b up");
        assert_eq!(reason, "Cannot find device \"b\"");
    }
}
