//! One disk, which QEMU opens itself: a target over iSCSI, an image of Ceph, or a file of the host.
//!
//! Nothing is cached on the host. An error of the storage stops the guest rather than reaching it:
//! a full pool pauses it, and it goes on when there is room.

use std::collections::BTreeMap;

use dc_types::plan::{DiskItem, DiskSource, GrantItem, LUKS_HEADER, Portal, Qos, RbdCluster};
use dc_types::{Bytes, InstanceId};

use super::Element;
use super::secret::{key_uuid, secret_uuid};
use crate::vm::seen::{CopyStage, LiveDisk, LiveMirror};

/// QEMU takes this many bytes of a virtio disk's serial.
const SERIAL_MAX: usize = 20;

/// The disk that a machine boots from, which stays for as long as it runs.
pub const FIRST_DEVICE: &str = "vda";

/// `index` is that of its device's name; a machine boots from index 0.
#[must_use]
pub fn render_disk(disk: &DiskItem, index: usize) -> Element {
    let mut element =
        render_copy(disk, &target_name(index)).child(Element::new("serial").text(serial(disk)));
    let limits = render_limits(&disk.qos);
    if !limits.is_unlimited() {
        element = element.child(render_iotune(&limits));
    }
    if index == 0 {
        element = element.child(Element::new("boot").attr("order", 1));
    }
    element
}

/// What QEMU is to open, without what the guest sees of it: where a disk is copied to.
#[must_use]
pub fn render_copy(disk: &DiskItem, device: &str) -> Element {
    let kind = match &disk.source {
        DiskSource::Iscsi { .. } | DiskSource::Rbd { .. } => "network",
        DiskSource::File { .. } => "file",
    };
    let mut element = Element::new("disk")
        .attr("type", kind)
        .attr("device", "disk")
        .child(
            Element::new("driver")
                .attr("name", "qemu")
                .attr("type", "raw")
                .attr("cache", "none")
                .attr("error_policy", "stop")
                .attr("rerror_policy", "stop")
                .attr("discard", "unmap"),
        );
    element = match &disk.source {
        DiskSource::Iscsi { portal, chap } => element
            .child(auth(disk, &chap.user, "iscsi"))
            .child(iscsi_source(disk, portal)),
        DiskSource::Rbd { cluster, cephx, .. } => element
            .child(auth(disk, &cephx.user, "ceph"))
            .child(rbd_source(disk, cluster)),
        DiskSource::File { path } => element.child(Element::new("source").attr("file", path)),
    };
    if disk.luks.is_some() {
        element = element.child(encryption(disk));
    }
    element.child(
        Element::new("target")
            .attr("dev", device)
            .attr("bus", "virtio"),
    )
}

/// The name of what QEMU opens, as libvirt shows it.
#[must_use]
pub fn source_name(disk: &DiskItem) -> String {
    match &disk.source {
        // Unit 1: unit 0 is tgt's own controller.
        DiskSource::Iscsi { .. } => {
            format!("{}/1", GrantItem::target_name(disk.place(), disk.grant))
        }
        // libvirt before 11.6 gives QEMU no namespace, whatever stands here.
        DiskSource::Rbd {
            cluster,
            image,
            cephx,
        } => match cephx.namespace.as_str() {
            "" => format!("{}/{image}", cluster.pool),
            namespace => format!("{}/{namespace}/{image}", cluster.pool),
        },
        DiskSource::File { path } => path.clone(),
    }
}

/// Where QEMU opens it, as libvirt shows it: each address with its port. None for a file.
#[must_use]
pub fn source_hosts(disk: &DiskItem) -> Vec<String> {
    let named = |portal: &Portal| host_name(&portal.address.to_string(), &portal.port.to_string());
    match &disk.source {
        DiskSource::Iscsi { portal, chap: _ } => vec![named(portal)],
        DiskSource::Rbd { cluster, .. } => cluster.monitors.iter().map(named).collect(),
        DiskSource::File { path: _ } => Vec::new(),
    }
}

fn host_name(address: &str, port: &str) -> String {
    format!("{address} {port}")
}

fn auth(disk: &DiskItem, user: &str, kind: &str) -> Element {
    Element::new("auth").attr("username", user).child(
        Element::new("secret")
            .attr("type", kind)
            .attr("uuid", secret_uuid(disk.place(), disk.grant)),
    )
}

