//! `dcctl volume`, `snapshot`, `backup` and `restore`: what is made, looked at and taken away in one
//! line each. They ask for what `get` and the API ask for, and nothing else.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{Desk, Kind};

/// Which ones are meant.
#[derive(Args)]
pub struct Meant {
    /// Only what belongs to this system.
    #[arg(long)]
    system: Option<String>,
    /// Only what is in this state.
    #[arg(long)]
    state: Option<String>,
    /// Only what is of this machine.
    #[arg(long)]
    machine: Option<String>,
}

#[derive(Subcommand)]
pub enum Volume {
    /// Shows the department's volumes.
    List(Meant),
    /// Shows one.
    Get { name: String },
    /// Makes one.
    Create {
        name: String,
        #[arg(long)]
        system: String,
        #[arg(long)]
        pool: String,
        /// Such as 20Gi.
        #[arg(long)]
        size: String,
        /// From an image of the catalogue; blank when nothing is named.
        #[arg(long, group = "from")]
        image: Option<String>,
        /// From another volume of the same pool.
        #[arg(long, group = "from")]
        volume: Option<String>,
        /// From a snapshot of the same pool; SNAPSHOT/VOLUME when it is of several volumes.
        #[arg(long, group = "from")]
        snapshot: Option<String>,
        /// Encrypts its bytes at rest, by a key of its own. Of a blank volume alone, and for good.
        #[arg(long, conflicts_with = "from")]
        encrypted: bool,
    },
    /// Makes it larger.
    Grow {
        name: String,
        /// The larger size, such as 40Gi.
        #[arg(long)]
        size: String,
    },
    /// Moves it to another pool; its guest goes on. Moving it back takes the move back.
    Move {
        name: String,
        #[arg(long)]
        pool: String,
    },
    /// Deletes it. It is gone once hosts have given it back.
    Delete { name: String },
    /// Says how each volume is backed up, and why the others are not.
    Protection {
        /// Only those that no policy backs up.
        #[arg(long)]
        unprotected: bool,
        /// Of all departments that you may see.
        #[arg(long)]
        everywhere: bool,
    },
}

#[derive(Subcommand)]
pub enum Snapshot {
    /// Shows the department's snapshots.
    List(Meant),
    /// Shows one.
    Get { name: String },
    /// Takes one, of a volume or of all volumes of a machine.
    Create {
        name: String,
        #[arg(long)]
        system: String,
        #[arg(long, required_unless_present = "machine", conflicts_with = "machine")]
        volume: Option<String>,
        #[arg(long)]
        machine: Option<String>,
    },
    /// Deletes it.
    Delete { name: String },
}

#[derive(Subcommand)]
pub enum Backup {
    /// Shows the department's backups, and whether each was shown to come back.
    List(Meant),
    /// Shows one.
    Get { name: String },
    /// Backs a machine up now.
    Create {
        name: String,
        #[arg(long)]
        machine: String,
        #[arg(long)]
        repository: String,
    },
    /// Shows the policies that are for the department's machines, and how these stand.
    Policies,
    /// Shows how backups were tried; one of them with its steps and evidence.
    Proofs { name: Option<String> },
    /// Asks for a trial of a backup; by itself only the platform's administrators may.
    Prove {
        backup: String,
        /// What the trial is called; as the backup, when absent.
        #[arg(long)]
        name: Option<String>,
        /// Where it is restored to; where the machine's first disk is, when absent.
        #[arg(long)]
        pool: Option<String>,
    },
}

#[derive(Subcommand)]
pub enum Restore {
    /// Shows the department's restores, and how far each is.
    List(Meant),
    /// Shows one.
    Get { name: String },
    /// Restores a volume of a backup into a new one.
    Create(NewRestore),
    /// Restores a volume of a backup over one that is there, whose state is snapshotted first.
    Over(RestoreOver),
    /// Stops one that still writes. What it has written is of no use.
    Cancel { name: String },
    /// Builds a machine of a backup anew, with all its volumes.
    Machine(RestoreMachine),
    /// Shows the machines that are built anew, and how far each is; or one of them.
    Machines { name: Option<String> },
    /// Stops one whose volumes are still written. Volumes that are whole stay.
    CancelMachine { name: String },
}

#[derive(Args)]
pub struct RestoreOver {
    /// The volume that is written over.
    volume: String,
    #[arg(long)]
    backup: String,
    /// Which volume of the backup, by the name it had; the same when absent.
    #[arg(long)]
    of: Option<String>,
    /// What the restore is called; as the volume, when absent.
    #[arg(long)]
    name: Option<String>,
    /// Stops the guest of the machine that has it, and starts it again afterwards.
    #[arg(long)]
    stop_machine: bool,
    /// Reads it back when it is written, and compares it with the backup.
    #[arg(long)]
    verify: bool,
}

