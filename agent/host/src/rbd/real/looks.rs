//! What is found without starting a program for it, and images that a program cannot be asked of.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use dc_rados::{Image, Objects};
use nix::errno::Errno;

use super::super::answers::{DiskUsage, Listed};
use super::super::{ImageName, RbdError, Usage};
use super::RealCeph;

/// Programs that run side by side.
const AT_ONCE: usize = 8;

impl RealCeph {
    /// Works with the objects of a namespace.
    pub(super) async fn objects<T: Send + 'static>(
        &self,
        namespace: &str,
        what: String,
        work: impl FnOnce(&Objects<'_>) -> Result<T, dc_rados::Error> + Send + 'static,
    ) -> Result<T, RbdError> {
        let (pool, namespace) = (self.pool.clone(), namespace.to_owned());
        let of_objects =
            move |cluster: &dc_rados::Cluster| work(&cluster.open_objects(&pool, &namespace)?);
        self.daemons.work(what, of_objects).await
    }
}

/// What a question answers that `rbd` itself would begin with, from the objects that it would look
/// at: starting the program takes twenty times as long, and most of what is asked for is not there.
impl RealCeph {
    /// What an image that is opened for it says; `None` when there is none of that name.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        image: &ImageName,
        work: impl FnOnce(&Image<'_>) -> Result<T, dc_rados::Error> + Send + 'static,
    ) -> Result<Option<T>, RbdError> {
        let name = image.name.clone();
        let what = format!("looking at image {image}");
        let look = move |objects: &Objects<'_>| {
            let opened = objects.open_image(&name)?;
            opened.as_ref().map(work).transpose()
        };
        self.objects(&image.namespace, what, look).await
    }

    /// Whether anything bears that name, also what a removal that was cut off has left of it.
    pub(super) async fn bears_name(&self, image: &ImageName) -> Result<bool, RbdError> {
        let (id, key) = (
            format!("rbd_id.{}", image.name),
            format!("name_{}", image.name),
        );
        let what = format!("looking for image {image}");
        let look = move |objects: &Objects<'_>| {
            Ok(objects.exists(&id)? || objects.get("rbd_directory", &key)?.is_some())
        };
        self.objects(&image.namespace, what, look).await
    }

    /// The ends of the keys of one of RBD's own lists.
    pub(super) async fn own_list(
        &self,
        namespace: &str,
        object: &'static str,
        begin: &'static str,
    ) -> Result<Vec<String>, RbdError> {
        let list = move |objects: &Objects<'_>| objects.list(object, begin);
        let found = self.objects(namespace, format!("listing {object}"), list);
        let keys = found.await?.into_keys();
        let ends = keys.filter_map(|key| Some(key.strip_prefix(begin)?.to_owned()));
        Ok(ends.collect())
    }
}

/// What is asked of an image that is not there.
pub(super) fn no_image(what: &str, image: &ImageName) -> RbdError {
    RbdError::Refused {
        program: "rbd",
        what: format!("{what} {image}"),
        errno: Errno::ENOENT,
        said: "there is no such image".to_owned(),
    }
}

impl RealCeph {
    /// What each image takes; those that go meanwhile are left out.
    pub(super) async fn list_usage_one_by_one(
        &self,
        namespace: &str,
    ) -> Result<Vec<Usage>, RbdError> {
        let space = self.space_of(namespace);
        let listed: Vec<Listed> = self.ask("rbd", &["ls", "--long", &space]).await?;
        let empty = |one: &&Listed| one.snapshot.is_none() && one.size == 0;
        let empty: BTreeSet<String> = listed
            .iter()
            .filter(empty)
            .map(|one| one.image.clone())
            .collect();
        self.set_odd(namespace, !empty.is_empty());
        let (odd, others): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .partition(|one| empty.contains(&one.image));
        let mut found: Vec<Usage> = odd.into_iter().map(Listed::unknown).collect();
        let others: Vec<_> = others
            .into_iter()
            .filter(|one| one.snapshot.is_none())
            .collect();
        for several in others.chunks(AT_ONCE) {
            let asked = several
                .iter()
                .map(|one| self.usage_of(namespace, &one.image));
            let usage = futures::future::try_join_all(asked.collect::<Vec<_>>()).await?;
            found.extend(usage.into_iter().flatten());
        }
        Ok(found)
    }

    /// Notes that a namespace has images of size zero, or none any more.
    fn set_odd(&self, namespace: &str, is_odd: bool) {
        let mut odd = self.odd.lock().unwrap_or_else(PoisonError::into_inner);
        match is_odd {
            true => odd.insert(namespace.to_owned()),
            false => odd.remove(namespace),
        };
    }

    pub(super) fn is_odd(&self, namespace: &str) -> bool {
        let odd = self.odd.lock().unwrap_or_else(PoisonError::into_inner);
        odd.contains(namespace)
    }

    async fn usage_of(&self, namespace: &str, name: &str) -> Result<Vec<Usage>, RbdError> {
        let spec = self.spec(&ImageName::new(namespace, name));
        match self.ask::<DiskUsage>("rbd", &["du", &spec]).await {
            Err(error) if error.is_missing() => Ok(Vec::new()),
            other => other.map(Into::into),
        }
    }
}
