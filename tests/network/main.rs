//! The network vertical with the real tools: several hosts as namespaces of this machine, each
//! with the vertical run directly in it, guests as namespaces or taps.
//!
//! Needs root, and iproute2, nftables, dnsmasq, conntrack and busybox. Everything lives in
//! namespaces that a holder process keeps; when it ends, also by a panic, nothing is left.

mod desk;
mod dhcp;
mod frames;
mod guard;
mod guests;
mod holder;
mod lifecycle;
mod reach;
mod revoke;
mod tap;
mod world;
