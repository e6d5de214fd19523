//! The target daemon of this machine, tgtd, over its control socket.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use dc_types::plan::Chap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, Notify};

use super::wire::{ANSWER_HEADER, Mode, Op, Request, decode_header, errors, reason};
use super::{Connection, Deleted, TargetSeen, Targets, TargetsError, Tid, listing};
use crate::drivers::cutoff::effect;
use crate::drivers::folder::blocking;
use crate::drivers::folder::layout::write_durably;
use crate::tools::TgtControl;

/// Where tgtd listens when nothing else is said (`TGT_IPC_SOCKET`).
const DEFAULT_SOCKET: &str = "/var/run/tgtd/socket";

/// tgtd answers from its one thread, which waits for no disk; a login storm may hold it up.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How soon a daemon that was started again is noticed.
const FOLLOW_PAUSE: Duration = Duration::from_millis(250);

/// The LUN that is the volume. tgtd makes LUN 0 itself, a controller.
const LUN: u64 = 1;

/// Seconds are counted from the end of 2023, so that they fit tgtd's numbers for 68 years.
const CLOCK_BEGINS: i64 = 1_704_000_000;

pub struct RealTargets {
    socket: PathBuf,
    counter: PathBuf,
    /// Held while a number is taken.
    counting: Mutex<()>,
}

impl RealTargets {
    /// `state` is a folder of the agent's own; it is made when it is needed.
    #[must_use]
    pub fn new(control: &TgtControl, state: &Path) -> Self {
        let socket = control.socket.as_deref();
        let mut name = socket
            .unwrap_or(Path::new(DEFAULT_SOCKET))
            .as_os_str()
            .to_owned();
        name.push(format!(".{}", control.number));
        Self {
            socket: PathBuf::from(name),
            counter: state.join("tid"),
            counting: Mutex::default(),
        }
    }

    /// Sends a request; the answer's text, or tgtd's error number.
    async fn ask(&self, request: &Request) -> Result<Result<String, u32>, TargetsError> {
        let sent = request.encode()?;
        if request.op != Op::Show {
            effect();
        }
        match tokio::time::timeout(ANSWER_LIMIT, self.exchange(&sent)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err(TargetsError::Nonsense {
                    what: request.what(),
                    why: error.to_string(),
                })
            }
            Ok(Err(source)) => Err(TargetsError::Unreachable {
                socket: self.socket.clone(),
                source,
            }),
            Err(_) => Err(TargetsError::NoAnswer {
                what: request.what(),
                limit_ms: ANSWER_LIMIT.as_millis(),
            }),
        }
    }

    async fn exchange(&self, sent: &[u8]) -> io::Result<Result<String, u32>> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(sent).await?;
        let mut header = [0; ANSWER_HEADER];
        stream.read_exact(&mut header).await?;
        let nonsense = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let (error, length) = decode_header(header).ok_or_else(|| nonsense("a bad length"))?;
        if error != 0 {
            return Ok(Err(error));
        }
        let mut text = vec![0; length];
        stream.read_exact(&mut text).await?;
        let text = String::from_utf8(text).map_err(|_| nonsense("it is not a text"))?;
        Ok(Ok(text))
    }

    /// Sends a request of which nothing but success will do, apart from `fine` errors, which say
    /// that it was done already.
    async fn order(&self, request: &Request, fine: &[u32]) -> Result<String, TargetsError> {
        match self.ask(request).await? {
            Ok(text) => Ok(text),
            Err(number) if fine.contains(&number) => Ok(String::new()),
            Err(number) => Err(TargetsError::Refused {
                what: request.what(),
                reason: reason(number),
            }),
        }
    }

    /// The last number that was taken. Where that is not known it is the clock's: the daemon may
    /// still know numbers from before, and they were not handed out once a second.
    fn read_counter(path: &Path) -> io::Result<u32> {
        match fs::read_to_string(path) {
            Ok(text) => text.trim().parse().map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seconds = jiff::Timestamp::now().as_second() - CLOCK_BEGINS;
                Ok(u32::try_from(seconds).unwrap_or(0))
            }
            Err(error) => Err(error),
        }
    }
}

fn number(tid: Tid) -> i32 {
    // Never above: numbers are handed out one by one from 1.
    i32::try_from(tid.0).unwrap_or(i32::MAX)
}

#[async_trait]
impl Targets for RealTargets {
    async fn list_targets(&self) -> Result<Vec<TargetSeen>, TargetsError> {
        let request = Request::new(Mode::Target, Op::Show, -1);
        let text = self.order(&request, &[]).await?;
        listing::parse_targets(&text).map_err(|why| TargetsError::Nonsense {
            what: request.what(),
            why,
        })
    }

    async fn reserve_tid(&self) -> Result<Tid, TargetsError> {
        let _held = self.counting.lock().await;
        let listed = self.list_targets().await?;
        let highest = listed.iter().map(|target| target.tid.0).max().unwrap_or(0);
        let path = self.counter.clone();
        let taken = blocking(move || {
            let tid = Self::read_counter(&path)?.max(highest) + 1;
            write_durably(&path, tid.to_string().as_bytes())?;
            Ok(tid)
        });
        let taken: io::Result<u32> = taken.await;
        taken.map(Tid).map_err(|source| TargetsError::Counter {
            path: self.counter.clone(),
            source,
        })
    }

