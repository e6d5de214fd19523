//! The cloud-init NoCloud seed as texts: user-data as given, meta-data and network-config made
//! here.
//!
//! A card is matched by its MAC; its addresses are static, for they were given for life. The
//! default route of each family goes through the first card that has a gateway of that family:
//! two default routes would send answers out of the wrong card. Router advertisements are not
//! accepted, so that nothing beside this decides.

use std::fmt::Write;

use dc_types::InstanceId;
use dc_types::plan::{Secret, SeedItem};

use super::validate::Card;

/// The files of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    pub user_data: Secret,
    pub meta_data: String,
    pub network_config: String,
}

#[must_use]
pub fn render_seed(vm: InstanceId, seed: &SeedItem, cards: &[Card], mtu: u32) -> Seed {
    let user_data = if seed.user_data.0.is_empty() {
        // cloud-init asks for the file; an empty configuration is a valid one.
        Secret("#cloud-config\n{}\n".to_owned())
    } else {
        seed.user_data.clone()
    };
    Seed {
        user_data,
        meta_data: format!(
            "instance-id: {}\nlocal-hostname: {}\n",
            quoted(&vm.to_string()),
            quoted(&seed.hostname)
        ),
        network_config: render_network_config(cards, mtu),
    }
}

/// Network configuration, version 2. The form is plain on purpose: one key a line.
#[must_use]
pub fn render_network_config(cards: &[Card], mtu: u32) -> String {
    let route_v4 = cards.iter().position(|card| card.gateway_v4().is_some());
    let route_v6 = cards.iter().position(|card| card.gateway_v6().is_some());
    let mut out = String::from("version: 2\nethernets:");
    if cards.is_empty() {
        out.push_str(" {}");
    }
    out.push('\n');
    for (index, card) in cards.iter().enumerate() {
        let routes = [
            (route_v4 == Some(index))
                .then(|| card.gateway_v4())
                .flatten()
                .map(|via| ("0.0.0.0/0", via.to_string())),
            (route_v6 == Some(index))
                .then(|| card.gateway_v6())
                .flatten()
                .map(|via| ("::/0", via.to_string())),
        ];
        write_card(&mut out, card, mtu, &routes);
    }
    out
}

fn write_card(out: &mut String, card: &Card, mtu: u32, routes: &[Option<(&str, String)>; 2]) {
    let mut line = |depth: usize, text: &str| {
        writeln!(out, "{}{text}", "  ".repeat(depth)).expect("a String takes everything");
    };
    line(1, &format!("card{}:", card.nic.card));
    line(2, "match:");
    line(
        3,
        &format!("macaddress: {}", quoted(&card.nic.mac.to_string())),
    );
    line(2, &format!("mtu: {mtu}"));
    line(2, "dhcp4: false");
    line(2, "dhcp6: false");
    line(2, "accept-ra: false");
    let addresses = card.addresses();
    if !addresses.is_empty() {
        line(2, "addresses:");
        for address in addresses {
            line(3, &format!("- {}", quoted(&address.to_string())));
        }
    }
    if routes.iter().any(Option::is_some) {
        line(2, "routes:");
        for (to, via) in routes.iter().flatten() {
            line(3, &format!("- to: {}", quoted(to)));
            line(3, &format!("  via: {}", quoted(via)));
        }
    }
    if !card.segment.dns.is_empty() {
        line(2, "nameservers:");
        line(3, "addresses:");
        for server in &card.segment.dns {
            line(4, &format!("- {}", quoted(&server.to_string())));
        }
    }
}

/// A YAML double-quoted scalar: JSON's strings are a subset of them.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::fixture;

    #[test]
    fn the_network_config_has_both_families_and_one_default_route_each() {
        let text = render_network_config(&fixture::cards(), 1450);
        assert_eq!(
            text,
            r#"version: 2
ethernets:
  card0:
    match:
      macaddress: "52:54:00:00:00:01"
    mtu: 1450
    dhcp4: false
    dhcp6: false
    accept-ra: false
    addresses:
      - "10.1.0.5/24"
      - "fd00:1::5/64"
    routes:
      - to: "0.0.0.0/0"
        via: "10.1.0.1"
      - to: "::/0"
        via: "fd00:1::1"
    nameservers:
      addresses:
        - "10.1.0.1"
  card1:
    match:
      macaddress: "52:54:00:00:00:02"
    mtu: 1450
    dhcp4: false
    dhcp6: false
    accept-ra: false
    addresses:
      - "10.2.0.5/24"
    nameservers:
      addresses:
        - "10.2.0.1"
"#
        );
    }

    #[test]
    fn a_machine_without_cards_has_an_empty_network() {
        assert_eq!(
            render_network_config(&[], 1450),
            "version: 2\nethernets: {}\n"
        );
    }

    #[test]
    fn a_hostname_cannot_break_out_of_the_meta_data() {
        let vm = fixture::vm();
        let seed = SeedItem {
            hostname: "a\"\ninstance-id: b".into(),
            user_data: Secret::default(),
        };
        let seed = render_seed(vm.vm, &seed, &[], 1450);
        assert_eq!(
            seed.meta_data,
            format!(
                "instance-id: \"{}\"\nlocal-hostname: \"a\\\"\\ninstance-id: b\"\n",
                vm.vm
            )
        );
        assert_eq!(seed.user_data.0, "#cloud-config\n{}\n");
    }
}
