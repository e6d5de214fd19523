//! Vietnamese for what hosts say. Agents speak English alone; the reasons that departments and the
//! operating room read most are told here in words of their own.

/// What a reason of an agent means and what to do; `None` for one that is not known here.
pub(super) fn vietnamese(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "ImageChecksumMismatch" => {
            "mã SHA-256 của tệp ảnh không khớp: tệp bị hỏng hoặc nhầm tệp; hãy sửa mã hoặc nguồn"
        }
        "ImageUnreadable" => "không đọc được tệp ảnh; hãy kiểm tra nguồn",
        "ImageTooLarge" => "ảnh vượt giới hạn; nếu đúng, hãy tăng giới hạn của Image",
        "ImageHasBackingFile" => "ảnh cần tệp khác nên bị từ chối; hãy gộp bằng qemu-img convert",
        "ImageEncrypted" => "ảnh bị mã hóa; hãy giải mã bằng qemu-img convert",
        "ImageFormatMismatch" => "định dạng của ảnh không đúng như khai báo",
        "ConversionFailed" => "không chuyển đổi được ảnh",
        "PoolFull" => {
            "vùng lưu trữ đã đầy; hãy xóa volume giữ lại, bỏ ảnh hoặc mở rộng; sẽ tự thử lại"
        }
        "PoolUnknown" => "máy chủ này không có vùng lưu trữ đó; hãy kiểm tra cấu hình agent",
        "PoolUnusable" => "không dùng được vùng lưu trữ; hãy kiểm tra máy chủ",
        "SourceMissing" => "chưa có nguồn để tạo volume trong vùng; sẽ tiếp tục khi có",
        "SizeShrinks" => "volume không bao giờ được giảm dung lượng",
        "SizeBelowSource" => "dung lượng nhỏ hơn nguồn; hãy tăng",
        "VolumeInUse" => "volume sẽ được tăng khi không còn ai dùng; hãy dừng máy ảo",
        "VolumeGrowing" => "đang chờ volume được tăng dung lượng",
        "GrantOutgrown" => {
            "volume đã tăng và đang được mở lại cho máy ảo; máy ảo chờ trong chốc lát"
        }
        "DiskGrows" => "volume đã tăng và máy ảo đang được báo dung lượng mới",
        "DiskPlugs" => "đang gắn hoặc tháo đĩa của máy ảo đang chạy; sẽ tự tiếp tục",
        "DiskHeld" => {
            "hệ điều hành trong máy ảo chưa nhả đĩa cần tháo; hãy ngừng dùng đĩa (umount) trong máy ảo, hoặc \
             khởi động lại máy ảo; volume vẫn thuộc máy ảo cho đến lúc đó"
        }
        "VolumeLost" => {
            "không thấy tệp của volume; không tạo lại. Hãy tìm tệp, hoặc khôi phục từ bản sao lưu"
        }
        "VolumeUnusable" => "không dùng được volume; hãy xử lý trên máy chủ",
        "StillGranted" => "đang chờ thu hồi quyền truy cập cũ vào volume",
        "StaleEpoch" => "quyền truy cập đã cũ và không được dùng lại; cần cấp quyền mới",
        "RestoreWaits" => "volume sẽ được phục hồi khi không còn ai dùng; hãy dừng máy ảo",
        "VolumeRestoring" => "đang chờ volume được phục hồi về bản chụp",
        "HasSnapshots" => "volume còn bản chụp; volume sẽ bị xóa sau khi các bản chụp được xóa",
        "SnapshotLost" => {
            "không thấy bản chụp dù đã tạo; không chụp lại vì sẽ là thời điểm khác. Hãy xóa nó và \
             chụp bản mới"
        }
        "SnapshotCorrupt" => {
            "bản chụp đã bị thay đổi nên không được dùng; hãy xóa nó và dùng bản khác hoặc bản sao \
             lưu"
        }
        "WaitsForSnapshot" => "đang chờ bản chụp của volume",
        "WaitsForVolume" => "đang chờ volume được tạo",
        "WaitsForTurn" => "đang chờ đến lượt sao lưu hoặc khôi phục",
        "Running" => "đang thực hiện",
        "RepositoryLocked" => {
            "kho sao lưu đang bị khóa bởi chương trình khác, hoặc chương trình đó đã dừng chưa quá 30 \
             phút; hãy chờ"
        }
        "RepositoryUnreachable" => {
            "không tới được kho sao lưu; hãy kiểm tra mạng, máy chủ, thư mục; sẽ tự thử lại"
        }
        "RepositoryMissing" => "không thấy kho sao lưu ở nơi đó; hãy xem thư mục đã được gắn chưa",
        "RepositoryFull" => "kho sao lưu đã đầy; hãy giải phóng dung lượng; sẽ tự thử lại",
        "RepositoryRefused" => "kho sao lưu từ chối; hãy kiểm tra quyền và mật khẩu đăng nhập",
        "WrongPassword" => "mật khẩu không mở được kho sao lưu; có thể là kho khác",
        "RepositoryDamaged" | "RepositoryFailed" => {
            "dữ liệu trong kho sao lưu không đúng; hãy chạy restic check"
        }
        "LockLost" => "mất liên lạc với kho quá lâu; sẽ tự làm lại",
        "SnapshotMissing" | "SnapshotUnreadable" => "không đọc được bản chụp của volume",
        "BackupMissing" => "kho không có bản sao lưu hoặc tệp đó",
        "VolumeMissing" | "VolumeUnwritable" => "không ghi được vào volume",
        "VolumeTooSmall" => "volume nhỏ hơn tệp trong bản sao lưu; hãy tạo volume lớn hơn",
        "Unsupported" => "vùng lưu trữ này không làm được việc đó; hãy xem phần tiếng Anh",
        "GrantsUnknown" => {
            "chưa biết ai đang được mở volume; hãy kiểm tra dịch vụ phục vụ vùng lưu trữ (tgtd)"
        }
        "TargetDaemonSilent" => "dịch vụ iSCSI không trả lời; hãy kiểm tra tgtd trên máy chủ",
        "FenceSlow" => "chưa cắt được truy cập cũ; hãy kiểm tra đĩa của vùng; sẽ tự thử lại",
        "StorageFailed" => "thao tác lưu trữ thất bại, sẽ tự thử lại",
        "Working" => "đang thực hiện",
        "CrashLoop" => "máy ảo liên tục bị lỗi; hãy xem nhật ký console",
        "DiskError" => "máy ảo bị treo vì lỗi đĩa; hãy kiểm tra vùng lưu trữ",
        "DiskNotOpened" => "không mở được đĩa của máy ảo; hãy kiểm tra máy chủ lưu trữ",
        "StoppedByGuest" => "máy ảo tự dừng",
        "RestartNeeded" => {
            "thay đổi có hiệu lực ở lần khởi động sau; ghi giá trị khác vào spec.restart để áp \
             dụng ngay"
        }
        "TapLost" => "card mạng của máy ảo bị mất; hãy khởi động lại máy ảo",
        "TapFailed" | "LinksFailed" | "FirewallFailed" | "DhcpFailed" | "ConntrackFailed" => {
            "cấu hình mạng trên máy chủ thất bại, sẽ tự thử lại"
        }
        "LibvirtUnreachable" | "LibvirtTimedOut" => {
            "libvirt không trả lời; hãy kiểm tra libvirtd trên máy chủ"
        }
        "LibvirtRefused" | "LibvirtUnreadable" => "libvirt từ chối yêu cầu; hãy xem phần tiếng Anh",
        "ForeignDomain" => "tên máy ảo đang bị một máy khác ngoài hệ thống chiếm; không động tới",
        "NewerEpoch" => "máy chủ đã nhận yêu cầu mới hơn",
        "MachinesUnknown" | "NetworkUnknown" | "StorageUnknown" | "LookTimedOut" => {
            "máy chủ chưa kiểm tra được tình trạng của mình; sẽ tự thử lại"
        }
        "WaitsForNetwork" | "NetworkMissing" => "đang chờ mạng được thiết lập trên máy chủ",
        "HeldForSnapshot" => "đang tạm giữ máy ảo trong giây lát để chụp volume",
        "Thawing" => "đang mở lại hệ thống tệp sau khi chụp; nếu lâu, hãy khởi động lại máy ảo",
        "Starting" => "đang khởi động",
        "Stopping" => "đang dừng",
        "Releasing" => "đang thu hồi",
        "Waiting" | "Passing" => "đang chờ",
        _ => return None,
    })
}