    async fn create_target(&self, tid: Tid, name: &str) -> Result<(), TargetsError> {
        let request = Request::new(Mode::Target, Op::New, number(tid));
        let request = request.text(format!("targetname={name}"));
        self.order(&request, &[]).await.map(drop)
    }

    async fn create_lun(&self, tid: Tid, file: &Path, serial: &str) -> Result<(), TargetsError> {
        let mut new = Request::new(Mode::LogicalUnit, Op::New, number(tid));
        new.lun = LUN;
        let Some(path) = file.to_str().filter(|path| !path.contains(',')) else {
            return Err(TargetsError::Nonsense {
                what: new.what(),
                why: format!("{} cannot be said to it", file.display()),
            });
        };
        let new = new.text(format!("path={path},bstype=rdwr"));
        self.order(&new, &[]).await?;
        let mut update = Request::new(Mode::LogicalUnit, Op::Update, number(tid));
        update.lun = LUN;
        // Thin: UNMAP gives blocks back. The id is the volume's under every target it ever has.
        let text = format!("targetOps thin_provisioning=1,scsi_sn={serial},scsi_id={serial},");
        self.order(&update.text(text), &[]).await.map(drop)
    }

    async fn create_account(&self, chap: &Chap) -> Result<(), TargetsError> {
        // One that is there has a secret we cannot see.
        self.delete_account(&chap.user).await?;
        let request = Request::new(Mode::Account, Op::New, -1);
        let request = request.text(format!("user={},password={}", chap.user, chap.secret.0));
        self.order(&request, &[]).await.map(drop)
    }

    async fn bind_account(&self, tid: Tid, user: &str) -> Result<(), TargetsError> {
        let request = Request::new(Mode::Account, Op::Bind, number(tid));
        let request = request.text(format!("user={user}"));
        self.order(&request, &[]).await.map(drop)
    }

    async fn delete_account(&self, user: &str) -> Result<(), TargetsError> {
        let request = Request::new(Mode::Account, Op::Delete, -1);
        let request = request.text(format!("user={user}"));
        self.order(&request, &[errors::NO_USER]).await.map(drop)
    }

    async fn allow_initiator(&self, tid: Tid, initiator: &str) -> Result<(), TargetsError> {
        let request = Request::new(Mode::Target, Op::Bind, number(tid));
        let request = request.text(format!("initiator-name={initiator}"));
        self.order(&request, &[errors::ACL_EXISTS]).await.map(drop)
    }

    async fn forbid_initiator(&self, tid: Tid, initiator: &str) -> Result<(), TargetsError> {
        // An entry that begins with a letter is a name; whoever put an address there, it goes too.
        let kind = match initiator.starts_with("iqn.") {
            true => "initiator-name",
            false => "initiator-address",
        };
        let request = Request::new(Mode::Target, Op::Unbind, number(tid));
        let request = request.text(format!("{kind}={initiator}"));
        let fine = [errors::ACL_MISSING, errors::NO_TARGET];
        self.order(&request, &fine).await.map(drop)
    }

    async fn list_connections(&self, tid: Tid) -> Result<Vec<Connection>, TargetsError> {
        let request = Request::new(Mode::Connection, Op::Show, number(tid));
        let text = self.order(&request, &[errors::NO_TARGET]).await?;
        Ok(listing::parse_connections(&text))
    }

    async fn delete_connection(&self, tid: Tid, of: Connection) -> Result<(), TargetsError> {
        let mut request = Request::new(Mode::Connection, Op::Delete, number(tid));
        request.session = of.session;
        request.connection = of.connection;
        let fine = [errors::NO_SESSION, errors::NO_CONNECTION, errors::NO_TARGET];
        self.order(&request, &fine).await.map(drop)
    }

    async fn delete_target(&self, tid: Tid) -> Result<Deleted, TargetsError> {
        let request = Request::new(Mode::Target, Op::Delete, number(tid));
        match self.ask(&request).await? {
            Ok(_) | Err(errors::NO_TARGET) => Ok(Deleted::Gone),
            Err(errors::TARGET_ACTIVE | errors::LUN_ACTIVE) => Ok(Deleted::StillActive),
            Err(number) => Err(TargetsError::Refused {
                what: request.what(),
                reason: reason(number),
            }),
        }
    }

    /// A connection that asks nothing stays open for as long as the daemon runs.
    async fn follow(&self, changed: &Notify) {
        loop {
            if let Ok(mut stream) = UnixStream::connect(&self.socket).await {
                changed.notify_one();
                // Whatever this gives, the connection has ended.
                let _ = stream.read(&mut [0]).await;
                changed.notify_one();
            }
            tokio::time::sleep(FOLLOW_PAUSE).await;
        }
    }
}
