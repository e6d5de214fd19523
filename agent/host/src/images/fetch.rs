//! An image's source, read once: counted, hashed and written as it comes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use dc_agent_core::storage::ImageProgress;
use dc_types::Bytes;
use dc_types::plan::{ImageItem, ImageSource};
use futures::StreamExt;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::ImagesError;
use super::header;

const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// A source that says nothing for so long is given up.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
const REDIRECTS: usize = 5;
/// Read from a file at once.
const CHUNK: usize = 1 << 20;

/// The source's name for messages.
pub fn name_of(source: &ImageSource) -> String {
    match source {
        ImageSource::File(name) => format!("image file {name}"),
        ImageSource::Http(url) => url.clone(),
    }
}

/// Reads the whole source into `to`, which is flushed, and checks its checksum. Gives its first
/// bytes. `images` is the folder of files; `told` is called as it goes.
pub async fn fetch(
    item: &ImageItem,
    images: &Path,
    to: &mut (dyn AsyncWrite + Send + Unpin),
    told: &(dyn Fn(ImageProgress) + Send + Sync),
) -> Result<Vec<u8>, FetchError> {
    let mut sink = Sink {
        item,
        to,
        told,
        of: None,
        done: 0,
        first: Vec::with_capacity(header::LENGTH),
        hash: Sha256::new(),
    };
    match &item.source {
        ImageSource::File(name) => from_file(images, name, &mut sink).await?,
        ImageSource::Http(url) => from_http(url, &mut sink).await?,
    }
    sink.end().await
}

/// Why a source was not read to its end.
#[derive(Debug)]
pub enum FetchError {
    Source(ImagesError),
    /// The pool could not take it.
    Write(io::Error),
}

impl From<ImagesError> for FetchError {
    fn from(error: ImagesError) -> Self {
        Self::Source(error)
    }
}

/// Where the bytes go, whatever they come from.
struct Sink<'a> {
    item: &'a ImageItem,
    to: &'a mut (dyn AsyncWrite + Send + Unpin),
    told: &'a (dyn Fn(ImageProgress) + Send + Sync),
    of: Option<Bytes>,
    done: u64,
    first: Vec<u8>,
    hash: Sha256,
}

impl Sink<'_> {
    fn too_large(&self) -> ImagesError {
        ImagesError::TooLarge {
            source_name: name_of(&self.item.source),
            limit: self.item.max_download,
        }
    }

    fn unreadable(&self, why: impl ToString) -> ImagesError {
        ImagesError::Unreadable {
            source_name: name_of(&self.item.source),
            why: why.to_string(),
        }
    }

    /// What the source says of its length is used to give up early, and for progress.
    fn expect(&mut self, length: Option<u64>) -> Result<(), ImagesError> {
        self.of = length.map(Bytes);
        match length {
            Some(length) if length > self.item.max_download.0 => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.done += bytes.len() as u64;
        if self.done > self.item.max_download.0 {
            return Err(self.too_large().into());
        }
        let wanting = header::LENGTH.saturating_sub(self.first.len());
        self.first.extend(bytes.iter().take(wanting));
        self.hash.update(bytes);
        self.to.write_all(bytes).await.map_err(FetchError::Write)?;
        (self.told)(ImageProgress::Reading {
            done: Bytes(self.done),
            of: self.of,
        });
        Ok(())
    }

    async fn end(self) -> Result<Vec<u8>, FetchError> {
        self.to.flush().await.map_err(FetchError::Write)?;
        let is = hex(&self.hash.finalize());
        if is != self.item.sha256 {
            return Err(FetchError::Source(ImagesError::ChecksumMismatch {
                source_name: name_of(&self.item.source),
                is,
                asked: self.item.sha256.clone(),
            }));
        }
        Ok(self.first)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn from_file(images: &Path, name: &str, sink: &mut Sink<'_>) -> Result<(), FetchError> {
    let (images, owned) = (images.to_owned(), name.to_owned());
    let opened = crate::drivers::folder::blocking(move || open_beneath(&images, &owned)).await;
    let file = opened.map_err(|error| sink.unreadable(error))?;
    let metadata = file.metadata().map_err(|error| sink.unreadable(error))?;
    if !metadata.is_file() {
        return Err(sink.unreadable("it is not a plain file").into());
    }
    sink.expect(Some(metadata.len()))?;
    let mut file = Some(file);
    loop {
        let mut taken = file
            .take()
            .ok_or_else(|| sink.unreadable("it was closed"))?;
        let read = crate::drivers::folder::blocking(move || {
            let mut buffer = vec![0; CHUNK];
            let read = taken.read(&mut buffer)?;
            buffer.truncate(read);
            io::Result::Ok((taken, buffer))
        });
        let (back, bytes) = read.await.map_err(|error| sink.unreadable(error))?;
        if bytes.is_empty() {
            return Ok(());
        }
        sink.take(&bytes).await?;
        file = Some(back);
    }
}

/// Opens a file that lies below a folder, whatever its name and the links on its way say.
fn open_beneath(folder: &Path, name: &str) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let folder: OwnedFd = nix::fcntl::openat(
        AT_FDCWD,
        folder,
        flags | OFlag::O_DIRECTORY,
        nix::sys::stat::Mode::empty(),
    )?;
    // Not blocking: a pipe would hold us up before we see that it is one.
    let how = OpenHow::new()
        .flags(flags | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(openat2(&folder, name, how)?.into())
}

async fn from_http(url: &str, sink: &mut Sink<'_>) -> Result<(), FetchError> {
    let client = client().map_err(|error| sink.unreadable(in_full(&error)))?;
    let asked = client.get(url).send().await;
    let answer = asked
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| sink.unreadable(in_full(&error)))?;
    sink.expect(answer.content_length())?;
    let mut stream = answer.bytes_stream();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| sink.unreadable(in_full(&error)))?;
        sink.take(&bytes).await?;
    }
    Ok(())
}

fn client() -> reqwest::Result<reqwest::Client> {
    // Somebody else of this process may have chosen it already; there is one choice only.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("dc-agent/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(SILENCE_LIMIT)
        .redirect(reqwest::redirect::Policy::limited(REDIRECTS))
        .build()
}

/// An error with all its causes: the first one of reqwest's says little.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
