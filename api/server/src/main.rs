//! `dc-api`: serves the departments' API. Its audit log is verified by `dcctl audit verify`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use dc_api::app::{App, Parts, Settings};
use dc_api::audit::file::Audit;
use dc_api::identity::claims::Rules;
use dc_api::identity::code;
use dc_api::identity::people::Roll;
use dc_api::identity::provider::{Config, Provider};
use dc_api::limit::Rate;
use dc_api::web::{self, Web};
use dc_api::{listen, openapi, probes, serve};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(version, about = "The departments' API of a data centre")]
struct Cli {
    /// How logs are written; what is logged is set by RUST_LOG.
    #[arg(long, value_enum, default_value = "json", global = true)]
    log: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the API. Several may run, each with an audit log of its own.
    Serve(Box<ServeArgs>),
    /// Prints the OpenAPI document.
    Openapi,
}

#[derive(Args)]
struct ServeArgs {
    /// The cluster; without it, KUBECONFIG or the pod's own service account.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The namespace of the lists of people and of prices.
    #[arg(long, default_value = "dc-system")]
    namespace: String,
    /// Where departments are served.
    #[arg(long, default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// How browsers reach this, such as https://api.example.vn: the pages are served only when it is
    /// said. The provider must know <it>/auth/callback as an address to send browsers back to.
    #[arg(long)]
    public_url: Option<String>,
    /// Certificate chain and key (PEM); without them, what stands in front must do TLS.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, default_value = "0.0.0.0:8480")]
    http: SocketAddr,
    /// The file of the audit log.
    #[arg(long)]
    audit_log: PathBuf,
    #[command(flatten)]
    oidc: OidcArgs,
    #[command(flatten)]
    bounds: BoundArgs,
}

#[derive(Args)]
struct OidcArgs {
    /// The issuer, as its tokens and its discovery document name it.
    #[arg(long)]
    oidc_issuer: String,
    /// Tokens for one of these are taken.
    #[arg(long, value_delimiter = ',', required = true)]
    oidc_audience: Vec<String>,
    /// The CA of the issuer (PEM); the system's when absent.
    #[arg(long)]
    oidc_ca: Option<PathBuf>,
    /// As whom people sign in on the pages; the first audience when absent.
    #[arg(long)]
    oidc_client_id: Option<String>,
    /// A file with the client's secret; without it the client is a public one.
    #[arg(long)]
    oidc_client_secret: Option<PathBuf>,
    /// What the provider is asked for when people sign in on the pages.
    #[arg(long, default_value = "openid email")]
    oidc_scopes: String,
    /// The claim that is the user's name in Kubernetes.
    #[arg(long, default_value = "email")]
    oidc_user_claim: String,
    /// The claim that lists the user's groups.
    #[arg(long, default_value = "groups")]
    oidc_groups_claim: String,
}

#[derive(Args)]
struct BoundArgs {
    /// Requests of one user in a second, in the long run, and at once.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    #[arg(long, default_value_t = 60)]
    burst: u32,
    /// The same for requests of one address that do not sign in.
    #[arg(long, default_value_t = 5)]
    stranger_rate: u32,
    #[arg(long, default_value_t = 50)]
    stranger_burst: u32,
    /// How long the head of a request may take to come, also the next one on a connection that is
    /// kept open; and its body.
    #[arg(long, default_value_t = 30_000)]
    head_deadline_ms: u64,
    #[arg(long, default_value_t = 10_000)]
    body_deadline_ms: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.log);
    // Several crates bring rustls; one provider for all of them.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a crypto provider was installed before");
    }
    let ended = match cli.command {
        Command::Serve(args) => run(*args).await,
        Command::Openapi => {
            print!("{}", openapi::text());
            Ok(())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => logs.json().flatten_event(true).init(),
        LogFormat::Text => logs.init(),
    }
}

