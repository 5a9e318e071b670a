//! `firebreak stacksets render`: writes the permissions that actions declare into
//! the spoke role's template, or shows how a template differs from them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use firebreak_spoke::registry::{self, RegisteredAction};
use serde_json::json;
use similar::TextDiff;

use crate::terminal::write_json;
use crate::values::actions_named;
use crate::{Failure, Output};
use firebreak_onboarding::stacksets::{
    self, MANAGED_CHARACTERS, ROLE_CHARACTERS, Rendered, SPOKE, TEMPLATE_BYTES,
};

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  firebreak stacksets render --actions isolate-instance,tag-resource --write spoke.yaml"
)]
pub struct Arguments {
    /// The template to render [default: with --check stacksets/spoke.yaml, with --write the
    /// file if it exists, otherwise the built-in template].
    template: Option<PathBuf>,
    /// The actions that the role may execute, separated by commas [default: all].
    #[arg(long, value_delimiter = ',', value_name = "ACTION")]
    actions: Vec<String>,
    /// Write the template to this file instead of standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    write: Option<PathBuf>,
    /// Write nothing: show the differences, exit code 1 if there are any.
    #[arg(long)]
    check: bool,
}

const DEFAULT: &str = "stacksets/spoke.yaml";

pub(super) fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let chosen = actions_named(&arguments.actions)?;
    let source = source(arguments);
    let present = match &source {
        Some(path) => read_template(path)?,
        None => SPOKE.to_owned(),
    };
    let rendered = stacksets::render(&present, &chosen).map_err(|error| {
        let place = source.as_ref().map(|path| format!("`{}`: ", path.display()));
        Failure::Usage(format!("{}{error}", place.unwrap_or_default()))
    })?;
    if let Some(excess) = rendered.size.excess() {
        return Err(Failure::Check(excess));
    }
    let mut out = std::io::stdout().lock();
    if arguments.check {
        let path = source.unwrap_or_else(|| PathBuf::from(DEFAULT));
        return check(&mut out, &path, &present, &rendered, (arguments, output));
    }
    if let Some(path) = &arguments.write {
        fs::write(path, &rendered.text).map_err(|error| {
            Failure::Usage(format!("cannot write `{}`: {error}", path.display()))
        })?;
    }
    match (output, &arguments.write) {
        (Output::Json, _) => write_json(&mut out, &template_json(&rendered, &chosen))?,
        (Output::Text, None) => out.write_all(rendered.text.as_bytes())?,
        (Output::Text, Some(path)) => {
            let size = rendered.size;
            writeln!(
                out,
                "{}: {} action(s), {} statement(s), {} of {ROLE_CHARACTERS} characters of inline policies, {} of {MANAGED_CHARACTERS} of the managed one, {} of {TEMPLATE_BYTES} bytes",
                path.display(),
                chosen.len(),
                rendered.statements.len(),
                size.role_characters,
                size.managed_characters,
                size.template_bytes,
            )?;
        }
    }
    Ok(())
}

/// The file that the template is read from; `None` for the built-in template.
fn source(arguments: &Arguments) -> Option<PathBuf> {
    let otherwise = || {
        if arguments.check {
            Some(PathBuf::from(DEFAULT))
        } else {
            arguments.write.clone().filter(|path| path.exists())
        }
    };
    arguments.template.clone().or_else(otherwise)
}

fn read_template(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        Failure::Usage(format!(
            "cannot read `{}`: {error}\nhelp: give the path of the template: `firebreak stacksets render PATH/TO/spoke.yaml`",
            path.display()
        ))
    })
}

fn check(
    out: &mut impl Write,
    path: &Path,
    present: &str,
    rendered: &Rendered,
    (arguments, output): (&Arguments, Output),
) -> Result<(), Failure> {
    let path = path.display();
    let current = present == rendered.text;
    let name = path.to_string();
    let difference = TextDiff::from_lines(present, &rendered.text)
        .unified_diff()
        .context_radius(2)
        .header(&name, "declared by the actions")
        .to_string();
    match output {
        Output::Json => {
            let comparison =
                json!({ "template": name, "current": current, "difference": difference });
            write_json(out, &comparison)?;
        }
        Output::Text if current => writeln!(out, "{path}: up to date")?,
        Output::Text => write!(out, "{difference}")?,
    }
    if current {
        return Ok(());
    }
    let actions = match arguments.actions.as_slice() {
        [] => String::new(),
        names => format!(" --actions {}", names.join(",")),
    };
    Err(Failure::Check(format!(
        "`{path}` is not up to date\nhelp: firebreak stacksets render --write {path}{actions}"
    )))
}

fn template_json(rendered: &Rendered, chosen: &[&RegisteredAction]) -> serde_json::Value {
    let names = registry::all().iter().map(|action| action.spec.name);
    let is_chosen = |name: &&str| chosen.iter().any(|action| action.spec.name == *name);
    let statements: Vec<serde_json::Value> =
        rendered.statements.iter().map(|statement| statement.document(&[])).collect();
    json!({
        "actions": names.filter(is_chosen).collect::<Vec<_>>(),
        "parameters": rendered.parameters,
        "digest": rendered.digest,
        "statements": statements,
        "role_characters": rendered.size.role_characters,
        "managed_characters": rendered.size.managed_characters,
        "template_bytes": rendered.size.template_bytes,
        "template": rendered.text,
    })
}
