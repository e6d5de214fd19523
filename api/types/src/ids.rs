//! Ids, one newtype each, so that a host can never be taken for a pool.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// Why a text is not a valid name or id.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdError {
    #[error(
        "{what} {value:?} is not a DNS label: 1 to 63 of a-z, 0-9 and '-', beginning and ending \
         with a letter or digit"
    )]
    NotALabel { what: &'static str, value: String },
    #[error("{what} {value:?} is not a UUID")]
    NotAUuid { what: &'static str, value: String },
}

/// Whether `value` is a DNS label of RFC 1123, the form Kubernetes asks of most names.
#[must_use]
pub fn is_dns_label(value: &str) -> bool {
    let ok = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = value.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes.iter().all(|&c| ok(c) || c == b'-')
        && ok(bytes[0])
        && ok(bytes[bytes.len() - 1])
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks that `value` is a DNS label.
            pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
                let value = value.into();
                if is_dns_label(&value) {
                    Ok(Self(value))
                } else {
                    Err(IdError::NotALabel { what: $what, value })
                }
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(value: String) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub Uuid);

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                Uuid::parse_str(value)
                    .map(Self)
                    .map_err(|_| IdError::NotAUuid { what: $what, value: value.to_owned() })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

label!(
    /// A host: the name of its Host object and of its certificate.
    HostName, "host name"
);
label!(
    /// A department: the name of its Department object and of its namespace.
    DepartmentName, "department name"
);
label!(
    /// A storage pool: the name of its StoragePool object.
    PoolName, "pool name"
);

uuid_id!(
    /// A snapshot of a volume: by default the uid of its VolumeSnapshot object.
    SnapshotId, "snapshot id"
);
uuid_id!(
    /// One run of a backup or of a restore: by default the uid of the object that asked for it.
    RunId, "run id"
);
uuid_id!(
    /// A machine or a volume for life: libvirt and SMBIOS UUID, cloud-init instance-id, the key
    /// of claims, targets and files. By default the uid of the object that first asked for it.
    InstanceId, "instance id"
);
uuid_id!(
    /// The uid of one Kubernetes object. A reused name has another uid.
    ObjectUid, "object uid"
);
uuid_id!(
    /// The uid of an Image object.
    ImageUid, "image uid"
);
uuid_id!(
    /// The uid of a Subnet object.
    SubnetUid, "subnet uid"
);

/// One Kubernetes object, so that messages can name it and a reused name is told apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    pub name: String,
    pub uid: ObjectUid,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label_or_refused_with_the_rule() {
        assert!(HostName::new("h1").is_ok());
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "ấ", &"a".repeat(64)] {
            let error = HostName::new(bad).unwrap_err().to_string();
            assert!(error.contains("DNS label"), "{error}");
        }
    }

    #[test]
    fn a_bad_name_in_json_is_refused() {
        assert!(serde_json::from_str::<HostName>("\"../etc\"").is_err());
        assert_eq!(
            serde_json::from_str::<HostName>("\"h1\"").unwrap().as_str(),
            "h1"
        );
    }
}
