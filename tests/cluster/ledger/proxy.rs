//! A line to the store that can be made to lose answers, or to keep requests and deliver them late.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a connection is treated. A connection looks at it again with every piece that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    SwallowAnswers,
    Hold,
}

#[derive(Clone)]
struct Line {
    mode: watch::Sender<Mode>,
    /// Connections of an older generation are cut from their client.
    generation: watch::Sender<u64>,
    held: Arc<AtomicUsize>,
    /// Bytes that the store answered on connections which were cut from their client.
    late: Arc<AtomicUsize>,
}

pub struct Proxy {
    url: String,
    line: Line,
}

impl Proxy {
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let line = Line {
            mode: watch::Sender::new(Mode::Pass),
            generation: watch::Sender::new(0),
            held: Arc::default(),
            late: Arc::default(),
        };
        let accepting = line.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target.clone(), accepting.clone()));
            }
        });
        Self { url, line }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn swallow_answers(&self) {
        self.line.mode.send_replace(Mode::SwallowAnswers);
    }

    /// Nothing arrives on either side, and nothing is lost.
    pub fn hold(&self) {
        self.line.mode.send_replace(Mode::Hold);
    }

    pub fn held_bytes(&self) -> usize {
        self.line.held.load(Ordering::Relaxed)
    }

    /// What was held arrives.
    pub fn deliver(&self) {
        self.line.mode.send_replace(Mode::Pass);
    }

    /// Every connection breaks; new ones pass.
    pub fn cut_and_pass(&self) {
        self.line.mode.send_replace(Mode::Pass);
        self.line
            .generation
            .send_modify(|generation| *generation += 1);
    }

    /// Clients see their connections break; what is held stays held; new connections pass.
    pub fn cut_clients_and_pass_new(&self) {
        self.line
            .generation
            .send_modify(|generation| *generation += 1);
    }

    /// Bytes of answers to what was delivered after its client had gone.
    pub fn late_answers(&self) -> usize {
        self.line.late.load(Ordering::Relaxed)
    }
}

async fn carry(client: TcpStream, target: String, line: Line) {
    let born = *line.generation.borrow();
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (client_read, client_write) = client.into_split();
    // The store's side stays open until the store has answered all of it.
    let (server_read, mut server_write) = server.into_split();
    let requests = requests(client_read, &mut server_write, line.clone(), born);
    let answers = answers(server_read, client_write, line, born);
    tokio::join!(requests, answers);
}

/// New connections are not held: only those that were there when holding began.
async fn wait_passing(line: &Line, born: u64) {
    let mut mode = line.mode.subscribe();
    let cut = *line.generation.borrow() > 0;
    if cut && born == *line.generation.borrow() {
        return;
    }
    let _ = mode.wait_for(|mode| *mode != Mode::Hold).await;
}

async fn wait_cut(line: &Line, born: u64) {
    let mut generation = line.generation.subscribe();
    let _ = generation.wait_for(|now| *now > born).await;
}

/// Reads on after a cut: what the client had sent before it noticed is what comes late.
async fn requests(mut from: OwnedReadHalf, to: &mut OwnedWriteHalf, line: Line, born: u64) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        if *line.mode.borrow() == Mode::Hold {
            line.held.fetch_add(read, Ordering::Relaxed);
        }
        wait_passing(&line, born).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, to: OwnedWriteHalf, line: Line, born: u64) {
    let mut buffer = vec![0; 64 << 10];
    // Dropped at the cut, so that the client sees the line break; the store does not.
    let mut to = Some(to);
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = wait_cut(&line, born), if to.is_some() => {
                to = None;
                continue;
            }
        };
        if read == 0 {
            return;
        }
        let Some(client) = &mut to else {
            line.late.fetch_add(read, Ordering::Relaxed);
            continue;
        };
        if *line.mode.borrow() == Mode::SwallowAnswers {
            continue;
        }
        let written = tokio::select! {
            written = async {
                wait_passing(&line, born).await;
                client.write_all(&buffer[..read]).await
            } => written,
            () = wait_cut(&line, born) => {
                to = None;
                continue;
            }
        };
        if written.is_err() {
            return;
        }
    }
}
