//! What we write into a domain so that it is known again: whose it is, of which epoch, and what it
//! was started with.
//!
//! A domain without this element is foreign and never touched. The definition is a digest of what
//! a start depends on, so that a running machine that was given another class, disk or seed is
//! told from one that is as wanted, without comparing XML that libvirt rewrites.

use std::collections::BTreeMap;

use dc_types::plan::ItemHash;
use dc_types::{Epoch, InstanceId, ObjectRef, ObjectUid};
use thiserror::Error;
use uuid::Uuid;

use super::Element;
use super::writer::clean;

/// Names the element and its first version; a later version keeps reading this one.
pub const NAMESPACE: &str = "https://dc.sonla.gov.vn/xml/machine/1";
/// The prefix of the namespace within a domain.
pub const PREFIX: &str = "dc";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub object: ObjectRef,
    /// The InformationSystem it belongs to.
    pub system: String,
    /// Of the machine's claim.
    pub epoch: Epoch,
    /// Of the item it was made from, for people who compare.
    pub hash: ItemHash,
    /// The epoch of each disk's grant at the start.
    pub grants: BTreeMap<InstanceId, Epoch>,
    /// Digest of all else that takes effect at a start.
    pub definition: String,
    /// The restart text it was started with, as it comes back from XML.
    pub restart: String,
    /// For a release, which does not carry the item.
    pub stop_deadline_s: u32,
    pub machine_type: String,
}

/// Why an element under our namespace cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MetadataError {
    #[error("the domain's metadata is not well-formed: {0}")]
    NotXml(String),
    #[error("the domain's metadata has no {0}")]
    Missing(&'static str),
    #[error("{name} of the domain's metadata is {value:?}, which does not parse")]
    Invalid { name: &'static str, value: String },
}

impl Metadata {
    /// The element within a domain's definition.
    #[must_use]
    pub fn render(&self) -> Element {
        let element = Element::new("dc:machine").attr("xmlns:dc", NAMESPACE);
        self.fill(element, "dc:grant")
    }

    /// The element alone, as libvirt takes and gives it: it knows the namespace from the call, adds
    /// it when it writes, and takes it off when it reads.
    #[must_use]
    pub fn render_alone(&self) -> String {
        self.fill(Element::new("machine"), "grant").render()
    }

    fn fill(&self, element: Element, grant: &'static str) -> Element {
        let Self {
            object,
            system,
            epoch,
            hash,
            grants,
            definition,
            restart,
            stop_deadline_s,
            machine_type,
        } = self;
        element
            .attr("namespace", &object.namespace)
            .attr("name", &object.name)
            .attr("uid", object.uid)
            .attr("system", system)
            .attr("epoch", epoch)
            .attr("hash", format!("{:016x}", hash.0))
            .attr("definition", definition)
            .attr("restart", clean(restart))
            .attr("stop-deadline", stop_deadline_s)
            .attr("machine-type", machine_type)
            .children(grants.iter().map(|(volume, epoch)| {
                Element::new(grant)
                    .attr("volume", volume)
                    .attr("epoch", epoch)
            }))
    }

    /// Reads the element in a whole domain; `None` when there is none.
    pub fn find(domain: &str) -> Result<Option<Self>, MetadataError> {
        let document = read(domain)?;
        document
            .descendants()
            .find(|node| node.has_tag_name((NAMESPACE, "machine")))
            .map(parse)
            .transpose()
    }

    /// Reads the element alone.
    pub fn read_alone(xml: &str) -> Result<Self, MetadataError> {
        parse(read(xml)?.root_element())
    }
}

fn read(xml: &str) -> Result<roxmltree::Document<'_>, MetadataError> {
    roxmltree::Document::parse(xml).map_err(|error| MetadataError::NotXml(error.to_string()))
}

fn parse(node: roxmltree::Node<'_, '_>) -> Result<Metadata, MetadataError> {
    let text = |name| attribute(node, name).map(str::to_owned);
    let grants = node
        .children()
        .filter(|child| child.is_element() && child.tag_name().name() == "grant")
        .map(|child| {
            Ok((
                InstanceId(parsed::<Uuid>(child, "volume")?),
                parsed(child, "epoch")?,
            ))
        })
        .collect::<Result<_, MetadataError>>()?;
    let hash = attribute(node, "hash")?;
    Ok(Metadata {
        object: ObjectRef {
            namespace: text("namespace")?,
            name: text("name")?,
            uid: ObjectUid(parsed(node, "uid")?),
        },
        system: text("system")?,
        epoch: parsed(node, "epoch")?,
        hash: ItemHash(u64::from_str_radix(hash, 16).map_err(|_| invalid("hash", hash))?),
        grants,
        definition: text("definition")?,
        restart: text("restart")?,
        stop_deadline_s: parsed(node, "stop-deadline")?,
        machine_type: text("machine-type")?,
    })
}

fn attribute<'a>(
    node: roxmltree::Node<'a, '_>,
    name: &'static str,
) -> Result<&'a str, MetadataError> {
    node.attribute(name).ok_or(MetadataError::Missing(name))
}

fn parsed<T: std::str::FromStr>(
    node: roxmltree::Node<'_, '_>,
    name: &'static str,
) -> Result<T, MetadataError> {
    let value = attribute(node, name)?;
    value.parse().map_err(|_| invalid(name, value))
}

fn invalid(name: &'static str, value: &str) -> MetadataError {
    MetadataError::Invalid {
        name,
        value: value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metadata(restart: &str, system: &str) -> Metadata {
        Metadata {
            object: ObjectRef {
                namespace: "so-nnmt".into(),
                name: "web".into(),
                uid: ObjectUid(Uuid::from_u128(5)),
            },
            system: system.into(),
            epoch: "1.7".parse().unwrap(),
            hash: ItemHash(0xabc),
            grants: BTreeMap::from([(InstanceId(Uuid::from_u128(8)), "1.6".parse().unwrap())]),
            definition: "d".into(),
            restart: restart.into(),
            stop_deadline_s: 60,
            machine_type: "pc-q35-7.2".into(),
        }
    }

    #[test]
    fn a_domain_without_our_element_is_foreign() {
        let xml = "<domain><name>x</name><metadata><a:b xmlns:a='urn:other'/></metadata></domain>";
        assert_eq!(Metadata::find(xml), Ok(None));
    }

    #[test]
    fn an_element_that_cannot_be_read_says_what_is_wrong() {
        let good = metadata("", "").render_alone();
        let bad = good.replacen("epoch=\"1.7\"", "epoch=\"seven\"", 1);
        let error = Metadata::read_alone(&bad).unwrap_err();
        assert!(error.to_string().contains("epoch"), "{error}");
        let bad = good.replace(" restart=\"\"", "");
        assert_eq!(
            Metadata::read_alone(&bad),
            Err(MetadataError::Missing("restart"))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(restart in any::<String>(), system in any::<String>()) {
            let written = metadata(&clean(&restart), &clean(&system));
            let read = Metadata::find(&written.render().render()).unwrap();
            prop_assert_eq!(read.as_ref(), Some(&written));
            let read = Metadata::read_alone(&written.render_alone()).unwrap();
            prop_assert_eq!(read, written);
        }
    }
}
