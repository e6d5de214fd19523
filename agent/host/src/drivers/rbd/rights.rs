//! What the user of a grant may do: work with one image, read what it was cloned from, and nothing
//! else in the cluster.
//!
//! - Towards monitors, it reads their maps. It may not shut others out: Ceph's own profile for
//!   clients lets each of them put any address on the blocklist.
//! - Towards OSDs, it may touch the objects that bear the image's id. Neither other images nor a
//!   list of them are among these; of each parent, the objects may be read.
//!
//! librbd wants three things more, each a question about one object: what options the pool sets,
//! and the name of a parent, which may be in the trash.
//! An id that begins with the whole of another id would be in its reach; ids are the number of a
//! client and a random number, so that this does not happen by chance.

use std::fmt::Write;

use super::names::HOME;

/// The monitors' part.
pub const MONITOR: &str = "allow r";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    pub pool: String,
    /// Of the image, which lies in the pool's own namespace.
    pub name: String,
    pub id: String,
    pub parents: Vec<ParentReach>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentReach {
    pub namespace: String,
    pub id: String,
}

impl Reach {
    /// In Ceph's words (ceph.io, "User management", authorization).
    pub fn render(&self) -> String {
        let Self {
            pool,
            name,
            id,
            parents,
        } = self;
        let mut text = String::new();
        let mut allow = |what: &str, namespace: &str, prefix: &str| {
            let comma = if text.is_empty() { "" } else { ", " };
            // Left out, it would mean every namespace.
            let namespace = if namespace.is_empty() {
                "''"
            } else {
                namespace
            };
            let _ = write!(
                text,
                "{comma}allow {what} pool={pool} namespace={namespace} object_prefix {prefix}"
            );
        };
        allow("class rbd metadata_list", HOME, "rbd_info");
        allow("rx", HOME, &format!("rbd_id.{name}"));
        allow("rwx", HOME, &format!("rbd_header.{id}"));
        allow("rwx", HOME, &format!("rbd_object_map.{id}"));
        allow("rwx", HOME, &format!("rbd_data.{id}."));
        for ParentReach { namespace, id } in parents {
            allow("class rbd dir_get_name", namespace, "rbd_directory");
            allow("class rbd trash_get", namespace, "rbd_trash");
            allow("rx", namespace, &format!("rbd_header.{id}"));
            allow("rx", namespace, &format!("rbd_object_map.{id}"));
            allow("r", namespace, &format!("rbd_data.{id}."));
        }
        text
    }

    /// The reach of a user that we made; `None` when it is not exactly what we would have made.
    pub fn parse(text: &str) -> Option<Self> {
        let clauses: Vec<Clause<'_>> =
            text.split(", ").map(Clause::parse).collect::<Option<_>>()?;
        let (own, name) = with(&clauses, "rx", "rbd_id.").next()?;
        let (_, id) = with(&clauses, "rwx", "rbd_header.").next()?;
        let parents = with(&clauses, "rx", "rbd_header.").map(|(clause, id)| ParentReach {
            namespace: clause.namespace.to_owned(),
            id: id.to_owned(),
        });
        let reach = Self {
            pool: own.pool.to_owned(),
            name: name.to_owned(),
            id: id.to_owned(),
            parents: parents.collect(),
        };
        (reach.render() == text).then_some(reach)
    }
}

/// The clauses that allow `what` under names that begin so, with the rest of the name.
fn with<'a>(
    clauses: &'a [Clause<'a>],
    what: &'static str,
    begin: &'static str,
) -> impl Iterator<Item = (&'a Clause<'a>, &'a str)> {
    let found = clauses.iter().filter(move |clause| clause.what == what);
    found.filter_map(move |clause| Some((clause, clause.prefix.strip_prefix(begin)?)))
}

/// `allow WHAT pool=POOL namespace=NAMESPACE object_prefix PREFIX`
struct Clause<'a> {
    what: &'a str,
    pool: &'a str,
    namespace: &'a str,
    prefix: &'a str,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (what, rest) = text.strip_prefix("allow ")?.split_once(" pool=")?;
        let (place, prefix) = rest.split_once(" object_prefix ")?;
        let (pool, namespace) = place.split_once(" namespace=")?;
        Some(Self {
            what,
            pool,
            namespace: namespace.trim_matches('\''),
            prefix,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach() -> Reach {
        let parent = |namespace: &str, id: &str| ParentReach {
            namespace: namespace.into(),
            id: id.into(),
        };
        Reach {
            pool: "rbd".into(),
            name: "6f1c".into(),
            id: "10a3f2b4".into(),
            parents: vec![parent("", "1044aa"), parent("dc_images", "10ff")],
        }
    }

    #[test]
    fn what_is_made_is_read_back() {
        let alone = Reach {
            parents: Vec::new(),
            ..reach()
        };
        for reach in [reach(), alone] {
            assert_eq!(Reach::parse(&reach.render()), Some(reach));
        }
    }

    #[test]
    fn rights_that_somebody_has_widened_are_not_ours() {
        let text = reach().render();
        for other in [
            "allow *".to_owned(),
            format!("{text}, allow *"),
            format!("{text}, allow rwx pool=rbd namespace='' object_prefix rbd_data."),
            text.replace("allow r ", "allow rwx "),
            text.replace(" namespace=''", ""),
            text.replacen("namespace=''", "namespace=other", 1),
        ] {
            assert_eq!(Reach::parse(&other), None, "{other}");
        }
    }
}
