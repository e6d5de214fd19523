//! Where requests are sent from: the lab, its users, and how to ask.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dc_lab::api;
use dc_lab::cargo::{self, Programs};
use dc_lab::chart;
use dc_lab::control_plane::{ControlPlane, TestControlPlane};
use dc_lab::dex::{self, CLIENT, DEPARTMENTS, Dex};
use dc_lab::kubectl::Kubectl;
use dc_lab::operator::{self, Agents, Replica};
use dc_lab::wait::{self, Look};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// An answer comes in a moment; a busy machine of two cores takes longer.
pub const DEADLINE: Duration = Duration::from_secs(300);
/// Rates so large that no test but those of them meets one.
pub const ARGS: [&str; 12] = [
    "--rate",
    "5000",
    "--burst",
    "10000",
    "--stranger-rate",
    "5000",
    "--stranger-burst",
    "10000",
    "--body-deadline-ms",
    "3000",
    "--head-deadline-ms",
    "20000",
];

/// The department of most tests, and another one.
pub const OURS: &str = DEPARTMENTS[0];
pub const THEIRS: &str = DEPARTMENTS[1];
pub const NOBODYS: &str = "no-such-department";

pub const ADMINISTRATOR: &str = "administrator@so-khcn";
pub const OPERATOR: &str = "operator@so-khcn";
pub const LEADER: &str = "leader@so-khcn";
/// An administrator who is a leader as well.
pub const DEPUTY: &str = "deputy@so-khcn";
pub const STRANGER: &str = "administrator@so-y-te";
pub const NEIGHBOUR: &str = "operator@so-y-te";
pub const AUDITOR: &str = "auditor@province";
pub const CENTRE: &str = "operator@province";

pub struct Desk {
    pub runtime: Runtime,
    pub plane: TestControlPlane,
    pub programs: Programs,
    pub dex: Dex,
    pub client: Client,
    /// The browser's driver by its pid, and the port that leads to it.
    pub browser_door: tokio::sync::Mutex<Option<(u32, u16)>>,
    tokens: Mutex<HashMap<String, String>>,
}

/// An answer, read.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub fn expect(&self, status: u16) -> Result<&Value> {
        ensure!(self.status == status, "{status} was expected: {self:?}");
        Ok(&self.body)
    }

    pub fn expect_problem(&self, status: u16, code: &str) -> Result<&Value> {
        let body = self.expect(status)?;
        let kind = self.header("content-type");
        ensure!(kind == "application/problem+json", "{kind}: {body}");
        ensure!(body["code"] == code, "{code} was expected: {body}");
        Ok(body)
    }
}

impl Desk {
    pub fn set_up() -> Result<Self> {
        // Several crates bring rustls; one provider for all of them.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new()?;
        let programs = cargo::build_programs()?;
        let (plane, dex) = runtime.block_on(async {
            let plane = ControlPlane::start_for_test("api").await?;
            chart::ensure(&plane).await?;
            operator::ensure(&plane, &programs.operator, Replica::First, Agents::Local).await?;
            let dex = dex::ensure(&plane).await?;
            api::ensure(&plane, &programs.api, &dex, &ARGS).await?;
            anyhow::Ok((plane, dex))
        })?;
        let client = client(&dex)?;
        let desk = Self {
            runtime,
            plane,
            programs,
            dex,
            client,
            browser_door: tokio::sync::Mutex::default(),
            tokens: Mutex::default(),
        };
        desk.furnish()?;
        Ok(desk)
    }

    /// Departments with a system, a subnet and a volume each, and their namespaces and roles, which
    /// the operator makes.
    fn furnish(&self) -> Result<()> {
        let kubectl = self.kubectl()?;
        let departments = DEPARTMENTS.map(department);
        kubectl.apply_text(&list(departments.to_vec()), "test")?;
        for department in DEPARTMENTS {
            self.until("the department's roles to be made", async || {
                let args = [
                    "get",
                    "rolebinding",
                    "tenant-auditor",
                    "--namespace",
                    department,
                ];
                Look::from_attempt(kubectl.run(&args).map(drop))
            })?;
            let objects = vec![
                object(
                    "InformationSystem",
                    department,
                    "a01",
                    json!({"displayName":
                    {"vi": "Cổng thông tin", "en": "Portal"}}),
                ),
                object(
                    "Subnet",
                    department,
                    "web",
                    json!({"system": "a01", "zone": "dmz"}),
                ),
                object(
                    "Volume",
                    department,
                    "data",
                    json!({"system": "a01", "pool": "san-1",
                    "size": "1Gi"}),
                ),
                object("VirtualMachine", department, "web-1", machine_spec()),
            ];
            kubectl.apply_text(&list(objects), "test")?;
        }
        // Until our own are seen through the API, nothing can be tested.
        self.until("the API to show the machine", async || {
            let asked = self.get(ADMINISTRATOR, &format!("{OURS}/virtualmachines/web-1"));
            Look::from_attempt(asked.await.and_then(|answer| answer.expect(200).map(drop)))
        })
    }

