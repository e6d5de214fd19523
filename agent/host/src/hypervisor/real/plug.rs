//! Disks that come to a running domain, and go. The client library has no safe call that detaches by
//! name.

use std::ffi::CString;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use dc_agent_core::vm::seen::LiveDisk;
use dc_agent_core::vm::xml::disk::{read_alias, read_disk_alone, read_live_disks};
use virt::domain::Domain;
use virt::error::Error as VirtError;
use virt::sys;

use super::super::HypervisorError;
use super::CallError;

/// A storage in the same data centre answers in far less.
const REACHED_WITHIN: Duration = Duration::from_secs(2);
/// QEMU's words when the guest has not answered yet.
const ASKED_ALREADY: &str = "already in the process of unplug";

fn refused(call: &'static str, message: impl Into<String>) -> CallError {
    let message = message.into();
    CallError::Told(HypervisorError::Refused { call, message })
}

/// Into the running domain alone: each start defines it anew.
pub(super) fn attach(domain: &Domain, xml: &str) -> Result<(), CallError> {
    let call = "attach";
    let Some((serial, disk)) = read_disk_alone(xml) else {
        return Err(refused(call, "no disk with a serial"));
    };
    if read_live_disks(&domain.xml_desc(0)?).contains_key(&serial) {
        return Ok(());
    }
    reach(&disk).map_err(|message| refused(call, message))?;
    domain.attach_device_flags(xml, sys::VIR_DOMAIN_AFFECT_LIVE)?;
    Ok(())
}

/// While QEMU opens a disk its guest stands still, for as long as the storage takes to answer: so one
/// that cannot be reached is not opened. One address of several is enough.
fn reach(disk: &LiveDisk) -> Result<(), String> {
    let mut last = None;
    for host in &disk.hosts {
        let (address, port) = host.split_once(' ').unwrap_or((host, ""));
        match connect(address, port) {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(format!("{address} port {port} cannot be reached: {error}")),
        }
    }
    last.map_or(Ok(()), Err)
}

fn connect(address: &str, port: &str) -> std::io::Result<()> {
    let invalid = |error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error);
    let port: u16 = port.parse().map_err(invalid)?;
    let mut addresses = (address, port).to_socket_addrs()?;
    let address = addresses.next().ok_or(std::io::ErrorKind::NotFound)?;
    TcpStream::connect_timeout(&address, REACHED_WITHIN).map(drop)
}

/// The request goes to the guest, and what comes of it is not waited for.
pub(super) fn ask_to_let_go(domain: &Domain, device: &str) -> Result<(), CallError> {
    let call = "detach";
    let xml = domain.xml_desc(0)?;
    let Some(alias) = read_alias(&xml, device) else {
        return Ok(());
    };
    let alias = CString::new(alias).map_err(|error| refused(call, error.to_string()))?;
    // SAFETY: the domain lives for as long as its borrow; the name ends with 0.
    let answer = unsafe {
        sys::virDomainDetachDeviceAlias(
            domain.as_ptr(),
            alias.as_ptr(),
            sys::VIR_DOMAIN_AFFECT_LIVE,
        )
    };
    if answer >= 0 {
        return Ok(());
    }
    let error = VirtError::last_error();
    match error.message().contains(ASKED_ALREADY) {
        true => Ok(()),
        false => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn disk(ports: &[u16]) -> LiveDisk {
        let host = |port: &u16| format!("<host name='127.0.0.1' port='{port}'/>");
        let hosts: String = ports.iter().map(host).collect();
        let xml = format!(
            "<disk><source name='a'>{hosts}</source><target dev='vdb'/><serial>1</serial></disk>"
        );
        read_disk_alone(&xml).unwrap().1
    }

    #[test]
    fn a_storage_that_nobody_listens_at_is_told_and_one_address_of_several_is_enough() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().port();
        // Port 1 is tcpmux, which nothing here serves.
        let closed = 1;
        assert_eq!(reach(&disk(&[closed, open])), Ok(()));
        let error = reach(&disk(&[closed])).unwrap_err();
        assert!(error.starts_with("127.0.0.1 port 1 cannot"), "{error}");
        // A file is opened nowhere.
        assert_eq!(reach(&disk(&[])), Ok(()));
    }
}