async fn run(args: ServeArgs) -> Result<()> {
    let ServeArgs {
        kubeconfig,
        namespace,
        listen,
        public_url,
        tls_cert,
        tls_key,
        http,
        audit_log,
        oidc,
        bounds,
    } = args;
    let client = client(kubeconfig.as_deref()).await?;
    let audit = Audit::open(&audit_log)?;
    let pages = public_url.map(|url| pages(&url, &oidc)).transpose()?;
    let (provider, rules) = provider(oidc)?;
    provider.follow();
    let app = App::new(Parts {
        roll: Roll::start(client.clone(), &namespace),
        client,
        namespace,
        provider,
        rules,
        audit,
        settings: bounds.settings(),
    });
    let (mut router, read) = serve::routes(&app, openapi::text());
    if let Some((origin, client)) = pages {
        router = router.merge(web::routes(&Web::new(app.clone(), origin, client)));
    }
    let tls = match (tls_cert, tls_key) {
        (Some(cert), Some(key)) => Some(listen::tls(&read_file(&cert)?, &read_file(&key)?)?),
        _ => None,
    };
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {listen}"))?;
    let head_deadline = Duration::from_millis(bounds.head_deadline_ms);
    tokio::select! {
        served = probes::serve(http, app, read) => {
            served.with_context(|| format!("cannot serve {http}"))
        }
        served = listen::serve(listener, tls, router, head_deadline, stop()?) => {
            served.context("the API is not served any more")
        }
    }
}

impl BoundArgs {
    fn settings(&self) -> Settings {
        let Self {
            rate,
            burst,
            stranger_rate,
            stranger_burst,
            head_deadline_ms: _,
            body_deadline_ms,
        } = self;
        let rate_of = |per_second: u32, burst: u32| Rate {
            per_second: per_second.max(1),
            burst: burst.max(1),
        };
        Settings {
            rate: rate_of(*rate, *burst),
            strangers: rate_of(*stranger_rate, *stranger_burst),
            body_deadline: Duration::from_millis(*body_deadline_ms),
        }
    }
}

fn provider(args: OidcArgs) -> Result<(std::sync::Arc<Provider>, Rules)> {
    let OidcArgs {
        oidc_issuer,
        oidc_audience,
        oidc_ca,
        oidc_client_id: _,
        oidc_client_secret: _,
        oidc_scopes: _,
        oidc_user_claim,
        oidc_groups_claim,
    } = args;
    let provider = Provider::new(Config {
        issuer: oidc_issuer,
        audiences: oidc_audience,
        ca: oidc_ca.as_deref().map(read_file).transpose()?,
    })?;
    let rules = Rules {
        user: oidc_user_claim,
        groups: oidc_groups_claim,
    };
    Ok((provider, rules))
}

/// Where the pages are, and who they are to the provider.
fn pages(url: &str, oidc: &OidcArgs) -> Result<(String, code::Client)> {
    let origin = url.trim_end_matches('/').to_owned();
    let host = origin.strip_prefix("https://").unwrap_or_default();
    ensure!(
        !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']),
        "--public-url {url}: https:// and a host, such as https://api.example.vn"
    );
    let secret = oidc.oidc_client_secret.as_deref().map(read_file);
    let secret = secret.transpose()?.map(String::from_utf8).transpose();
    let secret = secret.context("the client's secret is no text")?;
    let first = oidc.oidc_audience.first();
    let id = oidc.oidc_client_id.as_ref().or(first);
    let client = code::Client {
        id: id.cloned().unwrap_or_default(),
        secret: secret.map(|secret| secret.trim().to_owned()),
        redirect: format!("{origin}{}", web::CALLBACK),
        scopes: oidc.oidc_scopes.clone(),
    };
    Ok((origin, client))
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

async fn client(kubeconfig: Option<&Path>) -> Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => kube::Config::infer().await?,
    };
    Client::try_from(config).context("the kubeconfig cannot be used")
}

/// Resolves when the process is told to end.
fn stop() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
