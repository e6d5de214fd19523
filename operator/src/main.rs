//! `dc-operator`: runs an operator, or looks after its ledger.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use dc_crds::{ErasureCertificate, RestoreProof};
use dc_operator::controllers::Controllers;
use dc_operator::evidence::{self, Evidence};
use dc_operator::ledger::{Store, StoreConfig, StoreTls};
use dc_operator::logs;
use dc_operator::master::{self, MasterKeys};
use dc_operator::operator::{self, Config, End};
use dc_operator::rebuild::request::{Report, Request, Requests};
use dc_operator::recovery;
use dc_operator_core::backup::repository::RecoveryKeys;
use dc_operator_core::claims::Claims;
use dc_operator_core::volume::encryption::wrapped_by;
use dc_types::HostName;
use k8s_openapi::jiff::SignedDuration;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// "Try again" of sysexits.h: the supervisor starts us anew.
const TRY_AGAIN: u8 = 75;

#[derive(Parser)]
#[command(version, about = "The operator of a data centre")]
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
    /// Runs an operator. Several may run; one leads.
    Run(RunArgs),
    /// Looks after the ledger.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Makes and reads the keys that every backup's password comes from. Needs no cluster.
    #[command(subcommand)]
    RecoveryKey(RecoveryKeyCommand),
    /// Looks at the master keys of encrypted volumes.
    #[command(subcommand)]
    MasterKey(MasterKeyCommand),
    /// Checks evidence.
    #[command(subcommand)]
    Certificate(CertificateCommand),
}

#[derive(Subcommand)]
enum MasterKeyCommand {
    /// Says which master key wraps how many keys of volumes, and which may be retired.
    Status(MasterKeyArgs),
}

#[derive(Args)]
struct MasterKeyArgs {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// The folder of the operators.
    #[arg(long)]
    master_keys: PathBuf,
}

#[derive(Subcommand)]
enum RecoveryKeyCommand {
    /// Prints a new key, for paper and for the operator's folder.
    New,
    /// Prints the password of a department's repository, for restic.
    Password(PasswordArgs),
}

#[derive(Args)]
struct PasswordArgs {
    /// A file with the key as it is printed; `-` reads it from standard input, as one types it from
    /// paper.
    #[arg(long)]
    key: PathBuf,
    /// The BackupRepository's name.
    #[arg(long)]
    repository: String,
    /// The department's name.
    #[arg(long)]
    department: String,
}

#[derive(Subcommand)]
enum CertificateCommand {
    /// Says whether a certificate of erasure, or the evidence of a proof, is what the operator signed.
    Verify(VerifyArgs),
}

#[derive(Args)]
struct VerifyArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// An ErasureCertificate of the cluster, by name; or a RestoreProof, as namespace/name.
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// One that was kept as YAML or JSON, instead.
    #[arg(long, conflicts_with = "name")]
    file: Option<PathBuf>,
    /// A public key that was kept, in base64: no cluster is asked for it.
    #[arg(long)]
    public_key: Option<String>,
}

#[derive(Subcommand)]
enum LedgerCommand {
    /// Makes the claims again from what hosts hold, after the ledger was lost or rolled back.
    ///
    /// An operator that does not trust its ledger does it; this command asks and waits. Hosts that
    /// disagree are listed for a person to look at.
    Rebuild(RebuildArgs),
}

#[derive(Args)]
struct RebuildArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Hosts that are certain to be off, joined by commas: what only they hold is forgotten.
    #[arg(long, value_delimiter = ',')]
    without: Vec<HostName>,
    /// How long hosts may take to come, in seconds.
    #[arg(long, default_value_t = 120)]
    wait_s: u64,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Where agents are listened to.
    #[arg(long, default_value = "0.0.0.0:7443")]
    listen: SocketAddr,
    /// Where agents reach that, as host:port.
    #[arg(long)]
    advertise: String,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, default_value = "0.0.0.0:7480")]
    http: SocketAddr,
    /// A folder with the recovery keys of backups: a file for each, called by the key's id.
    #[arg(long)]
    recovery_keys: Option<PathBuf>,
    /// A folder with the master keys of encrypted volumes: a file for each, called by the key's id and
    /// read by its owner alone. The last one wraps new keys.
    #[arg(long)]
    master_keys: Option<PathBuf>,
    /// How long a member of the ledger that does not answer is waited for before the destruction of a
    /// volume's key is certified without it, in seconds.
    #[arg(long, default_value_t = 900)]
    member_patience_s: u32,
}

