//! Prints every definition as YAML.
fn main() {
    for crd in dc_crds::definitions::all() {
        println!(
            "---\n{}",
            serde_norway::to_string(&crd).expect("a definition is YAML")
        );
    }
}
