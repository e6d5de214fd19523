//! Words for pools, images and volumes.

use dc_types::report::Verb;

use super::Standing::{Moving, Settled, Troubled, Unseen};
use super::platform::list;
use super::{Fact, Words};

pub(super) fn words(fact: &Fact) -> Option<Words> {
    pools(fact)
        .or_else(|| sources(fact))
        .or_else(|| volumes(fact))
}

fn pools(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::PoolMissing { pool } => Words::new(
            Troubled,
            "PoolMissing",
            format!("pool: there is no StoragePool {pool}; `kubectl get pool` lists them"),
            format!("pool: không có StoragePool {pool}; xem `kubectl get pool`"),
        ),
        Fact::PoolUnknown { pool, host } => Words::new(
            Unseen,
            "PoolUnknown",
            format!("waiting for storage host {host} to say how much pool {pool} holds"),
            format!("đang chờ máy chủ lưu trữ {host} báo dung lượng vùng {pool}"),
        ),
        Fact::PoolNotServed { pool, host } => Words::new(
            Troubled,
            "PoolNotServed",
            format!(
                "storage host {host} is connected but holds no pool {pool}; name it in the agent's \
                 configuration there, or correct the host of its driver"
            ),
            format!(
                "máy chủ {host} đã kết nối nhưng không có vùng {pool}; hãy khai báo trong cấu hình \
                 agent, hoặc sửa máy chủ (host) trong phần driver"
            ),
        ),
        Fact::PoolFaulty { pool, fault } => Words::new(
            Troubled,
            "PoolFaulty",
            format!("pool {pool} cannot be used: {fault}"),
            format!("không dùng được vùng {pool}: {fault}"),
        ),
        Fact::PoolFull {
            pool,
            need,
            left,
            limit,
        } => Words::new(
            Troubled,
            "PoolFull",
            format!(
                "size: pool {pool} may promise {left} more (limit {limit}), {need} is asked for; \
                 ask for less, delete volumes, or have a platform administrator add capacity or \
                 raise the pool's promisePercent"
            ),
            format!(
                "size: vùng {pool} chỉ còn cấp được {left} (giới hạn {limit}), yêu cầu {need}; hãy \
                 giảm dung lượng, xóa bớt volume, hoặc đề nghị quản trị nền tảng mở rộng hay tăng \
                 promisePercent của vùng"
            ),
        ),
        Fact::PoolWarning {
            pool,
            percent,
            warn,
        } => Words::new(
            Troubled,
            "PoolFillingUp",
            format!("pool {pool} is {percent}% full, above the warning at {warn}%; add capacity"),
            format!("vùng {pool} đã dùng {percent}%, vượt mức cảnh báo {warn}%; hãy bổ sung"),
        ),
        Fact::PoolNearlyPromised {
            pool,
            percent,
            limit,
            warn,
        } => Words::new(
            Troubled,
            "NearlyPromised",
            format!(
                "pool {pool} has promised {percent}% of the {limit} that it may promise, above the \
                 warning at {warn}%; at 100% new volumes are refused: add capacity, delete \
                 volumes, or raise promisePercent"
            ),
            format!(
                "vùng {pool} đã cam kết {percent}% của {limit} được phép, vượt mức cảnh báo \
                 {warn}%; khi đạt 100% volume mới bị từ chối: hãy bổ sung dung lượng, xóa bớt \
                 volume, hoặc tăng promisePercent"
            ),
        ),
        Fact::PoolLacks { pool, verb, why } => {
            let (en, vi) = match verb {
                Verb::GrowOnline => (
                    "stop the machine that has the volume, and it grows",
                    "hãy dừng máy ảo đang giữ volume, sau đó volume sẽ được tăng",
                ),
                Verb::Snapshot
                | Verb::Clone
                | Verb::ChangedExtents
                | Verb::Fence
                | Verb::Discard => ("use a pool that can", "hãy dùng vùng khác"),
            };
            Words::new(
                Troubled,
                "PoolLacks",
                format!("pool {pool} cannot do this ({verb:?}): {why}; {en}"),
                format!("vùng {pool} không hỗ trợ thao tác này ({verb:?}): {why}; {vi}"),
            )
        }
        Fact::ClassDiffers {
            pool,
            pool_class,
            department,
            class,
        } => Words::new(
            Troubled,
            "ClassDiffers",
            format!(
                "pool: {pool} is for {pool_class} storage and Department {department} uses \
                 {class}; name a pool of its class, `kubectl get pool` shows them"
            ),
            format!(
                "pool: {pool} thuộc loại {pool_class}, còn cơ quan {department} dùng loại \
                 {class}; hãy chọn vùng cùng loại, xem `kubectl get pool`"
            ),
        ),
        Fact::PoolHasRoom { percent } => Words::new(
            Settled,
            "HasRoom",
            format!("below {percent}% full"),
            format!("đã dùng dưới {percent}%"),
        ),
        _ => return None,
    })
}