/// QEMU decrypts, over whatever it opens the disk by.
fn encryption(disk: &DiskItem) -> Element {
    Element::new("encryption").attr("format", "luks").child(
        Element::new("secret")
            .attr("type", "passphrase")
            .attr("uuid", key_uuid(disk.place(), disk.grant)),
    )
}

fn host(portal: &Portal) -> Element {
    Element::new("host")
        .attr("name", portal.address)
        .attr("port", portal.port)
}

fn iscsi_source(disk: &DiskItem, portal: &Portal) -> Element {
    Element::new("source")
        .attr("protocol", "iscsi")
        .attr("name", source_name(disk))
        .child(host(portal))
        .child(Element::new("initiator").child(Element::new("iqn").attr("name", &disk.initiator)))
}

fn rbd_source(disk: &DiskItem, cluster: &RbdCluster) -> Element {
    let source = Element::new("source")
        .attr("protocol", "rbd")
        .attr("name", source_name(disk));
    cluster
        .monitors
        .iter()
        .fold(source, |source, monitor| source.child(host(monitor)))
}

/// `vda` to `vdz`, which is more than validation lets through.
#[must_use]
pub fn target_name(index: usize) -> String {
    let letter = b'a' + u8::try_from(index).expect("a machine has at most 25 disks");
    format!("vd{}", char::from(letter))
}

/// Limits as libvirt keeps them: the length of a burst has a meaning beside one alone.
#[must_use]
pub fn render_limits(qos: &Qos) -> Qos {
    let bursts = qos.iops_burst > 0 || qos.bandwidth_burst.0 > 0;
    Qos {
        burst_s: if bursts { qos.burst_s.max(1) } else { 0 },
        ..*qos
    }
}

/// Reads and writes together, as a volume is limited; libvirt's names.
fn render_iotune(limits: &Qos) -> Element {
    let Qos {
        iops,
        iops_burst,
        bandwidth,
        bandwidth_burst,
        burst_s,
    } = *limits;
    let length = |burst: u64| if burst > 0 { u64::from(burst_s) } else { 0 };
    let fields = [
        ("total_bytes_sec", bandwidth.0),
        ("total_iops_sec", iops),
        ("total_bytes_sec_max", bandwidth_burst.0),
        ("total_iops_sec_max", iops_burst),
        ("total_bytes_sec_max_length", length(bandwidth_burst.0)),
        ("total_iops_sec_max_length", length(iops_burst)),
    ];
    let set = fields.into_iter().filter(|(_, value)| *value > 0);
    Element::new("iotune").children(set.map(|(name, value)| Element::new(name).text(value)))
}

/// The disks of a domain as libvirt shows it, by their serial; nothing of what cannot be read.
#[must_use]
pub fn read_live_disks(domain: &str) -> BTreeMap<String, LiveDisk> {
    let Ok(document) = roxmltree::Document::parse(domain) else {
        return BTreeMap::new();
    };
    let disks = document
        .descendants()
        .filter(|node| node.has_tag_name("disk"));
    disks.filter_map(read_live_disk).collect()
}

fn read_live_disk(disk: roxmltree::Node<'_, '_>) -> Option<(String, LiveDisk)> {
    let child = |name| disk.children().find(|node| node.has_tag_name(name));
    let serial = child("serial")?.text()?.to_owned();
    let device = child("target")?.attribute("dev")?.to_owned();
    let number = |name| {
        let field = child("iotune")?.children().find(|n| n.has_tag_name(name))?;
        field.text()?.trim().parse::<u64>().ok()
    };
    let number = |name| number(name).unwrap_or_default();
    let lengths = number("total_bytes_sec_max_length").max(number("total_iops_sec_max_length"));
    let qos = render_limits(&Qos {
        iops: number("total_iops_sec"),
        iops_burst: number("total_iops_sec_max"),
        bandwidth: Bytes(number("total_bytes_sec")),
        bandwidth_burst: Bytes(number("total_bytes_sec_max")),
        burst_s: u32::try_from(lengths).unwrap_or(u32::MAX),
    });
    let mirror = child("mirror").map(|mirror| LiveMirror {
        source: read_source(mirror),
        hosts: read_hosts(mirror),
        stage: match mirror.attribute("ready") {
            Some("yes") => CopyStage::Ready,
            Some("pivot") => CopyStage::GoingOver,
            Some("abort") => CopyStage::Ending,
            Some(_) | None => CopyStage::Copying,
        },
        percent: 0,
    });
    let disk = LiveDisk {
        device,
        qos,
        // The definition does not say.
        size: None,
        header: match disk
            .descendants()
            .any(|node| node.has_tag_name("encryption"))
        {
            true => LUKS_HEADER,
            false => Bytes(0),
        },
        counts: None,
        source: read_source(disk),
        hosts: read_hosts(disk),
        mirror,
    };
    Some((serial, disk))
}

