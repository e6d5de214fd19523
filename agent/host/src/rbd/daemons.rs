//! Asking the cluster's daemons, over one connection that is made when it is needed and kept.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dc_rados::{Cluster, Error, Place, Target};
use nix::errno::Errno;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::RbdError;
use super::program::{Client, MONITOR_LIMIT_S, OSD_LIMIT_S, USUAL};
use crate::drivers::cutoff::effect;

/// As errors name who was asked.
const PROGRAM: &str = "ceph";

/// One question or order. It is shown in errors, so nothing secret is ever in it.
pub(super) struct Order {
    target: Target,
    command: Value,
    input: Vec<u8>,
}

impl Order {
    pub fn new(prefix: &str) -> Self {
        Self {
            target: Target::Monitors,
            command: json!({ "prefix": prefix, "format": "json" }),
            input: Vec::new(),
        }
    }

    pub fn to(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.command[name] = value.into();
        self
    }

    /// Goes with it, and is shown nowhere.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// The order and its arguments, as one would type it.
    fn what(&self) -> String {
        let mut words = match &self.target {
            Target::Monitors => Vec::new(),
            Target::Monitor(name) => vec![format!("tell mon.{name}")],
            Target::Osd(number) => vec![format!("tell osd.{number}")],
        };
        let arguments = self.command.as_object().into_iter().flatten();
        let (prefix, others): (Vec<_>, Vec<_>) = arguments
            .filter(|(name, _)| *name != "format")
            .partition(|(name, _)| *name == "prefix");
        let shown = prefix.into_iter().chain(others).map(|(_, value)| {
            let text = value.as_str().map(str::to_owned);
            text.unwrap_or_else(|| value.to_string())
        });
        words.extend(shown);
        words.join(" ")
    }
}

/// The daemons of a cluster, as one user.
#[derive(Clone)]
pub(super) struct Daemons {
    place: Place,
    connection: Arc<Mutex<Option<Arc<Cluster>>>>,
}

impl fmt::Debug for Daemons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Daemons").field(&self.place).finish()
    }
}

impl Daemons {
    pub fn new(client: &Client) -> Self {
        Self {
            place: Place {
                conf: client.conf.clone(),
                user: client.user.clone(),
                monitor_limit_s: MONITOR_LIMIT_S,
                osd_limit_s: OSD_LIMIT_S,
            },
            connection: Arc::default(),
        }
    }

    /// An order that changes something in the cluster.
    pub async fn change(&self, order: Order) -> Result<(), RbdError> {
        effect();
        self.answer(order).await.map(drop)
    }

    pub async fn ask<T: DeserializeOwned>(&self, order: Order) -> Result<T, RbdError> {
        let what = order.what();
        let answer = self.answer(order).await?;
        serde_json::from_slice(&answer).map_err(|error| RbdError::Nonsense {
            program: PROGRAM,
            what,
            why: error.to_string(),
        })
    }

    /// What the daemon says.
    pub async fn answer(&self, order: Order) -> Result<Vec<u8>, RbdError> {
        self.work(order.what(), move |cluster| {
            cluster.ask(&order.target, &order.command.to_string(), &order.input)
        })
        .await
    }

    /// Does something over the connection; `what` names it in errors. Each call gives up by the
    /// connection's limits; the limit here is only for a library that hangs elsewhere.
    pub async fn work<T: Send + 'static>(
        &self,
        what: String,
        work: impl FnOnce(&Cluster) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, RbdError> {
        let daemons = self.clone();
        let work = tokio::task::spawn_blocking(move || daemons.work_now(work));
        let Ok(joined) = tokio::time::timeout(USUAL, work).await else {
            self.leave(None);
            return Err(RbdError::Hung {
                program: PROGRAM,
                what,
                limit_s: USUAL.as_secs(),
            });
        };
        match joined {
            Ok(answer) => answer.map_err(|error| told(error, what)),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    fn work_now<T>(&self, work: impl FnOnce(&Cluster) -> Result<T, Error>) -> Result<T, Error> {
        let cluster = self.connected()?;
        let answer = work(&cluster);
        // One that has lost its cluster, or was shut out of it, has no way back.
        if let Err(Error::Refused { errno, .. }) = &answer
            && matches!(errno, Errno::ETIMEDOUT | Errno::ENOTCONN | Errno::ESHUTDOWN)
        {
            self.leave(Some(&cluster));
        }
        answer
    }

    fn connected(&self) -> Result<Arc<Cluster>, Error> {
        let kept = self.lock().clone();
        if let Some(cluster) = kept {
            return Ok(cluster);
        }
        // Not under the lock: it may take as long as its limit.
        let made = Arc::new(Cluster::connect(&self.place)?);
        Ok(self.lock().get_or_insert(made).clone())
    }

    /// Lets the connection go, if it is still this one.
    fn leave(&self, which: Option<&Arc<Cluster>>) {
        let mut kept = self.lock();
        let same = |cluster: &Arc<Cluster>| which.is_none_or(|which| Arc::ptr_eq(which, cluster));
        if kept.as_ref().is_some_and(same) {
            *kept = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Cluster>>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(error: Error, what: String) -> RbdError {
    match error {
        Error::Refused { errno, said } => RbdError::Refused {
            program: PROGRAM,
            what,
            errno,
            said,
        },
        Error::NoLibrary {
            library, source, ..
        } => RbdError::NotStarted {
            program: library,
            source: std::io::Error::other(source),
        },
        Error::ZeroByte { .. } => RbdError::Refused {
            program: PROGRAM,
            what,
            errno: Errno::EINVAL,
            said: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_shown_as_it_would_be_typed_and_without_what_goes_with_it() {
        let order = Order::new("osd blocklist")
            .with("blocklistop", "add")
            .with("addr", "10.0.0.1:0/7")
            .input("secret");
        assert_eq!(order.what(), "osd blocklist 10.0.0.1:0/7 add");
        let order = Order::new("sessions").to(Target::Monitor("a".into()));
        assert_eq!(order.what(), "tell mon.a sessions");
    }

    #[tokio::test]
    async fn a_cluster_that_is_not_there_is_told() {
        let client = Client {
            conf: "/nonexistent/ceph.conf".into(),
            user: "nobody".into(),
        };
        let asked = Daemons::new(&client).answer(Order::new("osd stat")).await;
        let error = asked.unwrap_err().to_string();
        assert!(error.contains("osd stat"), "{error}");
    }
}