impl RestoreOver {
    fn body(self) -> Value {
        let Self {
            volume,
            backup,
            of,
            name,
            stop_machine,
            verify,
        } = self;
        let name = name.unwrap_or_else(|| volume.clone());
        let of = of.unwrap_or_else(|| volume.clone());
        json!({"name": name, "backup": backup, "to": {"inPlace": {"of": of, "volume": volume,
               "stopMachine": stop_machine, "verify": verify}}})
    }
}

#[derive(Args)]
pub struct RestoreMachine {
    /// What the copy is called; with --same what the restore is called.
    name: String,
    #[arg(long)]
    backup: String,
    /// The machine itself, with its name, MACs and addresses, in place of a copy. It must be gone.
    #[arg(long)]
    same: bool,
    /// Starts its guest once it is built.
    #[arg(long)]
    start: bool,
    /// What it belongs to; as it did, when absent. So with class and pool.
    #[arg(long)]
    system: Option<String>,
    #[arg(long)]
    class: Option<String>,
    /// Where all its volumes are put.
    #[arg(long)]
    pool: Option<String>,
    /// A subnet in the place of one that it was in: WAS=SUBNET. As often as there are such.
    #[arg(long = "subnet", value_name = "WAS=SUBNET", value_parser = instead)]
    subnets: Vec<(String, String)>,
    /// Reads each volume back when it is written, and compares it with the backup.
    #[arg(long)]
    verify: bool,
}

fn instead(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let (was, subnet) = parts.ok_or("WAS=SUBNET, such as internal=internal-2")?;
    Ok((was.to_owned(), subnet.to_owned()))
}

impl RestoreMachine {
    fn body(self) -> Value {
        let Self {
            name,
            backup,
            same,
            start,
            system,
            class,
            pool,
            subnets,
            verify,
        } = self;
        let (identity, machine) = match same {
            true => ("Same", None),
            false => ("Copy", Some(name.clone())),
        };
        let subnets = subnets.into_iter();
        let subnets = subnets.map(|(was, subnet)| json!({"was": was, "subnet": subnet}));
        named(json!({"name": name, "backup": backup, "identity": identity,
                     "virtualMachine": machine, "start": start, "system": system, "class": class,
                     "pool": pool, "subnets": subnets.collect::<Vec<_>>(), "verify": verify}))
    }
}

/// One volume of a snapshot.
fn of_snapshot(text: &str) -> Value {
    match text.split_once('/') {
        Some((name, volume)) => json!({"name": name, "volume": volume}),
        None => json!({ "name": text }),
    }
}

#[derive(Args)]
pub struct NewRestore {
    /// What the new volume is called, and the restore.
    name: String,
    #[arg(long)]
    backup: String,
    /// Which volume of the backup, by the name it had.
    #[arg(long)]
    volume: String,
    /// What the new volume belongs to.
    #[arg(long)]
    system: String,
    #[arg(long)]
    pool: String,
    /// Not less than it had; as much, when absent.
    #[arg(long)]
    size: Option<String>,
    /// Reads it back when it is written, and compares it with the backup.
    #[arg(long)]
    verify: bool,
}

/// Without what nobody has named.
fn named(fields: Value) -> Value {
    match fields {
        Value::Object(mut fields) => {
            fields.retain(|_, value| !value.is_null());
            Value::Object(fields)
        }
        other => other,
    }
}

impl NewRestore {
    fn body(self) -> Value {
        let Self {
            name,
            backup,
            volume,
            system,
            pool,
            size,
            verify,
        } = self;
        let new = named(
            json!({"of": volume, "name": name, "system": system, "pool": pool,
                               "size": size, "verify": verify}),
        );
        json!({"name": name, "backup": backup, "to": {"newVolume": new}})
    }
}

impl Desk {
    pub async fn volume(&self, command: Volume) -> Result<()> {
        const KIND: Kind = Kind::Volumes;
        match command {
            Volume::List(meant) => self.list(KIND, meant).await,
            Volume::Get { name } => self.one(KIND, &name).await,
            Volume::Create {
                name,
                system,
                pool,
                size,
                image,
                volume,
                snapshot,
                encrypted,
            } => {
                let snapshot = snapshot.map(|text| of_snapshot(&text));
                let source = named(json!({"image": image, "volume": volume, "snapshot": snapshot}));
                let new = json!({"name": name, "system": system, "pool": pool, "size": size,
                                 "source": source, "encrypted": encrypted});
                self.make(KIND, new).await
            }
            Volume::Grow { name, size } => self.change(KIND, &name, json!({ "size": size })).await,
            Volume::Move { name, pool } => self.change(KIND, &name, json!({ "pool": pool })).await,
            Volume::Delete { name } => self.take_away(KIND, &name).await,
            Volume::Protection {
                unprotected,
                everywhere,
            } => self.protection(unprotected, everywhere).await,
        }
    }

