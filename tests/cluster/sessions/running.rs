//! Operators of the test's own, in the test's process, with a control plane around them.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use dc_crds::Host;
use dc_lab::chart;
use dc_lab::control_plane::Etcd;
use dc_lab::kubectl::Kubectl;
use dc_lab::wait::{Look, until};
use dc_operator::controllers::Controllers;
use dc_operator::join::token::Token;
use dc_operator::ledger::StoreConfig;
use dc_operator::master::MasterKeys;
use dc_operator::operator::{self, Config, End, Parts};
use dc_operator_core::backup::password::RecoveryKey;
use dc_operator_core::backup::repository::RecoveryKeys;
use dc_types::Term;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::SignedDuration;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use crate::lent::Lent;

pub const DEADLINE: Duration = Duration::from_secs(300);

pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    until(what, DEADLINE, async || match holds() {
        true => Look::Holds(()),
        false => Look::NotYet("not yet".into()),
    })
    .await
    .unwrap();
}

/// One key, `first`.
pub fn recovery_keys() -> RecoveryKeys {
    RecoveryKeys::from([("first".to_owned(), RecoveryKey::new([7; 32]))])
}

/// A control plane with the chart, and the operators on it.
pub struct Place {
    client: Client,
    plane: Lent,
    /// Another ledger than the plane's own.
    ledger: Option<Vec<String>>,
    /// Of the operators that start from now on.
    pub master_keys: MasterKeys,
    pub member_patience: SignedDuration,
}

