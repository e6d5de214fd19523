//! Operators of the test's own, in the test's process, with a control plane around them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use dc_crds::Host;
use dc_lab::chart;
use dc_lab::control_plane::TestControlPlane;
use dc_lab::wait::{Look, until};
use dc_operator::join::token::Token;
use dc_operator::ledger::StoreConfig;
use dc_operator::operator::{self, Config, End, Parts};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

const DEADLINE: Duration = Duration::from_secs(60);

pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    until(what, DEADLINE, async || match holds() {
        true => Look::Holds(()),
        false => Look::NotYet("not yet".into()),
    })
    .await
    .unwrap();
}

/// A control plane with the chart, and the operators on it.
pub struct Place {
    client: Client,
    plane: TestControlPlane,
}

impl Place {
    pub async fn start(plane: TestControlPlane) -> Self {
        // Others of the same process may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await;
        let client = Client::try_from(config.unwrap()).unwrap();
        Self { client, plane }
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// An operator that leaves the board to the test.
    pub async fn operator(&self) -> Operator {
        let (listen, http) = (free_port(), free_port());
        let config = Config {
            store: StoreConfig {
                endpoints: vec![self.plane.ledger().url()],
                cluster: "test".into(),
                tls: None,
            },
            namespace: chart::NAMESPACE.into(),
            listen,
            advertise: listen.to_string(),
            http,
        };
        let (found, parts) = watch::channel(None);
        let (stop, stopped) = oneshot::channel::<()>();
        let control = move |parts: Parts, term| {
            found.send_replace(Some(parts.clone()));
            async move {
                parts.leader.wait_lost(term).await;
                Ok(())
            }
        };
        let client = self.client.clone();
        let task = tokio::spawn(operator::run(config, client, control, async {
            let _ = stopped.await;
        }));
        Operator {
            parts,
            stop: Mutex::new(Some(stop)),
            task,
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

/// One operator; it ends with the test.
pub struct Operator {
    parts: watch::Receiver<Option<Parts>>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    task: JoinHandle<anyhow::Result<End>>,
    advertise: String,
    http: SocketAddr,
}

impl Operator {
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

    /// As SIGTERM does.
    pub async fn stop(self) {
        let stop = self.stop.lock().unwrap().take();
        let _ = stop.unwrap().send(());
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        assert_eq!(
            ended.expect("it does not end").unwrap().unwrap(),
            End::Stopped
        );
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
