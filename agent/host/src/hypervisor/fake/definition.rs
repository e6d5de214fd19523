//! What is read from a definition.

use dc_agent_core::vm::xml::Metadata;
use dc_types::InstanceId;

use super::super::HypervisorError;
use super::refused;

pub(super) fn read_definition(
    vm: InstanceId,
    xml: &str,
) -> Result<(String, Metadata), HypervisorError> {
    let faulty = |message: String| refused("define", message);
    let document = roxmltree::Document::parse(xml).map_err(|error| faulty(error.to_string()))?;
    let text = |tag| {
        let mut children = document.root_element().children();
        let node = children.find(|node| node.has_tag_name(tag));
        node.and_then(|node| node.text()).unwrap_or_default()
    };
    if text("uuid") != vm.to_string() {
        return Err(faulty(format!("the definition is of {:?}", text("uuid"))));
    }
    let metadata = Metadata::find(xml)
        .map_err(|error| faulty(error.to_string()))?
        .ok_or_else(|| faulty("the definition carries no metadata of ours".into()))?;
    Ok((text("name").to_owned(), metadata))
}
