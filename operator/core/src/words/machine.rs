//! Words for virtual machines. Cards are counted from 0, as in the object.

use super::Standing::{Moving, Resting, Settled, Troubled};
use super::platform::{list, list_or};
use super::{Awaited, Fact, Words};

pub(super) fn words(fact: &Fact) -> Option<Words> {
    state(fact).or_else(|| cards(fact)).or_else(|| disks(fact))
}

fn state(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::Running { host } => Words::new(
            Settled,
            "Running",
            format!("running on {host}"),
            format!("đang chạy trên {host}"),
        ),
        Fact::Stopped => Words::new(
            Resting,
            "Stopped",
            "stopped, as asked",
            "đã dừng theo yêu cầu",
        ),
        Fact::Starting { host } => Words::new(
            Moving,
            "Starting",
            format!("starting on {host}"),
            format!("đang khởi động trên {host}"),
        ),
        Fact::Stopping => Words::new(Moving, "Stopping", "stopping", "đang dừng"),
        Fact::Paused { host } => Words::new(
            Troubled,
            "Paused",
            format!("kept from running on {host}; see that its pool has room"),
            format!("bị tạm ngưng trên {host}; hãy kiểm tra dung lượng vùng lưu trữ"),
        ),
        Fact::Crashed { host } => Words::new(
            Troubled,
            "Crashed",
            format!("the guest crashed on {host}; see its console log"),
            format!("máy ảo bị lỗi trên {host}; hãy xem nhật ký console"),
        ),
        Fact::StoppedByItself => Words::new(
            Troubled,
            "StoppedByItself",
            "the guest stopped by itself and onGuestStop leaves it so; write another text in \
             spec.restart to start it",
            "máy ảo tự dừng và onGuestStop giữ nguyên; ghi giá trị khác vào spec.restart để chạy \
             lại",
        ),
        Fact::ClassMissing { class } => Words::new(
            Troubled,
            "ClassMissing",
            format!("class: there is no MachineClass {class}; `kubectl get mclass` lists them"),
            format!("class: không có MachineClass {class}; xem `kubectl get mclass`"),
        ),
        Fact::ClassBroken { class, memory } => Words::new(
            Troubled,
            "ClassBroken",
            format!("class: the memory {memory:?} of MachineClass {class} is not a size"),
            format!("class: bộ nhớ {memory:?} của MachineClass {class} không hợp lệ"),
        ),
        Fact::ClassTooLarge {
            class,
            host,
            rule,
            need,
            have,
        } => Words::new(
            Troubled,
            "ClassTooLarge",
            format!(
                "class: {class} needs {need} more {rule} than now and {host} has {have} left; \
                 choose a smaller class or make room there"
            ),
            format!(
                "class: {class} cần thêm {need} {} nhưng {host} chỉ còn {have}; hãy chọn lớp nhỏ \
                 hơn hoặc giải phóng tài nguyên",
                rule.vietnamese()
            ),
        ),
        Fact::NoCapacity {
            class,
            need,
            help,
            hosts,
        } => Words::new(
            Troubled,
            "NoCapacity",
            format!(
                "class: no host can take {class} ({need}). Smallest change: {}; or choose \
                 another class. Host by host: {hosts}",
                help.en
            ),
            format!(
                "class: không máy chủ nào nhận được {class} ({need}). Thay đổi nhỏ nhất: {}; hoặc \
                 hãy chọn lớp khác",
                help.vi
            ),
        ),
        Fact::Placed { host } => Words::new(
            Settled,
            "Placed",
            format!("claimed on {host}"),
            format!("đã cấp trên {host}"),
        ),
        Fact::NotPlaced => Words::new(Moving, "NotPlaced", "no host yet", "chưa có máy chủ"),
        Fact::CloudInitKind => Words::new(
            Troubled,
            "CloudInitKind",
            "cloudInit: user-data must begin with #cloud-config, or with #! for a script",
            "cloudInit: user-data phải bắt đầu bằng #cloud-config, hoặc #! nếu là script",
        ),
        Fact::CloudInitNotYaml { error } => Words::new(
            Troubled,
            "CloudInitNotYaml",
            format!("cloudInit: user-data is not YAML ({error}); correct it and apply again"),
            format!("cloudInit: user-data không phải YAML ({error}); hãy sửa và áp dụng lại"),
        ),
        Fact::SecretMissing { secret } => Words::new(
            Troubled,
            "SecretMissing",
            format!("cloudInit.secret: there is no Secret {secret} in this namespace; create it"),
            format!("cloudInit.secret: không có Secret {secret} trong namespace này; hãy tạo"),
        ),
        Fact::SecretKeyMissing { secret } => Words::new(
            Troubled,
            "SecretKeyMissing",
            format!("cloudInit.secret: Secret {secret} has no key userData; add it"),
            format!("cloudInit.secret: Secret {secret} không có khóa userData; hãy bổ sung"),
        ),
        Fact::SecretUnreadable { secret, error } => Words::new(
            Troubled,
            "SecretUnreadable",
            format!("cloudInit.secret: Secret {secret} cannot be used: {error}"),
            format!("cloudInit.secret: không dùng được Secret {secret}: {error}"),
        ),
        _ => return None,
    })
}