#[derive(Args)]
struct ApiArgs {
    /// The cluster to work in; without it, KUBECONFIG or the pod's own service account.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The namespace of the operator's own Secrets.
    #[arg(long, default_value = "dc-system")]
    namespace: String,
}

#[derive(Args)]
struct ClusterArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    ledger: LedgerArgs,
}

#[derive(Args)]
struct LedgerArgs {
    /// URLs of the ledger's etcd, joined by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    ledger: Vec<String>,
    /// CA, client certificate and key (PEM) for an https ledger.
    #[arg(long, requires_all = ["ledger_cert", "ledger_key"])]
    ledger_ca: Option<PathBuf>,
    #[arg(long)]
    ledger_cert: Option<PathBuf>,
    #[arg(long)]
    ledger_key: Option<PathBuf>,
    /// The data centre's name: the prefix of its keys in the ledger.
    #[arg(long)]
    cluster_name: String,
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
        Command::Run(args) => run(args).await,
        Command::Ledger(LedgerCommand::Rebuild(args)) => rebuild(args).await,
        Command::RecoveryKey(command) => recovery_key(&command),
        Command::MasterKey(MasterKeyCommand::Status(args)) => master_keys(&args).await,
        Command::Certificate(CertificateCommand::Verify(args)) => verify(args).await,
    };
    match ended {
        Ok(End::Stopped) => ExitCode::SUCCESS,
        Ok(End::Again) => ExitCode::from(TRY_AGAIN),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    match format {
        LogFormat::Json => logs::json(filter, std::io::stderr).init(),
        LogFormat::Text => tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init(),
    }
}

async fn run(args: RunArgs) -> Result<End> {
    let client = client(&args.cluster.api).await?;
    let config = Config {
        store: store(&args.cluster.ledger)?,
        namespace: args.cluster.api.namespace,
        listen: args.listen,
        advertise: args.advertise,
        http: args.http,
        recovery_keys: match &args.recovery_keys {
            Some(folder) => recovery::read(folder)?,
            None => RecoveryKeys::new(),
        },
        master_keys: match &args.master_keys {
            Some(folder) => master::read(folder)?,
            None => MasterKeys::default(),
        },
        member_patience: SignedDuration::from_secs(args.member_patience_s.into()),
    };
    let controllers = Controllers::start(&client);
    let control = move |parts, term| controllers.clone().lead(parts, term);
    operator::run(config, client, control, stop()?).await
}

fn recovery_key(command: &RecoveryKeyCommand) -> Result<End> {
    match command {
        RecoveryKeyCommand::New => println!("{}", recovery::new()?.printed()),
        RecoveryKeyCommand::Password(PasswordArgs {
            key,
            repository,
            department,
        }) => {
            let key = recovery::read_one(key)?;
            println!("{}", key.password(repository, department).0);
        }
    }
    Ok(End::Stopped)
}

async fn master_keys(args: &MasterKeyArgs) -> Result<End> {
    let known = master::read(&args.master_keys)?;
    let store = Store::connect(&store(&args.ledger)?).await?;
    let (entries, _) = store.read_all().await.context("cannot read the ledger")?;
    let mut claims = Claims::default();
    for entry in &entries {
        claims.apply(&entry.key, entry.value.as_deref(), entry.revision)?;
    }
    println!("{}", master::report(&wrapped_by(&claims), &known));
    Ok(End::Stopped)
}

