//! The cluster that a configuration file names: images are changed by the program `rbd`; they are
//! looked at, and all else is done, over a connection that is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dc_rados::{Image, Target};
use dc_types::Bytes;

use super::answers::{
    AuthDump, Child, Df, DiffExtent, DiskUsage, Monitor, MonitorDump, OsdStat, OsdStatus, OsdTree,
    PoolListed, SessionListed, TrashListed, blocked, keyring, space, users,
};
use super::daemons::{Daemons, Order};
use super::program::{Call, Client};
use super::{
    ClientAddress, Cluster, Difference, ImageInfo, ImageName, Lock, MapEpoch, Rbd, RbdError,
    Session, Shrink, Snapshot, Space, Trashed, Usage, User,
};
use crate::drivers::cutoff::effect;

mod looks;

use looks::no_image;

/// Where records lie: no RBD namespace, which are DNS labels, has this name.
const RECORDS_NAMESPACE: &str = "dc_records";

/// Asked of every image: clones that need no protected parents, and cheap differences.
const FEATURES: &str = "layering,exclusive-lock,object-map,fast-diff,deep-flatten";

/// A pool of a cluster, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RbdPlace {
    /// Names the monitors, and the keyring of `user`.
    pub conf: PathBuf,
    /// Without the leading `client.`.
    pub user: String,
    pub pool: String,
}

/// One pool of a cluster.
#[derive(Clone, Debug)]
pub struct RealCeph {
    client: Client,
    daemons: Daemons,
    pool: String,
    /// Namespaces with images of size zero, of which `rbd du` dies.
    odd: Arc<Mutex<BTreeSet<String>>>,
}

impl RealCeph {
    #[must_use]
    pub fn new(place: &RbdPlace) -> Self {
        let RbdPlace { conf, user, pool } = place.clone();
        let client = Client { conf, user };
        Self {
            daemons: Daemons::new(&client),
            client,
            pool,
            odd: Arc::default(),
        }
    }

    /// As the programs take an image: `pool/namespace/name`.
    fn spec(&self, image: &ImageName) -> String {
        format!("{}/{image}", self.pool)
    }

    fn snapshot(&self, image: &ImageName, snapshot: &str) -> String {
        format!("{}@{snapshot}", self.spec(image))
    }

    fn space_of(&self, namespace: &str) -> String {
        match namespace {
            "" => self.pool.clone(),
            namespace => format!("{}/{namespace}", self.pool),
        }
    }

    async fn rbd(&self, args: &[&str]) -> Result<(), RbdError> {
        Call::change("rbd", args).run(&self.client).await.map(drop)
    }

    /// The same for what goes over a whole image.
    async fn rbd_bulk(&self, args: &[&str]) -> Result<(), RbdError> {
        let call = Call::change("rbd", args).bulk();
        call.run(&self.client).await.map(drop)
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        program: &'static str,
        args: &[&str],
    ) -> Result<T, RbdError> {
        Call::new(program, args).ask(&self.client).await
    }
}

/// A call whose work is done already has succeeded.
fn or_there(result: Result<(), RbdError>) -> Result<(), RbdError> {
    match result {
        Err(error) if error.is_there() => Ok(()),
        other => other,
    }
}

fn or_missing(result: Result<(), RbdError>) -> Result<(), RbdError> {
    match result {
        Err(error) if error.is_missing() => Ok(()),
        other => other,
    }
}

fn nonsense(program: &'static str, what: &str, why: &str) -> RbdError {
    RbdError::Nonsense {
        program,
        what: what.to_owned(),
        why: why.to_owned(),
    }
}

fn all<T: Into<U>, U>(listed: Vec<T>) -> Vec<U> {
    listed.into_iter().map(Into::into).collect()
}

#[async_trait]
impl Rbd for RealCeph {
    async fn list_namespaces(&self) -> Result<Vec<String>, RbdError> {
        self.own_list("", "rbd_namespace", "name_").await
    }

    async fn ensure_namespace(&self, namespace: &str) -> Result<(), RbdError> {
        let known = self.list_namespaces().await?;
        if known.iter().any(|one| one == namespace) {
            return Ok(());
        }
        let space = self.space_of(namespace);
        or_there(self.rbd(&["namespace", "create", &space]).await)
    }