    /// With what the API said last.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let log = dc_lab::process::tail(self.plane.lab(), api::PROCESS);
        error.context(format!("the API's log: {log}"))
    }

    pub fn kubectl(&self) -> Result<Kubectl> {
        self.plane.kubectl()
    }

    pub fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(work)
    }

    pub fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Look<T>) -> Result<T> {
        self.runtime.block_on(wait::until(what, DEADLINE, look))
    }

    pub fn url(&self) -> String {
        api::url(self.plane.lab())
    }

    /// A token of a user of the lab, got once.
    pub async fn token(&self, login: &str) -> Result<String> {
        let known = |desk: &Self| desk.tokens.lock().ok()?.get(login).cloned();
        if let Some(token) = known(self) {
            return Ok(token);
        }
        let token = self.fresh_token(login, CLIENT).await?;
        let mut tokens = self
            .tokens
            .lock()
            .map_err(|_| anyhow::anyhow!("poisoned"))?;
        tokens.insert(login.to_owned(), token.clone());
        Ok(token)
    }

    pub fn forget_tokens(&self) {
        if let Ok(mut tokens) = self.tokens.lock() {
            tokens.clear();
        }
    }

    pub async fn fresh_token(&self, login: &str, client: &str) -> Result<String> {
        let login = self.dex.login(login)?;
        let form = [
            ("grant_type", "password"),
            ("scope", "openid email"),
            ("client_id", client),
            ("username", login.email.as_str()),
            ("password", login.password.as_str()),
        ];
        let form: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace('@', "%40").replace(' ', "+")))
            .collect();
        let asked = self
            .client
            .post(format!("{}/token", self.dex.issuer))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.join("&"))
            .send()
            .await?;
        let answer: Value = asked.json().await?;
        let token = answer["id_token"].as_str();
        token
            .map(str::to_owned)
            .with_context(|| format!("no token: {answer}"))
    }

    /// A request of this user below /api/v1/departments/. The path is not borrowed, so that requests
    /// may be made first and sent later.
    pub fn ask<'a>(
        &'a self,
        login: &'static str,
        method: Method,
        path: &str,
    ) -> impl Future<Output = Result<RequestBuilder>> + use<'a> {
        let url = format!("{}/api/v1/departments/{path}", self.url());
        let request = self.client.request(method, url);
        async move { Ok(request.bearer_auth(self.token(login).await?)) }
    }

    pub fn get<'a>(
        &'a self,
        login: &'static str,
        path: &str,
    ) -> impl Future<Output = Result<Answer>> + use<'a> {
        let asked = self.ask(login, Method::GET, path);
        async move { send(asked.await?).await }
    }

    pub fn post<'a>(
        &'a self,
        login: &'static str,
        path: &str,
        body: &Value,
    ) -> impl Future<Output = Result<Answer>> + use<'a> {
        self.with_body(login, Method::POST, path, body)
    }

    pub fn patch<'a>(
        &'a self,
        login: &'static str,
        path: &str,
        body: &Value,
    ) -> impl Future<Output = Result<Answer>> + use<'a> {
        self.with_body(login, Method::PATCH, path, body)
    }

    fn with_body<'a>(
        &'a self,
        login: &'static str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> impl Future<Output = Result<Answer>> + use<'a> {
        let asked = self.ask(login, method, path);
        let body = body.clone();
        async move { send(asked.await?.json(&body)).await }
    }

    pub fn delete<'a>(
        &'a self,
        login: &'static str,
        path: &str,
    ) -> impl Future<Output = Result<Answer>> + use<'a> {
        let asked = self.ask(login, Method::DELETE, path);
        async move { send(asked.await?).await }
    }

    /// Writes the list of people, with these users removed.
    pub fn remove_people(&self, removed: &[&str]) -> Result<()> {
        let people = dex::people(&self.dex.logins, removed);
        self.kubectl()?.apply_text(&people.to_string(), "lab")
    }

    /// Starts the API anew with further arguments.
    pub fn restart_api(&self, more: &[&str]) -> Result<()> {
        let started = api::ensure(&self.plane, &self.programs.api, &self.dex, more);
        self.run(started).map(drop)
    }
}

fn client(dex: &Dex) -> Result<Client> {
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&dex.ca)?)?;
    let builder = Client::builder().no_proxy().tls_certs_only([ca]);
    Ok(builder.build()?)
}

pub async fn send(request: RequestBuilder) -> Result<Answer> {
    let answer = request.timeout(DEADLINE).send().await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await?;
    let body = match text.as_str() {
        "" => Value::Null,
        text => match serde_json::from_str(text) {
            Ok(body) => body,
            Err(_) => bail!("{status}, and no JSON: {text}"),
        },
    };
    Ok(Answer {
        status,
        headers,
        body,
    })
}

fn department(name: &str) -> Value {
    let group = |role: &str| json!([{"kind": "Group", "name": format!("{name}:{role}")}]);
    json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1",
        "kind": "Department",
        "metadata": {"name": name},
        "spec": {
            "displayName": {"vi": name, "en": name},
            "kind": "department",
            "members": {
                "administrators": group("administrators"),
                "leaders": group("leaders"),
                "operators": group("operators"),
                "auditors": [{"kind": "Group", "name": "province:auditors"}],
            },
        },
    })
}

pub fn object(kind: &str, department: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": department},
        "spec": spec,
    })
}

pub fn list(items: Vec<Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn machine_spec() -> Value {
    json!({
        "system": "a01",
        "class": "small",
        "disks": [{"name": "root", "template": {"pool": "san-1", "size": "1Gi"}}],
        "interfaces": [{"subnet": "web"}],
    })
}

/// As the API takes it.
pub fn new_machine(name: &str) -> Value {
    let mut new = machine_spec();
    new["name"] = json!(name);
    new
}

pub fn new_volume(name: &str) -> Value {
    json!({"name": name, "system": "a01", "pool": "san-1", "size": "1Gi"})
}
