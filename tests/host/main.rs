//! The agent's reconcilers on real machines of a lab: libvirt and QEMU under software emulation,
//! tgt, namespaces. Needs root and the packages of a lab.

mod carrier;
mod rbd;
mod vm;
