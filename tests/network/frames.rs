//! Ethernet frames byte by byte, good ones and forged ones.

use std::net::{Ipv4Addr, Ipv6Addr};

use dc_types::Mac;

pub const BROADCAST: Mac = Mac([0xff; 6]);

pub fn ethernet(from: Mac, to: Mac, kind: u16, body: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0[..], &kind.to_be_bytes(), body].concat()
}

/// The Internet checksum (RFC 1071).
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = u16::try_from(sum).expect("it was folded");
    (!sum).to_be_bytes()
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes)
        .expect("test frames are short")
        .to_be_bytes()
}

fn udp(ports: (u16, u16), payload: &[u8], pseudo: &[u8]) -> Vec<u8> {
    let size = length(payload.len() + 8);
    let head = [ports.0.to_be_bytes(), ports.1.to_be_bytes(), size, [0, 0]].concat();
    let sum = checksum(&[pseudo, &[0, 17], &size, &head, payload]);
    [&head[..6], &sum, payload].concat()
}

/// UDP over IPv4.
pub fn udp4(from: Ipv4Addr, to: Ipv4Addr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let pseudo = [from.octets(), to.octets()].concat();
    let body = udp(ports, payload, &pseudo);
    let size = length(body.len() + 20);
    let mut head = [&[0x45, 0][..], &size, &[0, 0, 0, 0, 64, 17, 0, 0], &pseudo].concat();
    let sum = checksum(&[&head]);
    head[10..12].copy_from_slice(&sum);
    [head, body].concat()
}

fn ip6(from: Ipv6Addr, to: Ipv6Addr, next: u8, body: &[u8]) -> Vec<u8> {
    let size = length(body.len());
    [
        &[0x60, 0, 0, 0, size[0], size[1], next, 255],
        &from.octets()[..],
        &to.octets(),
        body,
    ]
    .concat()
}

/// UDP over IPv6.
pub fn udp6(from: Ipv6Addr, to: Ipv6Addr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let pseudo = [from.octets(), to.octets()].concat();
    ip6(from, to, 17, &udp(ports, payload, &pseudo))
}

/// An ICMPv6 message; `rest` follows type, code and checksum.
pub fn icmp6(from: Ipv6Addr, to: Ipv6Addr, kind: u8, rest: &[u8]) -> Vec<u8> {
    let pseudo = [from.octets(), to.octets()].concat();
    let size = length(rest.len() + 4);
    let sum = checksum(&[&pseudo, &size, &[0, 58], &[kind, 0, 0, 0], rest]);
    let body = [&[kind, 0], &sum[..], rest].concat();
    ip6(from, to, 58, &body)
}

/// A neighbour advertisement for `target`, with the sender's MAC and a trailing note.
pub fn advertisement(from: Ipv6Addr, to: Ipv6Addr, target: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let rest = [&[0x60, 0, 0, 0], &target.octets()[..], &[2, 1], &mac.0].concat();
    icmp6(from, to, 136, &rest)
}

/// An ARP request.
pub fn arp(mac: Mac, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    [
        &[0, 1, 8, 0, 6, 4, 0, 1][..],
        &mac.0,
        &from.octets(),
        &[0; 6],
        &to.octets(),
    ]
    .concat()
}
