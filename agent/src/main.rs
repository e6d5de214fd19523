//! `dc-agent`: runs the agent of this host, or many simulated ones.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use dc_agent::agent::{Agent, Operator, Parts};
use dc_agent::config::Settings;
use dc_agent::disk::Durability;
use dc_agent::http;
use dc_agent::identity::IdentityStore;
use dc_agent::keeper::Place;
use dc_agent::logs;
use dc_agent::metrics::Metrics;
use dc_agent::simulate::{self, Options, Simulated};
use dc_host::Tools;
use dc_types::PoolName;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Parser)]
#[command(
    name = "dc-agent",
    version,
    about = "The agent of one host of the data centre"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes this host carry what the operator asks of it.
    Run {
        /// The configuration file (YAML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Runs agents over fake hosts, one for each join file.
    Simulate {
        /// The folder of join files, `<host>.json`.
        #[arg(long)]
        joins: PathBuf,
        /// Where /metrics, /healthz, /readyz and /knobs are.
        #[arg(long)]
        http: SocketAddr,
        /// Where ledgers and identities are kept; without it they are forgotten at the end.
        #[arg(long)]
        state: Option<PathBuf>,
        /// A pool of every storage host; may be repeated.
        #[arg(long = "pool", default_value = "san")]
        pools: Vec<PoolName>,
        /// An operator's `host:port` besides those of the join files; may be repeated.
        #[arg(long = "operator")]
        operators: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    logs::json(filter, std::io::stderr).init();
    match Cli::parse().command {
        Command::Run { config } => {
            let settings = Settings::read(&config)
                .with_context(|| format!("configuration {}", config.display()))?;
            run(settings).await
        }
        Command::Simulate {
            joins,
            http,
            state,
            pools,
            operators,
        } => {
            let options = Options {
                joins,
                state,
                pools,
                folders: BTreeMap::new(),
                operators,
            };
            run_simulated(&options, http).await
        }
    }
}

async fn run(settings: Settings) -> Result<()> {
    let Settings {
        host,
        operators,
        join_file,
        http: address,
        size,
        tools,
    } = settings;
    let tools = Tools::real(&tools).await.context("the host's tools")?;
    let place = Place::Disk {
        folder: host.folders.state.clone(),
        durability: Durability::Synced,
    };
    let metrics = Metrics::default();
    info!(host = %host.name, boot_id = %host.boot_id, roles = ?host.roles, "starting");
    let agent = Agent::start(Parts {
        tools,
        size,
        operator: Some(Operator {
            addresses: operators,
            identity: IdentityStore::new(host.name.clone(), place.clone(), join_file),
        }),
        place,
        metrics: metrics.clone(),
        host,
    })?;
    let pages = http::pages(metrics, vec![agent.health.clone()]);
    until_told(vec![agent], address, pages).await
}

async fn run_simulated(options: &Options, address: SocketAddr) -> Result<()> {
    let metrics = Metrics::default();
    let hosts = simulate::start(options, &metrics).context("simulated hosts")?;
    info!(hosts = hosts.len(), "simulating");
    let health = hosts.iter().map(|host| host.agent.health.clone());
    let pages = http::pages(metrics, health.collect()).merge(simulate::knobs_page(&hosts));
    let agents = hosts.into_iter().map(|Simulated { agent, .. }| agent);
    until_told(agents.collect(), address, pages).await
}

/// Serves until a signal; a task that ends before that is a fault, and the process ends with it so
/// that it is started anew.
async fn until_told(agents: Vec<Agent>, address: SocketAddr, pages: axum::Router) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    for mut agent in agents {
        let stop = stop.clone();
        running.spawn(async move {
            tokio::select! {
                fault = agent.failed() => Err(fault),
                () = stop.cancelled() => {
                    agent.stop().await;
                    Ok(())
                }
            }
        });
    }
    tokio::select! {
        served = http::serve(address, pages) => {
            served.with_context(|| format!("serve metrics at {address}"))?;
            bail!("the metrics server ended");
        }
        Some(ended) = running.join_next() => match ended? {
            Ok(()) => bail!("an agent stopped by itself"),
            Err(fault) => bail!(fault),
        },
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping; guests go on");
    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended?.map_err(anyhow::Error::msg)?;
    }
    Ok(())
}