fn cards(fact: &Fact) -> Option<Words> {
    let at = |card: &usize| format!("interfaces[{card}]");
    let at_address = |card: &usize, address: &str| {
        let field = if address.contains(':') {
            "ipv6"
        } else {
            "ipv4"
        };
        format!("interfaces[{card}].{field}")
    };
    Some(match fact {
        Fact::SubnetMissing { card, subnet } => Words::new(
            Troubled,
            "SubnetMissing",
            format!(
                "{}.subnet: there is no Subnet {subnet} in this namespace; `kubectl get subnet` \
                 lists them",
                at(card)
            ),
            format!(
                "{}.subnet: không có Subnet {subnet} trong namespace này; xem `kubectl get subnet`",
                at(card)
            ),
        ),
        Fact::SubnetNotReady { card, subnet } => Words::new(
            Moving,
            "SubnetNotReady",
            format!(
                "{}.subnet: waiting for Subnet {subnet} to get its prefix",
                at(card)
            ),
            format!(
                "{}.subnet: đang chờ Subnet {subnet} được cấp dải địa chỉ",
                at(card)
            ),
        ),
        Fact::AddressOutside {
            card,
            address,
            prefix,
        } => Words::new(
            Troubled,
            "AddressOutside",
            format!(
                "{}: {address} is outside the subnet's {prefix}; choose one inside",
                at_address(card, address)
            ),
            format!(
                "{}: {address} nằm ngoài dải {prefix}; hãy chọn địa chỉ bên trong",
                at_address(card, address)
            ),
        ),
        Fact::AddressReserved {
            card,
            address,
            subnet,
        } => Words::new(
            Troubled,
            "AddressReserved",
            format!(
                "{}: {address} is kept for the gateway and the platform in Subnet {subnet}; choose \
                 another: the first four and the last are never a machine's",
                at_address(card, address)
            ),
            format!(
                "{}: {address} dành cho cổng mặc định và nền tảng trong Subnet {subnet}; hãy chọn \
                 địa chỉ khác: bốn địa chỉ đầu và địa chỉ cuối không cấp cho máy ảo",
                at_address(card, address)
            ),
        ),
        Fact::AddressTaken {
            card,
            address,
            subnet,
        } => Words::new(
            Troubled,
            "AddressTaken",
            format!(
                "{}: {address} of Subnet {subnet} belongs to another machine; choose another or \
                 leave it out",
                at_address(card, address)
            ),
            format!(
                "{}: {address} của Subnet {subnet} thuộc máy ảo khác; hãy chọn địa chỉ khác hoặc \
                 bỏ trống",
                at_address(card, address)
            ),
        ),
        Fact::AddressFamilyAbsent {
            card,
            address,
            subnet,
        } => Words::new(
            Troubled,
            "AddressFamilyAbsent",
            format!(
                "{}: Subnet {subnet} has no prefix of the kind of {address}; leave it out",
                at_address(card, address)
            ),
            format!(
                "{}: Subnet {subnet} không có dải cùng loại với {address}; hãy bỏ trống",
                at_address(card, address)
            ),
        ),
        Fact::SubnetFull {
            card,
            subnet,
            prefix,
        } => Words::new(
            Troubled,
            "SubnetFull",
            format!(
                "{}: Subnet {subnet} ({prefix}) has no free address; delete machines or make \
                 another Subnet",
                at(card)
            ),
            format!(
                "{}: Subnet {subnet} ({prefix}) đã hết địa chỉ; hãy xóa bớt máy ảo hoặc tạo Subnet \
                 khác",
                at(card)
            ),
        ),
        Fact::MacInvalid { card, error } => Words::new(
            Troubled,
            "MacInvalid",
            format!("{}.mac: {error}", at(card)),
            format!("{}.mac: địa chỉ MAC không hợp lệ", at(card)),
        ),
        Fact::MacTaken { card, mac } => Words::new(
            Troubled,
            "MacTaken",
            format!(
                "{}.mac: {mac} belongs to another card; choose another or leave it out",
                at(card)
            ),
            format!(
                "{}.mac: {mac} thuộc card khác; hãy chọn MAC khác hoặc bỏ trống",
                at(card)
            ),
        ),
        Fact::CardsChanged => Words::new(
            Troubled,
            "CardsChanged",
            "interfaces: cards and their subnets are fixed for the life of a machine; undo the \
             change or make another machine",
            "interfaces: card mạng và subnet cố định trong suốt vòng đời máy ảo; hãy hoàn tác hoặc \
             tạo máy khác",
        ),
        Fact::ServiceNotNamed {
            card,
            service,
            zone,
            named,
        } => Words::new(
            Troubled,
            "ServiceNotNamed",
            format!(
                "{}.publish: Zone {zone} lets no service {service} in from outside, it has: {}; \
                 take it out of publish, or ask a platform administrator to name it in the Zone",
                at(card),
                list_or(named, "none")
            ),
            format!(
                "{}.publish: Zone {zone} không cho phép dịch vụ {service} từ bên ngoài, hiện có: \
                 {}; hãy bỏ khỏi publish, hoặc đề nghị quản trị nền tảng khai báo trong Zone",
                at(card),
                list_or(named, "không có")
            ),
        ),
        _ => return None,
    })
}

