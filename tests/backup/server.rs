//! restic's own server: append-only, TLS, a user for each department.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;

use dc_backup::blocks::BLOCK;
use dc_backup::store::{Kind, RestAddress, RestStore, Store, StoreError};
use dc_backup::{Access, BackupError, Id, Repository};
use dc_lab::cache::Cache;
use dc_lab::toolbox::{Tool, ensure_tool};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::{TempDir, tempdir};

use crate::restic::Restic;
use crate::site::{Disk, MIB, PASSWORD, assert_same, ensure, hex, job, noise, password, run};

const USERS: [&str; 2] = ["so-y-te", "so-gddt"];

fn login(user: &str) -> String {
    format!("login-of-{user}")
}

/// A server that runs until the test ends.
struct Server {
    child: Child,
    /// Kept open: it dies of a pipe that nobody reads.
    _said: BufReader<ChildStderr>,
    folder: TempDir,
    url: String,
}

impl Server {
    fn start() -> Self {
        let folder = tempdir().unwrap();
        certify(folder.path());
        let users = USERS.map(|user| format!("{user}:{}\n", bcrypt::hash(login(user), 4).unwrap()));
        fs::write(folder.path().join("htpasswd"), users.concat()).unwrap();
        let program = ensure_tool(&Cache::from_env().unwrap(), Tool::RestServer).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut child = Command::new(program)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--append-only",
                "--private-repos",
            ])
            .args([
                "--path",
                &at("repositories"),
                "--htpasswd-file",
                &at("htpasswd"),
            ])
            .args([
                "--tls",
                "--tls-cert",
                &at("server.crt"),
                "--tls-key",
                &at("server.key"),
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "the server ended");
            if let Some((_, address)) = line.split_once("start server on ") {
                break address.trim();
            }
        };
        let url = format!("https://{address}");
        Self {
            child,
            _said: said,
            folder,
            url,
        }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    fn address(&self, user: &str, repository: &str) -> RestAddress {
        RestAddress {
            url: format!("{}/{repository}", self.url),
            user: user.to_owned(),
            password: login(user),
            ca_pem: fs::read_to_string(self.ca()).unwrap(),
        }
    }

    fn store(&self, user: &str) -> Arc<dyn Store> {
        Arc::new(RestStore::new(self.address(user, user)).unwrap())
    }

    fn restic(&self, user: &str) -> Restic {
        let host = self.url.strip_prefix("https://").unwrap();
        Restic {
            repository: format!("rest:https://{user}:{}@{host}/{user}/", login(user)),
            password: PASSWORD.to_owned(),
            ca: Some(self.ca()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn certify(folder: &Path) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = ca.self_signed(&ca_key).unwrap().pem();
    fs::write(folder.join("ca.crt"), certificate).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let signed = server.signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("server.crt"), signed.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}

#[test]
fn an_append_only_server_takes_backups_and_lets_nothing_be_removed() {
    let (server, out) = (Server::start(), tempdir().unwrap());
    let store = server.store("so-y-te");
    let repository = ensure(&store);
    ensure(&store);
    let mut root = Disk::new(noise(24 * MIB));
    let first = run(&repository, &job(0, &[("root", &root)], None))
        .unwrap()
        .backup;
    root.take_read();
    let changed = vec![root.write(BLOCK, 10)];
    let next = job(1, &[("root", &root)], Some((first, vec![changed])));
    let second = run(&repository, &next).unwrap().backup;
    assert_eq!(root.take_read(), BLOCK);
    assert_eq!(store.list(Kind::Lock).unwrap(), []);

    let restic = server.restic("so-y-te");
    restic.check();
    restic.restore(&hex(second), &out.path().join("restic"));
    assert_same(&out.path().join("restic"), "root.raw", &root.bytes);
    repository
        .restore(Access::Locked, second, &out.path().join("ours"))
        .unwrap();
    assert_same(&out.path().join("ours"), "root.raw", &root.bytes);

    let refused = repository.forget(&[first]).unwrap_err();
    let is_refused = matches!(refused, BackupError::Store(StoreError::Refused { .. }));
    assert!(is_refused, "{refused:?}");
    assert_eq!(repository.backups().unwrap().len(), 2);
    assert_eq!(store.list(Kind::Lock).unwrap(), []);
}

#[test]
fn what_is_sent_again_because_its_answer_was_lost_is_done() {
    let server = Server::start();
    let store = server.store("so-y-te");
    ensure(&store);
    let bytes = noise(1000);
    let sum = {
        let place = server.folder.path().join("sum");
        fs::write(&place, &bytes).unwrap();
        let said = crate::inside::run(&["sha256sum", place.to_str().unwrap()]);
        said[..64].to_owned()
    };
    let id: Id = sum.parse().unwrap();
    store.write(Kind::Pack, id, &bytes).unwrap();
    store.write(Kind::Pack, id, &bytes).unwrap();
    // Another content under that name is not taken for it, nor is one whose name is not its hash.
    store.write(Kind::Pack, id, &bytes[..10]).unwrap_err();
    store
        .write(Kind::Pack, Id::new([1; 32]), &bytes)
        .unwrap_err();
    assert_eq!(
        store.read(Kind::Pack, id, Some(10..20)).unwrap(),
        bytes[10..20]
    );
    let missing = store.read(Kind::Pack, Id::new([1; 32]), None).unwrap_err();
    assert!(missing.is_not_there(), "{missing}");
}

#[test]
fn a_department_comes_into_its_own_repository_alone() {
    let server = Server::start();
    ensure(&server.store("so-y-te"));
    let foreign = server.address("so-gddt", "so-y-te");
    let nobody = RestAddress {
        password: "guessed".to_owned(),
        ..server.address("so-y-te", "so-y-te")
    };
    for address in [foreign, nobody] {
        let store = Arc::new(RestStore::new(address).unwrap());
        let refused = Repository::open(store, &password()).unwrap_err();
        let is_refused = matches!(refused, BackupError::Store(StoreError::Refused { .. }));
        assert!(is_refused, "{refused:?}");
    }
}

#[test]
fn a_server_that_is_another_or_gone_is_told_as_out_of_reach() {
    let mut server = Server::start();
    let stranger = tempdir().unwrap();
    certify(stranger.path());
    let address = RestAddress {
        ca_pem: fs::read_to_string(stranger.path().join("ca.crt")).unwrap(),
        ..server.address("so-y-te", "so-y-te")
    };
    let other = RestStore::new(address)
        .unwrap()
        .list(Kind::Key)
        .unwrap_err();
    assert!(matches!(other, StoreError::Unreachable { .. }), "{other}");
    let store = server.store("so-y-te");
    ensure(&store);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let gone = Repository::open(store, &password()).unwrap_err();
    assert!(
        matches!(gone, BackupError::Store(StoreError::Unreachable { .. })),
        "{gone:?}"
    );
}
