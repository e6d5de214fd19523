//! The client's side of the Network Block Device protocol, over a local socket: read, write, zero
//! and flush, one request at a time on each connection.
//!
//! Source: the protocol's own description (NetworkBlockDevice/nbd, doc/proto.md), "fixed newstyle"
//! negotiation with `NBD_OPT_GO` and simple replies. The crates that are published serve, or read
//! and write without zeroing.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// Fixed newstyle, and no padding after the negotiation.
const CLIENT_FLAGS: u32 = 0b11;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const INFO_EXPORT: u16 = 0;
/// An answer to the negotiation is some bytes; more is somebody else.
const LONGEST_ANSWER: u32 = 4096;

#[derive(Clone, Copy)]
#[repr(u16)]
enum Command {
    Read = 0,
    Write = 1,
    Flush = 3,
    /// What lies whole in it may become a hole.
    WriteZeroes = 6,
}

/// One connection, past its negotiation.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    /// Of the export, in bytes.
    pub size: u64,
    cookie: u64,
}

impl Connection {
    pub async fn open(socket: &Path, export: &str) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket).await?;
        if stream.read_u64().await? != MAGIC || stream.read_u64().await? != OPTION_MAGIC {
            return Err(odd("it is no block server"));
        }
        let _server_flags = stream.read_u16().await?;
        let size = negotiate(&mut stream, export).await?;
        Ok(Self {
            stream,
            size,
            cookie: 0,
        })
    }

    pub async fn read(&mut self, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        self.request(Command::Read, offset, length, &[]).await?;
        let mut bytes = vec![0; length as usize];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    pub async fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.request(Command::Write, offset, length, bytes).await
    }

    /// Not a trim, which is a hint: librbd leaves out what is not aligned to 64 KiB.
    pub async fn zero(&mut self, offset: u64, length: u32) -> io::Result<()> {
        self.request(Command::WriteZeroes, offset, length, &[])
            .await
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        self.request(Command::Flush, 0, 0, &[]).await
    }

    /// Sends a request and takes the head of its answer.
    async fn request(
        &mut self,
        command: Command,
        offset: u64,
        length: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        self.cookie += 1;
        let mut head = Vec::with_capacity(28);
        head.extend(REQUEST_MAGIC.to_be_bytes());
        head.extend(0_u16.to_be_bytes());
        head.extend((command as u16).to_be_bytes());
        head.extend(self.cookie.to_be_bytes());
        head.extend(offset.to_be_bytes());
        head.extend(length.to_be_bytes());
        self.stream.write_all(&head).await?;
        self.stream.write_all(payload).await?;
        let magic = self.stream.read_u32().await?;
        let error = self.stream.read_u32().await?;
        let cookie = self.stream.read_u64().await?;
        if magic != REPLY_MAGIC || cookie != self.cookie {
            return Err(odd("the answer is to another question"));
        }
        match i32::try_from(error).map_err(io::Error::other)? {
            0 => Ok(()),
            error => Err(Errno::from_raw(error).into()),
        }
    }
}

/// Asks for the export; gives its size.
async fn negotiate(stream: &mut UnixStream, export: &str) -> io::Result<u64> {
    let name = export.as_bytes();
    let name_length = u32::try_from(name.len()).map_err(io::Error::other)?;
    let mut ask = Vec::new();
    ask.extend(CLIENT_FLAGS.to_be_bytes());
    ask.extend(OPTION_MAGIC.to_be_bytes());
    ask.extend(OPTION_GO.to_be_bytes());
    // The name with its length, and that nothing more is asked about the export.
    ask.extend((4 + name_length + 2).to_be_bytes());
    ask.extend(name_length.to_be_bytes());
    ask.extend(name);
    ask.extend(0_u16.to_be_bytes());
    stream.write_all(&ask).await?;
    let mut size = None;
    loop {
        let magic = stream.read_u64().await?;
        let _option = stream.read_u32().await?;
        let kind = stream.read_u32().await?;
        let length = stream.read_u32().await?;
        if magic != OPTION_REPLY_MAGIC || length > LONGEST_ANSWER {
            return Err(odd("its answer makes no sense"));
        }
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).await?;
        match kind {
            REPLY_ACK => return size.ok_or_else(|| odd("it does not tell the size")),
            REPLY_INFO => size = export_size(&body).or(size),
            _ => return Err(odd("it does not have the export")),
        }
    }
}

/// The size of an export, from the one kind of answer that tells it.
fn export_size(body: &[u8]) -> Option<u64> {
    let (kind, rest) = body.split_first_chunk()?;
    let size = rest.first_chunk()?;
    (u16::from_be_bytes(*kind) == INFO_EXPORT).then(|| u64::from_be_bytes(*size))
}

fn odd(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
