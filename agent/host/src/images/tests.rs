//! Fetching, from files and from a small server on the loopback address.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use dc_agent_core::storage::ImageProgress;
use dc_types::plan::{ImageFormat, ImageItem, ImageSource};
use dc_types::{Bytes, ImageUid, PoolName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::ImagesError;
use super::fetch::{FetchError, fetch};

/// SHA-256 of "disk".
const SHA: &str = "1044dec7206e8d7c9fbb4ae8f766668406d2567fc7fc1a160a9d4700fcf8f8e9";

fn item(source: ImageSource, sha256: &str) -> ImageItem {
    ImageItem {
        image: ImageUid(Uuid::from_u128(1)),
        pool: PoolName::new("p1").unwrap(),
        source,
        sha256: sha256.into(),
        format: ImageFormat::Raw,
        max_download: Bytes(1000),
        max_virtual: Bytes(1000),
    }
}

fn file(name: &str) -> ImageSource {
    ImageSource::File(name.into())
}

async fn read(item: &ImageItem, images: &Path) -> Result<Vec<u8>, ImagesError> {
    let mut to = Vec::new();
    match fetch(item, images, &mut to, &|_| {}).await {
        Ok(_) => Ok(to),
        Err(FetchError::Source(error)) => Err(error),
        Err(FetchError::Write(error)) => panic!("a vector takes everything: {error}"),
    }
}

/// Answers every request with the same bytes.
async fn serve(answer: impl Into<String>) -> ImageSource {
    let answer = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            if stream.read(&mut asked).await.is_ok() {
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    ImageSource::Http(format!("http://{address}/disk.raw"))
}

#[tokio::test]
async fn a_file_is_read_hashed_and_told_of() {
    let images = tempfile::tempdir().unwrap();
    fs::create_dir(images.path().join("debian")).unwrap();
    fs::write(images.path().join("debian/12.raw"), "disk").unwrap();
    let told = Mutex::new(Vec::new());
    let mut to = Vec::new();
    let item = item(file("debian/12.raw"), SHA);
    let tell = |at| told.lock().unwrap().push(at);
    let first = fetch(&item, images.path(), &mut to, &tell);
    assert_eq!(first.await.unwrap(), b"disk");
    assert_eq!(to, b"disk");
    let last = ImageProgress::Reading {
        done: Bytes(4),
        of: Some(Bytes(4)),
    };
    assert_eq!(told.into_inner().unwrap(), [last]);
}

#[tokio::test]
async fn another_checksum_is_told_with_both() {
    let images = tempfile::tempdir().unwrap();
    fs::write(images.path().join("a"), "dusk").unwrap();
    let error = read(&item(file("a"), SHA), images.path())
        .await
        .unwrap_err();
    assert!(matches!(error, ImagesError::ChecksumMismatch { .. }));
    let told = error.to_string();
    assert!(
        told.contains(SHA) && told.contains("image file a"),
        "{told}"
    );
}

#[tokio::test]
async fn nothing_outside_the_images_folder_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    fs::create_dir(&images).unwrap();
    fs::write(folder.path().join("secret"), "disk").unwrap();
    std::os::unix::fs::symlink("../secret", images.join("link")).unwrap();
    std::os::unix::fs::symlink(folder.path(), images.join("up")).unwrap();
    nix::unistd::mkfifo(&images.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    for name in ["../secret", "link", "up/secret", "pipe", "missing", "."] {
        let error = read(&item(file(name), SHA), &images).await.unwrap_err();
        assert!(
            matches!(error, ImagesError::Unreadable { .. }),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn reading_stops_at_the_limit() {
    let images = tempfile::tempdir().unwrap();
    fs::write(images.path().join("a"), [0; 1001]).unwrap();
    let error = read(&item(file("a"), SHA), images.path())
        .await
        .unwrap_err();
    assert!(matches!(error, ImagesError::TooLarge { .. }), "{error}");
    // A server that does not say how much comes.
    let zeros = "0".repeat(500);
    let endless = serve(format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1f4\r\n{zeros}\r\n"
    ))
    .await;
    let mut small = item(endless, SHA);
    small.max_download = Bytes(100);
    let error = read(&small, images.path()).await.unwrap_err();
    assert!(matches!(error, ImagesError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn an_address_is_read_and_what_it_answers_otherwise_is_told() {
    let images = tempfile::tempdir().unwrap();
    let good = serve("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndisk").await;
    assert_eq!(
        read(&item(good, SHA), images.path()).await.unwrap(),
        b"disk"
    );
    let cases = [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "404"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ndisk", "body"),
        ("nonsense", "invalid"),
    ];
    for (answer, why) in cases {
        let source = serve(answer).await;
        let error = read(&item(source, SHA), images.path()).await.unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, ImagesError::Unreadable { .. }), "{told}");
        assert!(told.contains(why), "{told}");
    }
    let nobody = ImageSource::Http("http://127.0.0.1:1/disk.raw".into());
    let error = read(&item(nobody, SHA), images.path()).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}
