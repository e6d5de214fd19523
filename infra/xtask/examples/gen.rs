fn main() -> anyhow::Result<()> {
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = xtask::generate::all(&workspace)?;
    println!(
        "{} files, {} changed",
        files.len(),
        xtask::generate::write(&workspace, &files)?
    );
    Ok(())
}
