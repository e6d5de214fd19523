//! `cargo run -p dc-proto-gen`: writes the Rust of the protocol into the work tree.

fn main() -> anyhow::Result<()> {
    let what = if dc_proto_gen::write()? {
        "written"
    } else {
        "current"
    };
    println!("proto/{}: {what}", dc_proto_gen::GENERATED);
    Ok(())
}
