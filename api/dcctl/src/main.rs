//! `dcctl`: the departments' API for the terminal. It knows nothing that the API does not say: what
//! may be done, and why something waits, is decided there.

mod audit;
mod client;
mod login;
mod show;
mod things;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde_json::{Value, json};

use client::Api;
use show::Output;

#[derive(Parser)]
#[command(
    version,
    about = "The departments' API of a data centre, for the terminal"
)]
struct Cli {
    /// Where the API is, such as https://api.example.vn.
    #[arg(long, env = "DCCTL_API", global = true)]
    api: Option<String>,
    /// The CA of the API and of the identity provider (PEM); the system's when absent.
    #[arg(long, env = "DCCTL_CA", global = true)]
    ca: Option<PathBuf>,
    /// The department.
    #[arg(long, short = 'd', env = "DCCTL_DEPARTMENT", global = true)]
    department: Option<String>,
    #[arg(long, short = 'o', value_enum, default_value = "table", global = true)]
    output: Output,
    /// In which language the API answers.
    #[arg(long, value_enum, default_value = "vi", global = true)]
    language: Language,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    Vi,
    En,
}

#[derive(Subcommand)]
enum Command {
    /// Signs in: shows an address and a code to enter there, in any browser (RFC 8628).
    Login(login::Args),
    /// Forgets the token.
    Logout,
    /// Shows what the department has.
    Get {
        #[arg(value_enum)]
        kind: Kind,
        name: Option<String>,
        /// Only what belongs to this system.
        #[arg(long)]
        system: Option<String>,
        /// Only what is in this state.
        #[arg(long)]
        state: Option<String>,
        /// Only what is of this machine.
        #[arg(long)]
        machine: Option<String>,
    },
    /// Makes, shows, grows, moves and deletes volumes.
    #[command(subcommand, visible_alias = "vol")]
    Volume(things::Volume),
    /// Takes, shows and deletes snapshots.
    #[command(subcommand, visible_alias = "snap")]
    Snapshot(things::Snapshot),
    /// Backs machines up, and shows backups, their policies and proofs.
    #[command(subcommand)]
    Backup(things::Backup),
    /// Restores what backups hold, shows how far that is, and stops it.
    #[command(subcommand)]
    Restore(things::Restore),
    /// Writes a request, from a file of YAML or JSON as the API takes it.
    Request {
        /// `-` for standard input.
        #[arg(long, short = 'f')]
        file: PathBuf,
        /// Hands it in at once.
        #[arg(long)]
        submit: bool,
    },
    /// Hands in a request that is a draft.
    Submit { request: String },
    /// Takes a request back, for good.
    Withdraw { request: String },
    /// Approves a request as it stands now.
    Approve(AnswerArgs),
    /// Rejects a request.
    Reject(AnswerArgs),
    /// Says how something stands, why, and what to do.
    Explain {
        #[arg(value_enum)]
        kind: Kind,
        name: String,
    },
    /// Shows what each system held, summed over days, and what it is worth where there are prices.
    Showback {
        /// The first day, as 2026-11-01; the first of the month when absent.
        #[arg(long)]
        from: Option<String>,
        /// The last day; today when absent.
        #[arg(long)]
        to: Option<String>,
        /// By day, as a table for a spreadsheet.
        #[arg(long)]
        csv: bool,
    },
    /// Looks at the server's audit log, without the server.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Prints completions for a shell.
    Completions { shell: Shell },
}