    /// Of one department, or of each; then it says of which each is.
    async fn protection(&self, unprotected: bool, everywhere: bool) -> Result<()> {
        let meant: &[(&str, &str)] = match unprotected {
            true => &[("protected", "false")],
            false => &[],
        };
        let departments = match everywhere {
            false => vec![self.of_department()?],
            true => {
                let all = self.api.all("/departments", &[]).await?;
                let names = all.iter().filter_map(|one| one["name"].as_str());
                names.map(|name| format!("/departments/{name}")).collect()
            }
        };
        let mut found = Vec::new();
        for department in departments {
            let path = format!("{department}/{}", Kind::Protection.plural());
            for mut one in self.api.all(&path, meant).await? {
                one["department"] = json!(department.trim_start_matches("/departments/"));
                found.push(one);
            }
        }
        self.show(Kind::Protection, Value::Array(found))
    }

    pub async fn snapshot(&self, command: Snapshot) -> Result<()> {
        const KIND: Kind = Kind::Snapshots;
        match command {
            Snapshot::List(meant) => self.list(KIND, meant).await,
            Snapshot::Get { name } => self.one(KIND, &name).await,
            Snapshot::Create {
                name,
                system,
                volume,
                machine,
            } => {
                let new = json!({"name": name, "system": system, "volume": volume,
                                 "virtualMachine": machine});
                self.make(KIND, named(new)).await
            }
            Snapshot::Delete { name } => self.take_away(KIND, &name).await,
        }
    }

    pub async fn backup(&self, command: Backup) -> Result<()> {
        const KIND: Kind = Kind::Backups;
        match command {
            Backup::List(meant) => self.list(KIND, meant).await,
            Backup::Get { name } => self.one(KIND, &name).await,
            Backup::Create {
                name,
                machine,
                repository,
            } => {
                let new =
                    json!({"name": name, "virtualMachine": machine, "repository": repository});
                self.make(KIND, new).await
            }
            Backup::Policies => self.get(Kind::Policies, None, &[]).await,
            Backup::Proofs { name } => self.get(Kind::Proofs, name, &[]).await,
            Backup::Prove { backup, name, pool } => {
                let name = name.unwrap_or_else(|| backup.clone());
                let new = json!({"name": name, "backup": backup, "pool": pool});
                self.make(Kind::Proofs, named(new)).await
            }
        }
    }

    pub async fn restore(&self, command: Restore) -> Result<()> {
        const KIND: Kind = Kind::Restores;
        match command {
            Restore::List(meant) => self.list(KIND, meant).await,
            Restore::Get { name } => self.one(KIND, &name).await,
            Restore::Create(new) => self.make(KIND, new.body()).await,
            Restore::Over(over) => self.make(KIND, over.body()).await,
            Restore::Cancel { name } => self.take_away(KIND, &name).await,
            Restore::Machine(machine) => self.make(Kind::MachineRestores, machine.body()).await,
            Restore::Machines { name } => self.get(Kind::MachineRestores, name, &[]).await,
            Restore::CancelMachine { name } => self.take_away(Kind::MachineRestores, &name).await,
        }
    }

    async fn list(&self, kind: Kind, meant: Meant) -> Result<()> {
        let Meant {
            system,
            state,
            machine,
        } = meant;
        let filters = [
            ("system", system),
            ("state", state),
            ("virtualMachine", machine),
        ];
        self.get(kind, None, &filters).await
    }

    async fn one(&self, kind: Kind, name: &str) -> Result<()> {
        self.get(kind, Some(name.to_owned()), &[]).await
    }

    async fn change(&self, kind: Kind, name: &str, change: Value) -> Result<()> {
        let path = self.path(kind, Some(name))?;
        self.show(kind, self.api.patch(&path, &change).await?)
    }

    async fn make(&self, kind: Kind, new: Value) -> Result<()> {
        let path = self.path(kind, None)?;
        self.show(kind, self.api.post(&path, &new).await?)
    }

    async fn take_away(&self, kind: Kind, name: &str) -> Result<()> {
        let path = self.path(kind, Some(name))?;
        self.api.delete(&path).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_named_is_not_sent() {
        let machine = RestoreMachine {
            name: "web-2".to_owned(),
            backup: "nightly".to_owned(),
            same: false,
            start: true,
            system: None,
            class: None,
            pool: None,
            subnets: vec![instead("internal=internal-2").unwrap()],
            verify: false,
        };
        assert_eq!(
            machine.body(),
            json!({"name": "web-2", "backup": "nightly", "identity": "Copy",
                   "virtualMachine": "web-2", "start": true,
                   "subnets": [{"was": "internal", "subnet": "internal-2"}], "verify": false})
        );
        assert!(instead("internal").is_err());
        let new = NewRestore {
            name: "old".to_owned(),
            backup: "nightly".to_owned(),
            volume: "web-root".to_owned(),
            system: "a01".to_owned(),
            pool: "san-1".to_owned(),
            size: None,
            verify: true,
        };
        let body = new.body();
        assert_eq!(
            body,
            json!({"name": "old", "backup": "nightly", "to": {"newVolume": {
                "of": "web-root", "name": "old", "system": "a01", "pool": "san-1",
                "verify": true}}})
        );
    }
}
