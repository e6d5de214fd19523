//! What is reached from outside goes on to be.

use dc_types::plan::EndpointItem;
use dc_types::{PortRange, Protocol, Service};

use super::*;

/// The card of machine `n`, as any host that carries its department has it.
fn endpoint(n: u128, published: &[&str], at: u64) -> Item {
    let service = |name: &&str| Service {
        name: name.to_string(),
        protocol: Protocol::Tcp,
        ports: PortRange {
            first: 80,
            last: 80,
        },
    };
    let body = EndpointItem {
        department: DepartmentName::new("so-nnmt").unwrap(),
        subnet: SUBNET,
        vm: id(n),
        card: 0,
        name: format!("vm{n}"),
        mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
        v4: None,
        v6: None,
        host: host("h1"),
        vtep: "10.250.0.1".parse().unwrap(),
        published: published.iter().map(service).collect(),
    };
    Item {
        key: ItemKey::endpoint(id(n), 0),
        epoch: epoch(at),
        object: object(&format!("vm{n}"), n),
        body: ItemBody::Endpoint(body),
    }
}

#[test]
fn what_hosts_let_in_stays_open() {
    let storage = inventory("s1", vec![volume(101, 5), grant(101, "h1", 1, 9)]);
    let open = endpoint(1, &["https", "http"], 9);
    let compute = inventory("h1", vec![vm(1, "h1", 9), open.clone()]);
    let gateway = inventory("g1", vec![network(5000, 7), open]);
    let claims = read(&rebuild(&[storage, compute, gateway], &objects()));
    let cards = &claims.vms[&id(1)].value.cards;
    assert_eq!(cards[0].publish, ["http", "https"]);
}
