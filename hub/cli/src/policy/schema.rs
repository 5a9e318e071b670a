//! `firebreak policy schema`.

use std::io::Write;

use clap::Args;
use firebreak_policy::{schema, test_schema};
use firebreak_spoke::registry;

use crate::Failure;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Print the schema of policy test files instead.
    #[arg(long)]
    tests: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let catalog = registry::catalog();
    let schema = if arguments.tests { test_schema(catalog) } else { schema(catalog) };
    writeln!(std::io::stdout(), "{schema:#}")?;
    Ok(())
}
