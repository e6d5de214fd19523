//! The seed as a disk image: a FAT file system labelled CIDATA, made in memory.
//!
//! FAT without a partition table is what cloud-init's NoCloud looks for, and guests without an
//! ISO 9660 driver read it too.

use std::io::{Cursor, Write};

use dc_agent_core::vm::seed::Seed;
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use thiserror::Error;

/// Room for FATs, root folder and rounding; what is left stays zero, and so sparse.
const OVERHEAD: usize = 256 << 10;
const GRAIN: usize = 512 << 10;
/// Kubernetes refuses objects larger than this many bytes, so no user-data is.
const USER_DATA_MAX: usize = 1 << 20;

#[derive(Debug, Error)]
pub enum ImageError {
    #[error("its user-data has {0} bytes, more than 1 MiB: fetch large parts from the guest")]
    TooLarge(usize),
    #[error("the file system cannot be made: {0}")]
    Fat(#[source] std::io::Error),
}

/// The bytes of the image.
pub fn seed_image(seed: &Seed) -> Result<Vec<u8>, ImageError> {
    let files = [
        ("meta-data", seed.meta_data.as_bytes()),
        ("user-data", seed.user_data.0.as_bytes()),
        ("network-config", seed.network_config.as_bytes()),
    ];
    if seed.user_data.0.len() > USER_DATA_MAX {
        return Err(ImageError::TooLarge(seed.user_data.0.len()));
    }
    let content: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let size = (content + OVERHEAD).next_multiple_of(GRAIN);
    write_files(vec![0; size], &files).map_err(ImageError::Fat)
}

fn write_files(image: Vec<u8>, files: &[(&str, &[u8])]) -> std::io::Result<Vec<u8>> {
    let mut disk = Cursor::new(image);
    let label = *b"CIDATA     ";
    fatfs::format_volume(&mut disk, FormatVolumeOptions::new().volume_label(label))?;
    let file_system = FileSystem::new(&mut disk, FsOptions::new())?;
    for (name, bytes) in files {
        let mut file = file_system.root_dir().create_file(name)?;
        file.write_all(bytes)?;
        file.flush()?;
    }
    file_system.unmount()?;
    Ok(disk.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_types::plan::Secret;
    use std::io::Read;

    fn seed(user_data: &str) -> Seed {
        Seed {
            user_data: Secret(user_data.to_owned()),
            meta_data: "instance-id: \"1\"\n".into(),
            network_config: "version: 2\nethernets: {}\n".into(),
        }
    }

    #[test]
    fn the_image_is_labelled_and_holds_the_three_files_whole() {
        let text = "#cloud-config\n# xin chào <>&'\"\n".repeat(2000);
        let seed = seed(&text);
        let image = seed_image(&seed).unwrap();
        let disk = FileSystem::new(Cursor::new(image), FsOptions::new()).unwrap();
        assert_eq!(disk.volume_label(), "CIDATA");
        let label = disk.read_volume_label_from_root_dir().unwrap();
        assert_eq!(label.as_deref(), Some("CIDATA"));
        for (name, expected) in [
            ("user-data", &text),
            ("meta-data", &seed.meta_data),
            ("network-config", &seed.network_config),
        ] {
            let mut read = String::new();
            let mut file = disk.root_dir().open_file(name).unwrap();
            file.read_to_string(&mut read).unwrap();
            assert_eq!(&read, expected, "{name}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert_eq!(
            seed_image(&seed("a")).unwrap(),
            seed_image(&seed("a")).unwrap()
        );
    }

    #[test]
    fn the_largest_user_data_fits_and_a_larger_one_is_told() {
        assert!(seed_image(&seed(&"x".repeat(USER_DATA_MAX))).is_ok());
        let error = seed_image(&seed(&"x".repeat(USER_DATA_MAX + 1))).unwrap_err();
        assert!(error.to_string().contains("1 MiB"), "{error}");
    }
}