    async fn list_usage(&self, namespace: &str) -> Result<Vec<Usage>, RbdError> {
        let names = self.own_list(namespace, "rbd_directory", "name_").await?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        if self.is_odd(namespace) {
            return self.list_usage_one_by_one(namespace).await;
        }
        let mut args = vec!["du", "--pool", &self.pool];
        if !namespace.is_empty() {
            args.extend(["--namespace", namespace]);
        }
        match self.ask::<DiskUsage>("rbd", &args).await {
            // It gives up when an image gets another name meanwhile, as each does that is made.
            Err(error) if error.is_missing() => self.list_usage_one_by_one(namespace).await,
            // That of Ceph 16 dies of an image of size zero, which anybody may make.
            Err(error) if error.is_death() => self.list_usage_one_by_one(namespace).await,
            other => other.map(Into::into),
        }
    }

    async fn read_image(&self, image: &ImageName) -> Result<Option<ImageInfo>, RbdError> {
        let look = |opened: &Image<'_>| {
            Ok(ImageInfo {
                id: opened.id()?,
                size: Bytes(opened.size()?),
                changed_at: Some(opened.changed_at()?),
                parent: opened.parent()?.map(Into::into),
            })
        };
        self.look(image, look).await
    }

    async fn create_image(&self, image: &ImageName, size: Bytes) -> Result<(), RbdError> {
        let size = format!("{}B", size.0);
        let features = ["--image-feature", FEATURES];
        let args = ["create", &self.spec(image), "--size", &size];
        self.rbd(&[&args[..], &features].concat()).await
    }

    async fn clone_image(
        &self,
        from: &ImageName,
        snapshot: &str,
        to: &ImageName,
    ) -> Result<(), RbdError> {
        // The second format needs no protected snapshot, and lets the parent's names go.
        let (from, to) = (self.snapshot(from, snapshot), self.spec(to));
        let format = ["--rbd-default-clone-format", "2"];
        let features = ["--image-feature", FEATURES];
        self.rbd(&[&["clone", &from, &to][..], &format, &features].concat())
            .await
    }

    async fn import_image(&self, file: &Path, to: &ImageName) -> Result<(), RbdError> {
        let to = self.spec(to);
        let call = Call::change("rbd", &["import", "--no-progress"])
            .arg(file.display())
            .arg(to);
        let call = call.arg("--image-feature").arg(FEATURES).bulk();
        call.run(&self.client).await.map(drop)
    }

    async fn resize_image(
        &self,
        image: &ImageName,
        size: Bytes,
        shrink: Shrink,
    ) -> Result<(), RbdError> {
        let size = format!("{}B", size.0);
        let spec = self.spec(image);
        let mut args = vec!["resize", "--no-progress", &spec, "--size", &size];
        match shrink {
            Shrink::Refused => {}
            Shrink::Allowed => args.push("--allow-shrink"),
        }
        self.rbd_bulk(&args).await
    }

    async fn rename_image(&self, image: &ImageName, name: &str) -> Result<(), RbdError> {
        let to = ImageName::new(&image.namespace, name);
        self.rbd(&["rename", &self.spec(image), &self.spec(&to)])
            .await
    }

    async fn flatten_image(&self, image: &ImageName) -> Result<(), RbdError> {
        let spec = self.spec(image);
        match self.rbd_bulk(&["flatten", "--no-progress", &spec]).await {
            // One without a parent cannot be flattened, and need not be.
            Err(error) if error.errno() == Some(nix::errno::Errno::EINVAL) => {
                match self.read_image(image).await? {
                    Some(info) if info.parent.is_none() => Ok(()),
                    _ => Err(error),
                }
            }
            other => other,
        }
    }

    async fn remove_image(&self, image: &ImageName) -> Result<(), RbdError> {
        if !self.bears_name(image).await? {
            return Ok(());
        }
        let spec = self.spec(image);
        or_missing(self.rbd_bulk(&["rm", "--no-progress", &spec]).await)
    }

    async fn set_option(&self, image: &ImageName, key: &str, value: &str) -> Result<(), RbdError> {
        let spec = self.spec(image);
        self.rbd(&["config", "image", "set", &spec, key, value])
            .await
    }

    async fn trash_image(&self, image: &ImageName) -> Result<(), RbdError> {
        or_missing(self.rbd(&["trash", "mv", &self.spec(image)]).await)
    }

    async fn list_trash(&self, namespace: &str) -> Result<Vec<Trashed>, RbdError> {
        if self
            .own_list(namespace, "rbd_trash", "id_")
            .await?
            .is_empty()
        {
            return Ok(Vec::new());
        }
        let args = ["trash", "ls", "--all", &self.space_of(namespace)];
        Ok(all::<TrashListed, _>(self.ask("rbd", &args).await?))
    }

    async fn remove_trashed(&self, namespace: &str, id: &str) -> Result<(), RbdError> {
        let spec = format!("{}/{id}", self.space_of(namespace));
        or_missing(
            self.rbd_bulk(&["trash", "rm", "--no-progress", &spec])
                .await,
        )
    }

    async fn list_snapshots(&self, image: &ImageName) -> Result<Vec<Snapshot>, RbdError> {
        let look = self.look(image, |opened| opened.snapshots()).await?;
        let snapshots = look.ok_or_else(|| no_image("listing snapshots of", image))?;
        Ok(all(snapshots))
    }

    async fn create_snapshot(&self, image: &ImageName, snapshot: &str) -> Result<(), RbdError> {
        let spec = self.snapshot(image, snapshot);
        or_there(self.rbd(&["snap", "create", "--no-progress", &spec]).await)
    }

    async fn remove_snapshot(&self, image: &ImageName, snapshot: &str) -> Result<(), RbdError> {
        let spec = self.snapshot(image, snapshot);
        or_missing(self.rbd_bulk(&["snap", "rm", "--no-progress", &spec]).await)
    }

    async fn rollback_image(&self, image: &ImageName, snapshot: &str) -> Result<(), RbdError> {
        let spec = self.snapshot(image, snapshot);
        self.rbd_bulk(&["snap", "rollback", "--no-progress", &spec])
            .await
    }

    async fn read_differences(
        &self,
        image: &ImageName,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Vec<Difference>, RbdError> {
        let spec = match to {
            Some(to) => self.snapshot(image, to),
            None => self.spec(image),
        };
        let mut args = vec!["diff", &spec];
        if let Some(from) = from {
            args.extend(["--from-snap", from]);
        }
        let call = Call::new("rbd", &args).bulk();
        Ok(all::<DiffExtent, _>(call.ask(&self.client).await?))
    }

    async fn list_clones(&self, image: &ImageName) -> Result<Vec<ImageName>, RbdError> {
        let args = ["children", "--all", &self.spec(image)];
        Ok(all::<Child, _>(self.ask("rbd", &args).await?))
    }

    async fn list_watchers(&self, image: &ImageName) -> Result<Vec<ClientAddress>, RbdError> {
        let look = self.look(image, |opened| opened.watchers()).await?;
        let watchers = look.ok_or_else(|| no_image("listing watchers of", image))?;
        Ok(watchers.into_iter().map(ClientAddress).collect())
    }

    async fn list_locks(&self, image: &ImageName) -> Result<Vec<Lock>, RbdError> {
        let look = self.look(image, |opened| opened.lockers()).await?;
        let lockers = look.ok_or_else(|| no_image("listing locks of", image))?;
        Ok(all(lockers))
    }

    async fn remove_lock(&self, image: &ImageName, lock: &Lock) -> Result<(), RbdError> {
        let args = ["lock", "rm", &self.spec(image), &lock.id, &lock.locker];
        or_missing(self.rbd(&args).await)
    }
}