fn sources(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::ImageMissing { image } => Words::new(
            Troubled,
            "ImageMissing",
            format!("source.image: there is no Image {image}; `kubectl get images` lists them"),
            format!("source.image: không có Image {image}; xem `kubectl get images`"),
        ),
        Fact::ImageNotInPool { image, pool } => Words::new(
            Troubled,
            "ImageNotInPool",
            format!("source.image: Image {image} is not kept in pool {pool}; add it to its pools"),
            format!("source.image: Image {image} không có trong vùng {pool}; hãy thêm vào pools"),
        ),
        Fact::ImageNotReady { image, pool } => Words::new(
            Moving,
            "ImageNotReady",
            format!("waiting for Image {image} to be ready in pool {pool}"),
            format!("đang chờ Image {image} sẵn sàng trong vùng {pool}"),
        ),
        Fact::ImageFailed {
            image,
            pool,
            message,
        } => Words::new(
            Troubled,
            "ImageFailed",
            format!(
                "source.image: Image {image} cannot be had in pool {pool}: {message}. A platform \
                 administrator has to put the Image right, or name another"
            ),
            format!(
                "source.image: không có được Image {image} trong vùng {pool}; quản trị nền tảng \
                 cần sửa Image, hoặc hãy chọn Image khác"
            ),
        ),
        Fact::ImageLarger {
            image,
            image_size,
            size,
        } => Words::new(
            Troubled,
            "ImageLarger",
            format!("size: {size} is less than the {image_size} of Image {image}; ask for more"),
            format!("size: {size} nhỏ hơn {image_size} của Image {image}; hãy tăng dung lượng"),
        ),
        Fact::ImagePending { pools } => Words::new(
            Moving,
            "Fetching",
            format!("being fetched and checked in {}", list(pools)),
            format!("đang được tải và kiểm tra trong {}", list(pools)),
        ),
        Fact::SourceVolumeMissing { volume } => Words::new(
            Troubled,
            "SourceVolumeMissing",
            format!(
                "source.volume: there is no Volume {volume} in this namespace; `kubectl get vol` \
                 lists them"
            ),
            format!(
                "source.volume: không có Volume {volume} trong namespace này; xem `kubectl get vol`"
            ),
        ),
        Fact::SourceVolumeElsewhere { volume, pool } => Words::new(
            Troubled,
            "SourceVolumeElsewhere",
            format!("source.volume: Volume {volume} lies in pool {pool}; use the same pool"),
            format!("source.volume: Volume {volume} nằm ở vùng {pool}; hãy dùng cùng vùng"),
        ),
        Fact::SourceVolumeLarger {
            volume,
            source,
            size,
        } => Words::new(
            Troubled,
            "SourceVolumeLarger",
            format!("size: {size} is less than the {source} of Volume {volume}; ask for more"),
            format!("size: {size} nhỏ hơn {source} của Volume {volume}; hãy tăng dung lượng"),
        ),
        Fact::SourceVolumeNotReady { volume } => Words::new(
            Moving,
            "SourceVolumeNotReady",
            format!("waiting for Volume {volume} to be there"),
            format!("đang chờ Volume {volume} sẵn sàng"),
        ),
        _ => return None,
    })
}

fn volumes(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::SizeInvalid { error } => Words::new(
            Troubled,
            "SizeInvalid",
            error.clone(),
            "kích thước không hợp lệ, ví dụ đúng: 512Mi, 20Gi, 1350G",
        ),
        Fact::Shrinks { from, to } => Words::new(
            Troubled,
            "Shrinks",
            format!("size: a volume may grow, never shrink: {from} is promised, {to} asked for"),
            format!("size: volume chỉ được tăng, không được giảm: đã cấp {from}, yêu cầu {to}"),
        ),
        Fact::Growing { from, to } => Words::new(
            Moving,
            "Growing",
            format!("growing from {from} to {to}"),
            format!("đang tăng từ {from} lên {to}"),
        ),
        Fact::VolumeAttached { vm } => Words::new(
            Settled,
            "Attached",
            format!("there, and attached to {vm}"),
            format!("sẵn sàng, đang gắn vào {vm}"),
        ),
        Fact::LookedFor => Words::new(
            Moving,
            "LookedFor",
            "waiting for its host to say how it stands",
            "đang chờ máy chủ báo tình trạng",
        ),
        Fact::QosInvalid { error } => Words::new(
            Troubled,
            "QosInvalid",
            format!(
                "{error}; give IOPS as a number and bandwidth as bytes a second, such as 100Mi"
            ),
            format!("{error}; ghi IOPS bằng số và băng thông bằng byte mỗi giây, ví dụ 100Mi"),
        ),
        Fact::VolumeErased { certificate } => Words::new(
            Settled,
            "Erased",
            format!("erased; the evidence is ErasureCertificate {certificate}"),
            format!("đã xóa dữ liệu; bằng chứng là ErasureCertificate {certificate}"),
        ),
        Fact::VolumeReleased { note } => Words::new(
            Settled,
            "Released",
            format!("given back: {note}"),
            format!("đã thu hồi: {note}"),
        ),
        _ => return None,
    })
}
