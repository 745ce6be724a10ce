//! Generates the parser from `src/pantile.lalrpop`. It writes to cargo's output folder only.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    lalrpop::Configuration::new().use_cargo_dir_conventions().emit_rerun_directives(true).process()
}
