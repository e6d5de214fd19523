//! What libvirt's capability documents say of machine types and CPU models.

use roxmltree::{Document, Node};

/// What is asked for when a machine has no type yet: the newest q35 of this QEMU.
const DEFAULT_ALIAS: &str = "q35";
const FAMILY: &str = "pc-q35-";

/// Concrete machine types of the family, the alias's target first, then from the newest to the
/// oldest. `capabilities` is of the host, whose alias entries name their target.
pub(super) fn machine_types(capabilities: &str, domain_type: &str) -> Result<Vec<String>, String> {
    let document = Document::parse(capabilities).map_err(|error| error.to_string())?;
    let guest = document
        .descendants()
        .filter(|node| node.has_tag_name("arch"))
        .find(|node| node.attribute("name") == Some("x86_64"))
        .ok_or("the emulator of x86_64 is not listed")?;
    // A domain type may list machines of its own beside those of the architecture.
    let of_type = guest
        .children()
        .find(|node| node.has_tag_name("domain") && node.attribute("type") == Some(domain_type))
        .ok_or_else(|| format!("domains of type {domain_type} are not offered"))?;
    let machines = || {
        let own = of_type.children().filter(is_machine);
        guest.children().filter(is_machine).chain(own)
    };
    let default = machines()
        .find(|node| node.text() == Some(DEFAULT_ALIAS))
        .and_then(|node| node.attribute("canonical"));
    let mut types: Vec<&str> = machines()
        .filter_map(|node| node.text())
        .chain(default)
        .filter(|name| name.starts_with(FAMILY))
        .collect();
    types.sort_by_key(|name| (Some(*name) != default, std::cmp::Reverse(version(name))));
    types.dedup();
    Ok(types.into_iter().map(str::to_owned).collect())
}

fn is_machine(node: &Node<'_, '_>) -> bool {
    node.has_tag_name("machine")
}

/// The numbers of `pc-q35-7.2`, so that 10.0 is newer than 9.2.
fn version(name: &str) -> Vec<u32> {
    let numbers = name.strip_prefix(FAMILY).unwrap_or_default();
    numbers
        .split('.')
        .map(|part| part.parse().unwrap_or_default())
        .collect()
}

/// CPU models a domain may name here. `capabilities` is of a domain.
pub(super) fn cpu_models(capabilities: &str) -> Result<Vec<String>, String> {
    let document = Document::parse(capabilities).map_err(|error| error.to_string())?;
    let custom = document
        .descendants()
        .find(|node| node.has_tag_name("mode") && node.attribute("name") == Some("custom"));
    let Some(custom) = custom.filter(|node| node.attribute("supported") == Some("yes")) else {
        return Ok(Vec::new());
    };
    let mut models: Vec<String> = custom
        .children()
        .filter(|node| node.has_tag_name("model"))
        .filter(|node| node.attribute("usable") == Some("yes"))
        .filter_map(|node| node.text())
        .map(str::to_owned)
        .collect();
    models.sort();
    models.dedup();
    Ok(models)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "<capabilities><guest><arch name='i686'>
        <machine canonical='pc-q35-1.0'>q35</machine><domain type='qemu'/></arch></guest>
        <guest><os_type>hvm</os_type><arch name='x86_64'>
        <machine maxCpus='255' canonical='pc-i440fx-7.2'>pc</machine>
        <machine>pc-q35-6.2</machine><machine>pc-q35-10.0</machine>
        <machine canonical='pc-q35-9.2'>q35</machine><machine>pc-q35-9.2</machine>
        <domain type='qemu'/></arch></guest></capabilities>";

    #[test]
    fn the_alias_is_resolved_and_comes_first_and_versions_are_numbers() {
        assert_eq!(
            machine_types(HOST, "qemu").unwrap(),
            ["pc-q35-9.2", "pc-q35-10.0", "pc-q35-6.2"]
        );
    }

    #[test]
    fn an_accelerator_that_is_not_offered_is_told() {
        let error = machine_types(HOST, "kvm").unwrap_err();
        assert!(error.contains("kvm"), "{error}");
    }

    #[test]
    fn only_usable_cpu_models_are_listed() {
        let domain = "<domainCapabilities><cpu><mode name='host-model' supported='yes'>
            <model fallback='forbid'>X</model></mode><mode name='custom' supported='yes'>
            <model usable='yes'>qemu64</model><model usable='no'>EPYC</model>
            <model usable='yes'>Nehalem</model></mode></cpu></domainCapabilities>";
        assert_eq!(cpu_models(domain).unwrap(), ["Nehalem", "qemu64"]);
        assert!(cpu_models("<domainCapabilities").is_err());
    }
}