impl Place {
    pub async fn start(plane: Lent) -> Self {
        // Others of the same process may have done both. RUST_LOG says what is told.
        let logs = tracing_subscriber::fmt().with_test_writer();
        let _ = logs
            .with_env_filter(EnvFilter::from_default_env())
            .try_init();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = connect(plane.kubeconfig()).await;
        Self {
            client,
            plane,
            ledger: None,
            master_keys: MasterKeys::new(recovery_keys()),
            member_patience: SignedDuration::from_secs(900),
        }
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    pub fn apply(&self, manifests: &str) {
        let kubectl = self.plane.kubectl().unwrap();
        kubectl.apply_text(manifests, "test").unwrap();
    }

    pub fn kubectl(&self) -> Kubectl {
        self.plane.kubectl().unwrap()
    }

    pub fn ledger(&self) -> &Etcd {
        self.plane.ledger()
    }

    /// Has operators work with a store of the test's own.
    pub fn use_ledger(&mut self, urls: Vec<String>) {
        self.ledger = Some(urls);
    }

    /// An operator that leaves the board to the test.
    pub async fn operator(&self) -> Operator {
        self.run(free_port(), |_| {
            |parts: Parts, term| async move {
                parts.leader.wait_lost(term).await;
                Ok(())
            }
        })
    }

    /// An operator as it ships.
    pub async fn real_operator(&self) -> Operator {
        self.real_operator_at(free_port()).await
    }

    /// The same at the address of one that has ended. A process that is killed gives its address
    /// back at once; a runtime that is shut down does it when its tasks have been dropped.
    pub async fn real_operator_at(&self, listen: SocketAddr) -> Operator {
        until(
            "the address to be free again",
            DEADLINE,
            async || match TcpListener::bind(listen) {
                Ok(_) => Look::Holds(()),
                Err(error) => Look::NotYet(error.to_string()),
            },
        )
        .await
        .unwrap();
        self.run(listen, |client| {
            let controllers = Controllers::start(client);
            move |parts, term| controllers.clone().lead(parts, term)
        })
    }

    /// In a runtime of its own, so that all of it can be made to end at once.
    fn run<M, C, F>(&self, listen: SocketAddr, make_control: M) -> Operator
    where
        M: FnOnce(&Client) -> C + Send + 'static,
        C: Fn(Parts, Term) -> F + Send + Sync + 'static,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let http = free_port();
        let config = Config {
            store: StoreConfig {
                endpoints: match &self.ledger {
                    Some(urls) => urls.clone(),
                    None => vec![self.plane.ledger().url()],
                },
                cluster: "test".into(),
                tls: None,
            },
            namespace: chart::NAMESPACE.into(),
            listen,
            advertise: listen.to_string(),
            http,
            recovery_keys: recovery_keys(),
            master_keys: self.master_keys.clone(),
            member_patience: self.member_patience,
        };
        let (found, parts) = watch::channel(None);
        let (stop, stopped) = oneshot::channel::<()>();
        let kubeconfig = self.plane.kubeconfig().to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let task = runtime.spawn(async move {
            let client = connect(&kubeconfig).await;
            let control = make_control(&client);
            let control = move |parts: Parts, term| {
                found.send_replace(Some(parts.clone()));
                control(parts, term)
            };
            let stop = async {
                // Killed is not told to stop.
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            operator::run(config, client, control, stop).await
        });
        Operator {
            parts,
            stop: Mutex::new(Some(stop)),
            task: Mutex::new(Some(task)),
            runtime: Some(runtime),
            advertise: listen.to_string(),
            http,
        }
    }

    pub async fn make_host(&self, name: &str) {
        let host = json!({
            "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Host",
            "metadata": { "name": name }, "spec": { "roles": ["compute", "storage"] },
        });
        let host: Host = serde_json::from_value(host).unwrap();
        self.hosts()
            .create(&PostParams::default(), &host)
            .await
            .unwrap();
    }

    /// Also takes the finalizer away: nobody else here would.
    pub async fn delete_host(&self, name: &str) {
        let bare = json!({ "metadata": { "finalizers": null } });
        let merge = Patch::Merge(&bare);
        let hosts = self.hosts();
        hosts
            .patch(name, &PatchParams::default(), &merge)
            .await
            .unwrap();
        hosts.delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn annotate(&self, name: &str, key: &str, value: &str) {
        let annotation = json!({ "metadata": { "annotations": { key: value } } });
        let merge = Patch::Merge(&annotation);
        self.hosts()
            .patch(name, &PatchParams::default(), &merge)
            .await
            .unwrap();
    }

    /// The token that the operator makes for a host.
    pub async fn token(&self, name: &str) -> Token {
        let secrets: Api<Secret> = Api::namespaced(self.client(), chart::NAMESPACE);
        let secret = format!("join-{name}");
        until(&secret, DEADLINE, async || {
            let found = secrets.get_opt(&secret).await.unwrap();
            let json = found.and_then(|found| found.data?.remove("join.json"));
            match json {
                Some(json) => Look::Holds(serde_json::from_slice(&json.0).unwrap()),
                None => Look::NotYet("no such Secret".into()),
            }
        })
        .await
        .unwrap()
    }

    fn hosts(&self) -> Api<Host> {
        Api::all(self.client())
    }
}

/// A client of the control plane that a kubeconfig names.
pub async fn connect(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(file, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

type Task = JoinHandle<anyhow::Result<End>>;

/// One operator; it ends with the test.
pub struct Operator {
    parts: watch::Receiver<Option<Parts>>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    task: Mutex<Option<Task>>,
    runtime: Option<Runtime>,
    advertise: String,
    http: SocketAddr,
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Operator {
    pub fn address(&self) -> SocketAddr {
        self.advertise.parse().unwrap()
    }

    pub fn advertise(&self) -> &str {
        &self.advertise
    }

    /// Its parts, once it leads and its controllers have begun.
    pub async fn leading(&self) -> Parts {
        let mut parts = self.parts.clone();
        let found = tokio::time::timeout(DEADLINE, parts.wait_for(Option::is_some)).await;
        found.expect("it does not lead").unwrap().clone().unwrap()
    }

    /// Returns once it follows or leads.
    pub async fn started(&self) {
        until("the operator is ready", DEADLINE, async || {
            let (ready, text) = self.get("/readyz").await;
            match ready {
                true => Look::Holds(()),
                false => Look::NotYet(text),
            }
        })
        .await
        .unwrap();
    }

    /// Whether a page answers with success, and its text.
    pub async fn get(&self, path: &str) -> (bool, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::TcpStream::connect(self.http).await else {
            return (false, "it does not listen".into());
        };
        let ask = format!("GET {path} HTTP/1.0\r\nHost: operator\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer.starts_with("HTTP/1.0 200"), answer)
    }

    /// As SIGKILL does: nothing of it goes on.
    pub fn kill(self) {
        drop(self);
    }

    /// Returns when the process would end by itself.
    pub async fn ended(self) -> End {
        let task = self.task.lock().unwrap().take().unwrap();
        let ended = tokio::time::timeout(DEADLINE, task).await;
        ended.expect("it does not end").unwrap().unwrap()
    }

    /// As SIGTERM does.
    pub async fn stop(self) {
        let stop = self.stop.lock().unwrap().take();
        let _ = stop.unwrap().send(());
        assert_eq!(self.ended().await, End::Stopped);
    }
}

pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
