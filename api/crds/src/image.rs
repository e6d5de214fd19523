//! Image: a disk that volumes are cloned from.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A disk image. It is fetched once into each pool that needs it, checked, converted, then cloned.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Image",
    status = "ImageStatus",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Format","type":"string","jsonPath":".spec.format"}"#,
    printcolumn = r#"{"name":"Size","type":"string","jsonPath":".status.virtualSize"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.source == oldSelf.source && self.sha256 == oldSelf.sha256 && self.format == oldSelf.format").message("source, sha256, format: an image never changes under those who cloned it; make another Image"))]
#[x_kube(validation = Rule::new("oldSelf.pools.all(p, p in self.pools)").message("pools: an image is not taken out of a pool while it exists"))]
pub struct ImageSpec {
    /// Exactly one place to fetch it from.
    pub source: ImageSourceSpec,
    /// SHA-256 of the source, 64 lower-case hexadecimal digits.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"), length(max = 64))]
    pub sha256: String,
    /// The format of the source. An image with a backing file or external data is refused.
    pub format: ImageFormatName,
    /// Pools that are to hold it.
    #[schemars(length(min = 1, max = 16), inner(length(max = 63)))]
    pub pools: Vec<String>,
    /// Fetching stops past this size. Default 10Gi.
    #[serde(default = "default_max_download")]
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"),
        length(max = 18)
    )]
    pub max_download: String,
    /// A larger disk inside is refused. Default 100Gi.
    #[serde(default = "default_max_virtual")]
    #[schemars(
        regex(pattern = "^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"),
        length(max = 18)
    )]
    pub max_virtual_size: String,
}

fn default_max_download() -> String {
    "10Gi".to_owned()
}

fn default_max_virtual() -> String {
    "100Gi".to_owned()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.file) != has(self.http)").message("source: exactly one of file and http"))]
pub struct ImageSourceSpec {
    /// A file name below the storage host's images folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"),
        length(max = 128)
    )]
    pub file: Option<String>,
    /// An http or https address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^https?://[^ ]+$"), length(max = 2010))]
    pub http: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormatName {
    Raw,
    Qcow2,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Of the disk inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<String>,
}
