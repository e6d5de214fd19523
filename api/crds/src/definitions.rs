//! The definitions of all kinds, as the API server gets them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use crate::{
    Approval, Backup, BackupPolicy, BackupRepository, Department, ErasureCertificate, Host, Image,
    InformationSystem, MachineClass, MachineRestore, RequestPolicy, ResourceRequest, Restore,
    RestoreProof, StoragePool, Subnet, UsageRecord, VirtualMachine, Volume, VolumeSnapshot, Zone,
};

/// Every kind's definition, in the order in which they depend on each other.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        Department::crd(),
        Host::crd(),
        Zone::crd(),
        StoragePool::crd(),
        Image::crd(),
        MachineClass::crd(),
        InformationSystem::crd(),
        Subnet::crd(),
        Volume::crd(),
        VirtualMachine::crd(),
        VolumeSnapshot::crd(),
        ErasureCertificate::crd(),
        BackupRepository::crd(),
        BackupPolicy::crd(),
        Backup::crd(),
        Restore::crd(),
        MachineRestore::crd(),
        UsageRecord::crd(),
        RestoreProof::crd(),
        RequestPolicy::crd(),
        ResourceRequest::crd(),
        Approval::crd(),
    ];
    for crd in &mut all {
        for version in &mut crd.spec.versions {
            let schema = version
                .schema
                .as_mut()
                .and_then(|s| s.open_api_v3_schema.as_mut());
            if let Some(root) = schema {
                // The object is what its spec says it is.
                let spec = root.properties.as_ref().and_then(|p| p.get("spec"));
                root.description = spec.and_then(|spec| spec.description.clone());
                drop_rust_formats(root);
            }
        }
    }
    all
}

/// Takes away `format: uint16` and the like: the API server knows no such format and warns.
/// Ranges are given by minimum and maximum.
fn drop_rust_formats(schema: &mut JSONSchemaProps) {
    if schema
        .format
        .as_deref()
        .is_some_and(|format| format.starts_with("uint"))
    {
        schema.format = None;
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|map| map.values_mut())
    {
        drop_rust_formats(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        drop_rust_formats(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(path: &str, schema: &JSONSchemaProps, see: &mut dyn FnMut(&str, &JSONSchemaProps)) {
        see(path, schema);
        for (name, property) in schema.properties.iter().flatten() {
            visit(&format!("{path}.{name}"), property, see);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            visit(&format!("{path}[]"), items, see);
        }
    }

    fn for_each_field(see: &mut dyn FnMut(&str, &JSONSchemaProps)) {
        for crd in all() {
            let schema = crd.spec.versions[0].schema.as_ref().unwrap();
            visit(
                &crd.spec.names.kind,
                schema.open_api_v3_schema.as_ref().unwrap(),
                see,
            );
        }
    }

    #[test]
    fn every_spec_field_is_explained() {
        let mut bare = Vec::new();
        for_each_field(&mut |path, schema| {
            let field = path.rsplit('.').next().unwrap();
            let container = field == "status" || field.ends_with("[]");
            if schema.description.is_none() && path.contains(".spec") && !container {
                bare.push(path.to_owned());
            }
        });
        assert!(bare.is_empty(), "kubectl explain says nothing of {bare:#?}");
    }

    #[test]
    fn every_list_and_text_of_a_spec_is_bounded() {
        let mut unbounded = Vec::new();
        for_each_field(&mut |path, schema| {
            let Some(kind) = schema.type_.as_deref() else {
                return;
            };
            let open = match kind {
                "array" => schema.max_items.is_none(),
                "string" => {
                    schema.max_length.is_none()
                        && schema.pattern.is_none()
                        && schema.enum_.is_none()
                        && schema.format.is_none()
                }
                _ => false,
            };
            if open && path.contains(".spec") {
                unbounded.push(path.to_owned());
            }
        });
        assert!(unbounded.is_empty(), "no limit on {unbounded:#?}");
    }

    #[test]
    fn every_kind_has_a_status_subresource_columns_and_the_category() {
        for crd in all() {
            let version = &crd.spec.versions[0];
            assert!(version.subresources.as_ref().unwrap().status.is_some());
            assert!(version.additional_printer_columns.as_ref().unwrap().len() >= 4);
            assert_eq!(crd.spec.names.categories, Some(vec!["dc".to_owned()]));
        }
    }
}