/// The name of what a disk or a mirror is in.
fn read_source(of: roxmltree::Node<'_, '_>) -> String {
    let source = of.children().find(|node| node.has_tag_name("source"));
    let name = source.and_then(|source| source.attribute("name").or(source.attribute("file")));
    name.unwrap_or_default().to_owned()
}

fn read_hosts(of: roxmltree::Node<'_, '_>) -> Vec<String> {
    let source = of.children().find(|node| node.has_tag_name("source"));
    let nodes = source.into_iter().flat_map(|source| source.children());
    let hosts = nodes.filter(|node| node.has_tag_name("host"));
    let name = |host: roxmltree::Node<'_, '_>| {
        let port = host.attribute("port").unwrap_or_default();
        Some(host_name(host.attribute("name")?, port))
    };
    hosts.filter_map(name).collect()
}

/// A disk's XML alone, as it is attached to a running domain: its serial, and the disk.
#[must_use]
pub fn read_disk_alone(disk: &str) -> Option<(String, LiveDisk)> {
    let document = roxmltree::Document::parse(disk).ok()?;
    read_live_disk(document.root_element())
}

/// libvirt's own name of a running domain's disk.
#[must_use]
pub fn read_alias(domain: &str, device: &str) -> Option<String> {
    let document = roxmltree::Document::parse(domain).ok()?;
    let child = |disk: roxmltree::Node<'_, '_>, name: &str, attribute: &str| {
        let node = disk.children().find(|node| node.has_tag_name(name))?;
        node.attribute(attribute).map(str::to_owned)
    };
    let mut nodes = document.descendants();
    let disk = nodes.find(|node| {
        node.has_tag_name("disk") && child(*node, "target", "dev").as_deref() == Some(device)
    });
    child(disk?, "alias", "name")
}

/// Whether a serial is one that volumes have. The seed has another.
#[must_use]
pub fn is_of_volume(serial: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    serial.len() == SERIAL_MAX && serial.bytes().all(hex)
}

/// A copy that has just begun to where a disk's XML alone says.
#[must_use]
pub fn read_copy(disk: &str) -> Option<LiveMirror> {
    let document = roxmltree::Document::parse(disk).ok()?;
    let disk = document.root_element();
    let copy = LiveMirror {
        source: read_source(disk),
        hosts: read_hosts(disk),
        stage: CopyStage::Copying,
        percent: 0,
    };
    Some(copy).filter(|copy| !copy.source.is_empty())
}

/// What the guest sees as `/dev/disk/by-id/virtio-<serial>`: the volume's id, cut to fit.
#[must_use]
pub fn serial(disk: &DiskItem) -> String {
    serial_of(disk.volume)
}