#[derive(clap::Args)]
struct AnswerArgs {
    request: String,
    /// As whom.
    #[arg(long = "as", value_enum, default_value = "leader")]
    role: Role,
    /// For the department and for the record.
    #[arg(long, default_value = "")]
    reason: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Leader,
    Centre,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    #[value(alias = "department", alias = "dept")]
    Departments,
    #[value(alias = "system", alias = "sys")]
    Systems,
    #[value(alias = "machine", alias = "vm", alias = "vms")]
    Machines,
    #[value(alias = "volume", alias = "vol")]
    Volumes,
    #[value(alias = "snapshot", alias = "snap")]
    Snapshots,
    #[value(alias = "subnet")]
    Subnets,
    #[value(alias = "request", alias = "rreq")]
    Requests,
    #[value(alias = "approval")]
    Approvals,
    #[value(alias = "event")]
    Events,
    #[value(alias = "backup", alias = "bak")]
    Backups,
    #[value(alias = "restore", alias = "rest")]
    Restores,
    #[value(alias = "machinerestore", alias = "mrest")]
    MachineRestores,
    #[value(alias = "proof")]
    Proofs,
    #[value(alias = "policy", alias = "bpol")]
    Policies,
    /// Of volumes: how each is backed up.
    Protection,
}

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Self::Departments => "departments",
            Self::Systems => "informationsystems",
            Self::Machines => "virtualmachines",
            Self::Volumes => "volumes",
            Self::Snapshots => "volumesnapshots",
            Self::Subnets => "subnets",
            Self::Requests => "resourcerequests",
            Self::Approvals => "approvals",
            Self::Events => "events",
            Self::Backups => "backups",
            Self::Restores => "restores",
            Self::MachineRestores => "machinerestores",
            Self::Proofs => "restoreproofs",
            Self::Policies => "backuppolicies",
            Self::Protection => "protection",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dcctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let ca = cli.ca.as_deref();
    match cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "dcctl", &mut std::io::stdout());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Audit(command) => return audit::run(command, cli.output, cli.language),
        Command::Login(args) => {
            login::login(&args, ca).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Logout => {
            login::logout()?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let language = match cli.language {
        Language::Vi => "vi",
        Language::En => "en",
    };
    let at = cli
        .api
        .context("where is the API? give --api or DCCTL_API")?;
    let api = Api::new(&at, ca, login::token()?, language)?;
    let desk = Desk {
        api,
        department: cli.department,
        output: cli.output,
    };
    desk.run(cli.command).await?;
    Ok(ExitCode::SUCCESS)
}

struct Desk {
    api: Api,
    department: Option<String>,
    output: Output,
}

impl Desk {
    async fn run(&self, command: Command) -> Result<()> {
        match command {
            Command::Get {
                kind,
                name,
                system,
                state,
                machine,
            } => {
                let filters = [
                    ("system", system),
                    ("state", state),
                    ("virtualMachine", machine),
                ];
                self.get(kind, name, &filters).await
            }
            Command::Volume(command) => self.volume(command).await,
            Command::Snapshot(command) => self.snapshot(command).await,
            Command::Backup(command) => self.backup(command).await,
            Command::Restore(command) => self.restore(command).await,
            Command::Request { file, submit } => {
                let mut request = read(&file)?;
                if submit {
                    request["wanted"] = json!("Submitted");
                }
                let path = self.path(Kind::Requests, None)?;
                self.show(Kind::Requests, self.api.post(&path, &request).await?)
            }
            Command::Submit { request } => self.want(&request, "Submitted").await,
            Command::Withdraw { request } => self.want(&request, "Withdrawn").await,
            Command::Approve(args) => self.answer(args, "Approve").await,
            Command::Reject(args) => self.answer(args, "Reject").await,
            Command::Showback { from, to, csv } => self.showback(&from, &to, csv).await,
            Command::Explain { kind, name } => self.explain(kind, &name).await,
            // Done before anybody has to have signed in.
            Command::Audit(_)
            | Command::Login(_)
            | Command::Logout
            | Command::Completions { .. } => Ok(()),
        }
    }

    fn path(&self, kind: Kind, name: Option<&str>) -> Result<String> {
        let named = |name: Option<&str>| name.map(|name| format!("/{name}")).unwrap_or_default();
        if kind == Kind::Departments {
            return Ok(format!("/departments{}", named(name)));
        }
        let kind = kind.plural();
        Ok(format!("{}/{kind}{}", self.of_department()?, named(name)))
    }

    fn of_department(&self) -> Result<String> {
        let department = self.department.as_deref();
        let department = department.context("of which department? give -d or DCCTL_DEPARTMENT")?;
        Ok(format!("/departments/{department}"))
    }

    async fn get(
        &self,
        kind: Kind,
        name: Option<String>,
        filters: &[(&str, Option<String>)],
    ) -> Result<()> {
        if let (Kind::Events, Some(name)) = (kind, &name) {
            let path = self.path(kind, None)?;
            let found = self.api.all(&path, &[("object", name)]).await?;
            return self.show(kind, Value::Array(found));
        }
        let path = self.path(kind, name.as_deref())?;
        if name.is_some() {
            return self.show(kind, self.api.get(&path).await?);
        }
        let filters = filters
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let filters: Vec<(&str, &str)> = filters.collect();
        let found = self.api.all(&path, &filters).await?;
        self.show(kind, Value::Array(found))
    }

    async fn showback(&self, from: &Option<String>, to: &Option<String>, csv: bool) -> Result<()> {
        let days = [("from", from), ("to", to)].into_iter();
        let days = days.filter_map(|(name, day)| Some((name, day.as_deref()?)));
        let mut asked: Vec<(&str, &str)> = days.collect();
        if csv {
            asked.push(("format", "csv"));
        }
        let department = self.of_department()?;
        let path = format!("{department}/showback?{}", client::encoded(&asked));
        if csv {
            print!("{}", self.api.text(&path).await?);
            return Ok(());
        }
        let found = self.api.get(&path).await?;
        print!("{}", show::usage(self.output, &found)?);
        Ok(())
    }

    async fn want(&self, request: &str, wanted: &str) -> Result<()> {
        let path = self.path(Kind::Requests, Some(request))?;
        let changed = self.api.patch(&path, &json!({ "wanted": wanted })).await?;
        self.show(Kind::Requests, changed)
    }

    /// To what is read here: if it is changed in between, the answer counts for nothing.
    async fn answer(&self, args: AnswerArgs, verdict: &str) -> Result<()> {
        let AnswerArgs {
            request,
            role,
            reason,
        } = args;
        let read = self
            .api
            .get(&self.path(Kind::Requests, Some(&request))?)
            .await?;
        let answer = json!({
            "request": request, "requestUid": read["uid"], "hash": read["hash"],
            "role": match role { Role::Leader => "Leader", Role::Centre => "Centre" },
            "verdict": verdict, "reason": reason,
        });
        let given = self
            .api
            .post(&self.path(Kind::Approvals, None)?, &answer)
            .await?;
        self.show(Kind::Approvals, given)
    }

    async fn explain(&self, kind: Kind, name: &str) -> Result<()> {
        let found = self.api.get(&self.path(kind, Some(name))?).await?;
        if self.output != Output::Table {
            return self.show(kind, found);
        }
        print!("{}", show::explained(&found));
        if kind != Kind::Departments {
            let events = self.path(Kind::Events, None)?;
            // Not everybody may see events; what is known without them is said.
            let events = self.api.all(&events, &[("object", name)]).await;
            print!("{}", show::table(Kind::Events, &events.unwrap_or_default()));
        }
        Ok(())
    }

    fn show(&self, kind: Kind, found: Value) -> Result<()> {
        print!("{}", show::show(self.output, kind, &found)?);
        Ok(())
    }
}

fn read(file: &PathBuf) -> Result<Value> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
    }
    // JSON is YAML.
    let value: Value = serde_norway::from_str(&text)
        .with_context(|| format!("{} is neither YAML nor JSON", file.display()))?;
    if !value.is_object() {
        bail!("{} holds no request", file.display());
    }
    Ok(value)
}
