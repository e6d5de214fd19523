//! Image: a disk that volumes are cloned from.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A disk image. It is fetched once into each pool that needs it, checked, converted, then cloned.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Image",
    status = "ImageStatus",
    category = "dc",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Format","type":"string","jsonPath":".spec.format"}"#,
    printcolumn = r#"{"name":"Size","type":"string","jsonPath":".status.virtualSize"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// Exactly one place to fetch it from.
    pub source: ImageSourceSpec,
    /// SHA-256 of the source, 64 lower-case hexadecimal digits.
    pub sha256: String,
    pub format: ImageFormatName,
    /// Pools that are to hold it.
    pub pools: Vec<String>,
    /// Fetching stops past this size. Default 10Gi.
    #[serde(default = "default_max_download")]
    pub max_download: String,
    /// A larger disk inside is refused. Default 100Gi.
    #[serde(default = "default_max_virtual")]
    pub max_virtual_size: String,
}

fn default_max_download() -> String {
    "10Gi".to_owned()
}

fn default_max_virtual() -> String {
    "100Gi".to_owned()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageSourceSpec {
    /// A file name below the storage host's images folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// An http or https address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    pub conditions: Vec<Condition>,
    /// Of the disk inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<String>,
}