async fn rebuild(args: RebuildArgs) -> Result<End> {
    let requests = Requests::new(&client(&args.api).await?, &args.api.namespace);
    let request = Request {
        without: args.without,
        wait: Duration::from_secs(args.wait_s),
    };
    requests.ask(&request).await?;
    // Operators look every 2 s, and write for a while after the hosts have come.
    let deadline = Instant::now() + request.wait + Duration::from_secs(60);
    loop {
        if let Some(report) = requests.report().await? {
            return tell(report);
        }
        if Instant::now() >= deadline {
            bail!(
                "no operator has taken the request up: one must run, and not trust its ledger; see \
                 its /readyz"
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn verify(args: VerifyArgs) -> Result<End> {
    let evidence = read_evidence(&args).await?;
    let keys = match &args.public_key {
        Some(key) => {
            let id = evidence::id_of(key).context("--public-key is not base64")?;
            BTreeMap::from([(id, key.clone())])
        }
        None => evidence::published(&client(&args.api).await?, &args.api.namespace).await?,
    };
    match evidence {
        Evidence::Erasure(certificate) => verify_erasure(&certificate, &keys),
        Evidence::Proof(proof) => verify_proof(&proof, &keys),
    }
}

/// A name with a slash is that of a RestoreProof: `<namespace>/<name>`.
async fn read_evidence(args: &VerifyArgs) -> Result<Evidence> {
    if let Some(path) = &args.file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        return evidence::parse(&text).with_context(|| format!("cannot use {}", path.display()));
    }
    let name = args.name.as_deref().unwrap_or_default();
    let client = client(&args.api).await?;
    match name.split_once('/') {
        Some((namespace, proof)) => {
            let found = Api::<RestoreProof>::namespaced(client, namespace)
                .get(proof)
                .await;
            let found = found.with_context(|| format!("cannot read RestoreProof {name}"))?;
            Ok(Evidence::Proof(Box::new(found)))
        }
        None => {
            let found = Api::<ErasureCertificate>::all(client).get(name).await;
            let found = found.with_context(|| format!("cannot read ErasureCertificate {name}"))?;
            Ok(Evidence::Erasure(Box::new(found)))
        }
    }
}

fn verify_proof(proof: &RestoreProof, keys: &BTreeMap<String, String>) -> Result<End> {
    let name = format!(
        "{}/{}",
        proof.namespace().unwrap_or_default(),
        proof.name_any()
    );
    let status = proof.status.as_ref();
    let (Some(verified), Some(evidence)) = (
        evidence::verify_proof(proof, keys),
        status.and_then(|status| status.evidence.as_ref()),
    ) else {
        bail!("RestoreProof {name} has not ended: there is no evidence yet");
    };
    verified.with_context(|| format!("{name} is not to be believed"))?;
    println!(
        "{name} is what the operator signed with key {}.",
        evidence.signature.key_id
    );
    println!(
        "Backup {}/{} of machine {}, snapshot {} in {}: {:?}. {}",
        evidence.department,
        evidence.backup,
        evidence.machine,
        evidence.trial.snapshot_id,
        evidence.trial.repository,
        evidence.result,
        evidence.message,
    );
    for volume in &evidence.trial.volumes {
        let sum = volume.sha256.as_deref().unwrap_or("(not compared)");
        println!("{}: SHA-256 {sum}", volume.file);
    }
    for step in &evidence.steps {
        let ended = step.ended_at.as_deref().unwrap_or("(not ended)");
        println!("{:?}: {} to {ended}", step.step, step.began_at);
    }
    Ok(End::Stopped)
}

fn verify_erasure(
    certificate: &ErasureCertificate,
    keys: &BTreeMap<String, String>,
) -> Result<End> {
    let name = certificate.name_any();
    evidence::verify(certificate, keys).with_context(|| format!("{name} is not to be believed"))?;
    let spec = &certificate.spec;
    println!(
        "{name} is what the operator signed with key {}.",
        spec.signature.key_id
    );
    println!(
        "Volume {}/{} ({}): {:?} by {:?}, ordered by {}.",
        spec.department,
        spec.volume,
        spec.volume_uid,
        spec.result,
        spec.method,
        spec.ordered_by.as_deref().unwrap_or("(not recorded)"),
    );
    if let Some(key) = &spec.key {
        println!("{}", evidence::of_key(key));
    }
    Ok(End::Stopped)
}

fn tell(report: Report) -> Result<End> {
    let Report {
        incarnation,
        hosts,
        claims,
        disagreements,
        failed,
    } = report;
    if let Some(why) = failed {
        bail!("the ledger was not rebuilt: {why}");
    }
    println!("The ledger was rebuilt as incarnation {incarnation}: {claims} keys.");
    println!("Hosts that said what they hold: {}", hosts.join(", "));
    if disagreements.is_empty() {
        println!("They agree.");
    } else {
        println!("A person must look at this:");
        for disagreement in disagreements {
            println!("- {disagreement}");
        }
    }
    Ok(End::Stopped)
}

async fn client(args: &ApiArgs) -> Result<Client> {
    let config = match &args.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => kube::Config::infer().await?,
    };
    Client::try_from(config).context("the kubeconfig cannot be used")
}

fn store(args: &LedgerArgs) -> Result<StoreConfig> {
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let tls = match (&args.ledger_ca, &args.ledger_cert, &args.ledger_key) {
        (Some(ca), Some(certificate), Some(key)) => Some(StoreTls {
            ca: read(ca)?,
            certificate: read(certificate)?,
            key: read(key)?,
        }),
        _ => None,
    };
    Ok(StoreConfig {
        endpoints: args.ledger.clone(),
        cluster: args.cluster_name.clone(),
        tls,
    })
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