#[must_use]
pub fn serial_of(volume: InstanceId) -> String {
    volume.0.simple().to_string()[..SERIAL_MAX].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::fixture;

    #[test]
    fn a_disk_is_opened_over_iscsi_by_qemu_itself() {
        let disk = fixture::disk(7);
        let xml = render_disk(&disk, 0).render();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let find = |name| {
            document
                .descendants()
                .find(|node| node.has_tag_name(name))
                .unwrap_or_else(|| panic!("no {name} in {xml}"))
        };
        let driver = find("driver");
        assert_eq!(driver.attribute("cache"), Some("none"));
        assert_eq!(driver.attribute("discard"), Some("unmap"));
        assert_eq!(driver.attribute("error_policy"), Some("stop"));
        let source = find("source");
        let name = source.attribute("name").unwrap();
        assert_eq!(
            name,
            format!("{}/1", GrantItem::target_name(disk.volume, disk.grant))
        );
        assert_eq!(find("iqn").attribute("name"), Some(disk.initiator.as_str()));
        assert_eq!(find("auth").attribute("username"), Some("dc"));
        assert_eq!(
            find("secret").attribute("uuid"),
            Some(secret_uuid(disk.volume, disk.grant).to_string().as_str())
        );
        assert_eq!(find("host").attribute("port"), Some("3260"));
        assert_eq!(find("serial").text().map(str::len), Some(SERIAL_MAX));
        let DiskSource::Iscsi { chap, .. } = &disk.source else {
            panic!("{disk:?}");
        };
        assert!(!xml.contains(&chap.secret.0), "the secret is in {xml}");
    }

    #[test]
    fn an_image_of_ceph_is_opened_from_every_monitor_by_the_user_of_its_epoch() {
        let mut disk = fixture::disk(7);
        let monitor = |last| Portal {
            address: std::net::Ipv4Addr::new(10, 250, 0, last).into(),
            port: 6789,
        };
        disk.source = DiskSource::Rbd {
            cluster: RbdCluster {
                monitors: vec![monitor(1), monitor(2)],
                pool: "volumes".into(),
            },
            image: "root".into(),
            cephx: fixture::cephx(),
        };
        let xml = render_disk(&disk, 0).render();
        assert!(
            xml.contains("protocol=\"rbd\" name=\"volumes/so-tnmt/root\""),
            "{xml}"
        );
        assert!(xml.contains("name=\"10.250.0.2\" port=\"6789\""), "{xml}");
        assert!(xml.contains("type=\"ceph\""), "{xml}");
        assert!(
            !xml.contains(&fixture::cephx().key.0),
            "the key is in {xml}"
        );
    }

    #[test]
    fn limits_are_written_as_libvirt_reads_them_and_read_back_the_same() {
        let mut disk = fixture::disk(7);
        assert!(!render_disk(&disk, 0).render().contains("iotune"));
        disk.qos = Qos {
            iops: 300,
            iops_burst: 900,
            bandwidth: Bytes(10 << 20),
            bandwidth_burst: Bytes(0),
            burst_s: 5,
        };
        let xml = render_disk(&disk, 0).render();
        assert!(xml.contains("<total_iops_sec_max>900<"), "{xml}");
        assert!(!xml.contains("total_bytes_sec_max"), "{xml}");
        let live = read_live_disks(&format!("<domain>{xml}</domain>"));
        let live = &live[&serial(&disk)];
        assert_eq!((live.device.as_str(), live.qos), ("vda", disk.qos));
        // Without a burst its length says nothing, here and there.
        disk.qos.iops_burst = 0;
        let xml = render_disk(&disk, 0).render();
        let live = read_live_disks(&format!("<domain>{xml}</domain>"));
        assert_eq!(live[&serial(&disk)].qos, render_limits(&disk.qos));
    }

    #[test]
    fn what_is_attached_reads_back_as_what_it_opens() {
        let disk = fixture::disk(7);
        let (read_serial, live) = read_disk_alone(&render_disk(&disk, 3).render()).unwrap();
        assert_eq!(read_serial, serial(&disk));
        assert!(is_of_volume(&read_serial) && !is_of_volume("cidata"));
        assert_eq!(live.device, "vdd");
        assert_eq!(live.source, source_name(&disk));
        assert_eq!(live.hosts, source_hosts(&disk));
        assert_eq!(live.hosts, ["10.250.0.2 3260"]);
    }

    #[test]
    fn a_file_of_the_host_takes_no_login() {
        let mut disk = fixture::disk(7);
        disk.source = DiskSource::File {
            path: "/var/lib/dc/pool/volumes/7".into(),
        };
        let xml = render_disk(&disk, 0).render();
        assert!(xml.contains("file=\"/var/lib/dc/pool/volumes/7\""), "{xml}");
        assert!(!xml.contains("<auth"), "{xml}");
    }

    #[test]
    fn only_the_first_disk_is_booted_from() {
        let disk = fixture::disk(7);
        assert!(
            render_disk(&disk, 0)
                .render()
                .contains("<boot order=\"1\"/>")
        );
        let second = render_disk(&disk, 1).render();
        assert!(!second.contains("<boot"), "{second}");
        assert!(second.contains("dev=\"vdb\""), "{second}");
    }
}
