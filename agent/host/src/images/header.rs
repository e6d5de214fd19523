//! What a file says it is by its first bytes, read by us before any program opens it.
//!
//! The form of qcow2 is docs/interop/qcow2.txt of QEMU.

use dc_types::Bytes;
use dc_types::plan::ImageFormat;

use super::ImagesError;

/// As many bytes as are looked at.
pub const LENGTH: usize = 104;

/// Beginnings of files that are no raw disk, and what they are.
const FOREIGN: [(&[u8], &str); 10] = [
    (b"QFI\xfb", "qcow2: say format: qcow2"),
    (b"KDMV", "VMDK: convert it with qemu-img convert"),
    (b"QED\0", "QED: convert it with qemu-img convert"),
    (b"vhdxfile", "VHDX: convert it with qemu-img convert"),
    (b"conectix", "VHD: convert it with qemu-img convert"),
    (b"<<< ", "VDI: convert it with qemu-img convert"),
    (b"\x1f\x8b", "packed with gzip: unpack it first"),
    (b"\xfd7zXZ\0", "packed with xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd: unpack it first"),
    (b"PK\x03\x04", "packed with zip: unpack it first"),
];

/// Incompatible features of qcow2 that we let through: dirty refcounts (bit 0), compression other
/// than zlib (3), extended L2 entries (4). Not: corrupt (1), external data file (2), unknown ones.
const FEATURES: u64 = 0b1_1001;
const FEATURE_CORRUPT: u64 = 1 << 1;
const FEATURE_EXTERNAL: u64 = 1 << 2;

/// Checks the first bytes of a file against the format it is said to have. Gives the size of the
/// disk inside where the format has one of its own.
pub fn check(first: &[u8], format: ImageFormat) -> Result<Option<Bytes>, ImagesError> {
    match format {
        ImageFormat::Raw => check_raw(first).map(|()| None),
        ImageFormat::Qcow2 => check_qcow2(first).map(Some),
    }
}

fn check_raw(first: &[u8]) -> Result<(), ImagesError> {
    match FOREIGN.iter().find(|(magic, _)| first.starts_with(magic)) {
        None => Ok(()),
        Some((_, what)) => Err(ImagesError::FormatMismatch(format!(
            "the image is said to be raw and is {what}"
        ))),
    }
}

fn check_qcow2(first: &[u8]) -> Result<Bytes, ImagesError> {
    let mismatch = |why: String| Err(ImagesError::FormatMismatch(why));
    if !first.starts_with(b"QFI\xfb") {
        let foreign = FOREIGN.iter().find(|(magic, _)| first.starts_with(magic));
        let what = foreign.map_or("not: see qemu-img info, or say format: raw", |(_, what)| {
            what
        });
        return mismatch(format!("the image is said to be qcow2 and is {what}"));
    }
    let header = Header(first);
    let (Some(version), Some(size)) = (header.number_4(4), header.number_8(24)) else {
        return mismatch("the image ends within its header: it is cut off".to_owned());
    };
    if !(2..=3).contains(&version) {
        return mismatch(format!(
            "the image is qcow2 of version {version}, not 2 or 3"
        ));
    }
    if header.number_8(8) != Some(0) {
        return Err(ImagesError::NeedsAnotherFile("a backing file".to_owned()));
    }
    if header.number_4(32) != Some(0) {
        return Err(ImagesError::Encrypted);
    }
    // Version 2 has no features.
    let features = match version {
        2 => 0,
        _ => match header.number_8(72) {
            Some(features) => features,
            None => return mismatch("the image ends within its header: it is cut off".to_owned()),
        },
    };
    if features & FEATURE_EXTERNAL != 0 {
        return Err(ImagesError::NeedsAnotherFile(
            "an external data file".to_owned(),
        ));
    }
    if features & FEATURE_CORRUPT != 0 {
        return mismatch("the image is marked corrupt: see qemu-img check".to_owned());
    }
    if features & !FEATURES != 0 {
        return mismatch(format!(
            "the image has features that are not known here: {features:#x}"
        ));
    }
    Ok(Bytes(size))
}

/// Numbers of a header, most significant byte first.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn number_4(&self, at: usize) -> Option<u32> {
        let bytes = self.0.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    fn number_8(&self, at: usize) -> Option<u64> {
        let bytes = self.0.get(at..at + 8)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qcow2() -> Vec<u8> {
        let mut header = vec![0; LENGTH];
        header[..4].copy_from_slice(b"QFI\xfb");
        header[7] = 3;
        header[24..32].copy_from_slice(&(5u64 << 30).to_be_bytes());
        header
    }

    fn fault(first: &[u8], format: ImageFormat) -> String {
        check(first, format).unwrap_err().to_string()
    }

    #[test]
    fn a_plain_image_is_let_through_with_the_size_of_its_disk() {
        let size = check(&qcow2(), ImageFormat::Qcow2).unwrap();
        assert_eq!(size, Some(Bytes(5 << 30)));
        assert_eq!(check(&[0; 512], ImageFormat::Raw).unwrap(), None);
        assert_eq!(check(&[], ImageFormat::Raw).unwrap(), None);
    }

    #[test]
    fn an_image_that_would_open_another_file_is_refused() {
        let mut backing = qcow2();
        backing[15] = 0x68;
        assert!(fault(&backing, ImageFormat::Qcow2).contains("backing file"));
        let mut external = qcow2();
        external[79] = 1 << 2;
        assert!(fault(&external, ImageFormat::Qcow2).contains("external data file"));
    }

    #[test]
    fn what_is_encrypted_corrupt_unknown_or_cut_off_is_refused() {
        let spoilt: [(usize, u8, &str); 4] = [
            (35, 2, "encrypted"),
            (79, 1 << 1, "corrupt"),
            (75, 1, "not known"),
            (7, 9, "version 9"),
        ];
        for (at, byte, why) in spoilt {
            let mut header = qcow2();
            header[at] = byte;
            let fault = fault(&header, ImageFormat::Qcow2);
            assert!(fault.contains(why), "{fault}");
        }
        for length in [4, 20, 60, 75] {
            assert!(fault(&qcow2()[..length], ImageFormat::Qcow2).contains("cut off"));
        }
    }

    #[test]
    fn another_format_than_was_said_is_named() {
        assert!(fault(&qcow2(), ImageFormat::Raw).contains("say format: qcow2"));
        assert!(fault(b"\x1f\x8b\x08rest", ImageFormat::Raw).contains("gzip"));
        assert!(fault(b"\x1f\x8b\x08rest", ImageFormat::Qcow2).contains("gzip"));
        assert!(fault(&[0; 512], ImageFormat::Qcow2).contains("format: raw"));
    }
}