#[async_trait]
impl Cluster for RealCeph {
    fn own_user(&self) -> String {
        format!("client.{}", self.client.user)
    }

    async fn read_space(&self) -> Result<Space, RbdError> {
        let pools = Order::new("osd pool ls").with("detail", "detail");
        let pools = self.daemons.ask::<Vec<PoolListed>>(pools);
        let df = self.daemons.ask::<Df>(Order::new("df"));
        let (pools, df) = tokio::try_join!(pools, df)?;
        space(&df, &pools, &self.pool).ok_or_else(|| RbdError::Refused {
            program: "ceph",
            what: format!("df: pool {}", self.pool),
            errno: nix::errno::Errno::ENOENT,
            said: "error opening pool: the cluster has none of this name".to_owned(),
        })
    }

    async fn list_users(&self, prefix: &str) -> Result<Vec<User>, RbdError> {
        let dump: AuthDump = self.daemons.ask(Order::new("auth ls")).await?;
        Ok(users(dump, prefix))
    }

    async fn ensure_user(&self, user: &User) -> Result<(), RbdError> {
        let order = Order::new("auth import").input(keyring(user));
        self.daemons.change(order).await
    }

    async fn remove_user(&self, name: &str) -> Result<(), RbdError> {
        let order = Order::new("auth del").with("entity", name);
        or_missing(self.daemons.change(order).await)
    }

