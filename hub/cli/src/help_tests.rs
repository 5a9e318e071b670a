use clap::{Command, CommandFactory};

use super::Cli;

const README: &str = include_str!("../../../README.md");

/// Every command without subcommands, as its words after `firebreak`.
fn leaves(command: &Command, path: &[String]) -> Vec<Vec<String>> {
    let own = command.get_subcommands().filter(|it| it.get_name() != "help");
    let found: Vec<Vec<String>> = own
        .flat_map(|it| {
            let path: Vec<String> =
                path.iter().cloned().chain([it.get_name().to_owned()]).collect();
            leaves(it, &path)
        })
        .collect();
    if found.is_empty() { vec![path.to_vec()] } else { found }
}

/// Whether a line names a command: `firebreak GROUP NAME`, or `NAME` next to another
/// command of the group.
fn names(line: &str, path: &[String]) -> bool {
    let (Some(first), Some(last)) = (path.first(), path.last()) else { return false };
    let usage = path.join(" ");
    line.contains(&format!("`firebreak {usage}"))
        || line.contains(&format!("cargo run -- {usage}"))
        || (line.contains(&format!("`firebreak {first} ")) || path.len() == 1)
            && (line.contains(&format!("`{last}`")) || line.contains(&format!("`{last} ")))
}

#[test]
fn the_readme_names_every_command() {
    for path in leaves(&Cli::command(), &[]) {
        let named = README.lines().any(|line| names(line, &path));
        assert!(named, "README.md does not name `firebreak {}`", path.join(" "));
    }
}

#[test]
fn the_readme_names_no_other_command() {
    let command = Cli::command();
    for usage in README.split("`firebreak ").skip(1) {
        let mut at = &command;
        for word in usage.split(['`', ' ', '\n']).take_while(|it| !it.starts_with(['-', '['])) {
            if at.get_subcommands().next().is_none() {
                break;
            }
            let found = at.find_subcommand(word);
            at = found.unwrap_or_else(|| panic!("README.md: there is no `firebreak {usage:.40}`"));
        }
    }
}

#[test]
fn help_is_wrapped() {
    fn check(command: &mut Command) {
        let help = command.render_help().to_string();
        let longest = help.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(longest <= 130, "{}: {longest} columns", command.get_name());
        for subcommand in command.get_subcommands_mut() {
            check(subcommand);
        }
    }
    let mut command = Cli::command();
    command.build();
    check(&mut command);
}

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}