fn disks(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::VolumeMissing { disk, volume } => Words::new(
            Troubled,
            "VolumeMissing",
            format!(
                "disks[{disk}].volume: there is no Volume {volume} in this namespace; create it, \
                 or give a template"
            ),
            format!(
                "disks[{disk}].volume: không có Volume {volume} trong namespace này; hãy tạo hoặc \
                 dùng template"
            ),
        ),
        Fact::VolumeInUse { disk, volume, by } => Words::new(
            Troubled,
            "VolumeInUse",
            format!(
                "disks[{disk}]: Volume {volume} is held by machine {by}; take it off there first, \
                 or name another volume"
            ),
            format!(
                "disks[{disk}]: Volume {volume} đang do máy ảo {by} giữ; hãy gỡ ở đó trước hoặc \
                 chọn volume khác"
            ),
        ),
        Fact::VolumeDeleting { disk, volume } => Words::new(
            Troubled,
            "VolumeDeleting",
            format!("disks[{disk}]: Volume {volume} is being deleted; name another"),
            format!("disks[{disk}]: Volume {volume} đang bị xóa; hãy chọn volume khác"),
        ),
        Fact::VolumeNameTaken { disk, volume } => Words::new(
            Troubled,
            "VolumeNameTaken",
            format!(
                "disks[{disk}].template: a Volume {volume} is there that was not made for this \
                 machine; it is left alone. Delete it, name it under volume, or rename the disk"
            ),
            format!(
                "disks[{disk}].template: đã có Volume {volume} không phải của máy này; được giữ \
                 nguyên. Hãy xóa, khai báo ở volume, hoặc đổi tên đĩa"
            ),
        ),
        Fact::VolumeTwice { disk, volume } => Words::new(
            Troubled,
            "VolumeTwice",
            format!("disks[{disk}]: Volume {volume} is named twice in this machine; take one out"),
            format!("disks[{disk}]: Volume {volume} được khai báo hai lần; hãy bỏ bớt một"),
        ),
        Fact::TemplateBroken { disk, error } => Words::new(
            Troubled,
            "TemplateBroken",
            format!("disks[{disk}].template: the API server refused the volume: {error}"),
            format!("disks[{disk}].template: API từ chối volume: {error}"),
        ),
        Fact::VolumesPending { waiting } => {
            let (en, vi): (Vec<_>, Vec<_>) = waiting.iter().map(Awaited::words).unzip();
            Words::new(
                Moving,
                "VolumesPending",
                format!("waiting for volumes: {}", list(&en)),
                format!("đang chờ volume: {}", list(&vi)),
            )
        }
        Fact::GrantsPending { waiting } => Words::new(
            Moving,
            "GrantsPending",
            format!("waiting for the storage host to open {}", list(waiting)),
            format!("đang chờ máy chủ lưu trữ mở {}", list(waiting)),
        ),
        Fact::Attached { volumes } => Words::new(
            Settled,
            "Attached",
            match volumes {
                0 => "it has no volume".to_owned(),
                1 => "its volume is granted to its host".to_owned(),
                more => format!("its {more} volumes are granted to its host"),
            },
            format!("{volumes} volume đã cấp cho máy chủ của nó"),
        ),
        _ => return None,
    })
}