    async fn list_sessions(&self) -> Result<Vec<Session>, RbdError> {
        let monitors: MonitorDump = self.daemons.ask(Order::new("mon dump")).await?;
        let mut found = Vec::new();
        for monitor in monitors.mons {
            let order = Order::new("sessions").to(Target::Monitor(monitor.name));
            let listed: Vec<SessionListed> = self.daemons.ask(order).await?;
            found.extend(listed.iter().flat_map(SessionListed::sessions));
        }
        Ok(found)
    }

    async fn list_monitors(&self) -> Result<Vec<SocketAddr>, RbdError> {
        let dump: MonitorDump = self.daemons.ask(Order::new("mon dump")).await?;
        Ok(dump.mons.iter().filter_map(Monitor::address).collect())
    }

    async fn block(&self, address: &ClientAddress, seconds: u64) -> Result<(), RbdError> {
        let order = Order::new("osd blocklist")
            .with("blocklistop", "add")
            .with("addr", address.0.as_str())
            // It takes a number with a point only.
            .with("expire", Duration::from_secs(seconds).as_secs_f64());
        self.daemons.change(order).await
    }

    async fn list_blocked(&self) -> Result<Vec<ClientAddress>, RbdError> {
        let answer = self.daemons.answer(Order::new("osd blocklist ls")).await?;
        let listed = blocked(&answer);
        listed.map_err(|error| nonsense("ceph", "osd blocklist ls", &error.to_string()))
    }

    async fn read_map_epoch(&self) -> Result<MapEpoch, RbdError> {
        let stat: OsdStat = self.daemons.ask(Order::new("osd stat")).await?;
        Ok(MapEpoch(stat.epoch))
    }

    async fn read_oldest_osd_map(&self) -> Result<MapEpoch, RbdError> {
        let tree: OsdTree = self.daemons.ask(Order::new("osd tree")).await?;
        let up = tree
            .nodes
            .iter()
            .filter(|node| node.r#type == "osd" && node.status == "up");
        let asked = up.map(async |node| {
            let order = Order::new("status").to(Target::Osd(node.id));
            let status: OsdStatus = self.daemons.ask(order).await?;
            Ok::<_, RbdError>(status.newest_map)
        });
        let newest = futures::future::try_join_all(asked).await?;
        let oldest = newest.into_iter().min();
        oldest
            .map(MapEpoch)
            .ok_or_else(|| nonsense("ceph", "osd tree", "no OSD is up"))
    }

    async fn list_records(&self, object: &str) -> Result<BTreeMap<String, Vec<u8>>, RbdError> {
        let object = object.to_owned();
        let what = format!("listing {object}");
        self.objects(RECORDS_NAMESPACE, what, move |objects| {
            objects.list(&object, "")
        })
        .await
    }

    async fn read_record(&self, object: &str, key: &str) -> Result<Option<Vec<u8>>, RbdError> {
        let (object, key) = (object.to_owned(), key.to_owned());
        let what = format!("reading {key} of {object}");
        self.objects(RECORDS_NAMESPACE, what, move |objects| {
            objects.get(&object, &key)
        })
        .await
    }

    async fn write_record(&self, object: &str, key: &str, text: &[u8]) -> Result<(), RbdError> {
        let (object, key, text) = (object.to_owned(), key.to_owned(), text.to_owned());
        let what = format!("writing {key} of {object}");
        effect();
        self.objects(RECORDS_NAMESPACE, what, move |objects| {
            objects.set(&object, &key, &text)
        })
        .await
    }

    async fn remove_record(&self, object: &str, key: &str) -> Result<(), RbdError> {
        let (object, key) = (object.to_owned(), key.to_owned());
        let what = format!("removing {key} of {object}");
        effect();
        or_missing(
            self.objects(RECORDS_NAMESPACE, what, move |objects| {
                objects.remove(&object, &key)
            })
            .await,
        )
    }
}
