//! Writes the generated parts into a template, each between its two marks.

use firebreak_spoke::permissions::{self, Statement, Ungranted};
use firebreak_spoke::registry::{self, RegisteredAction};

use super::digest::{DIGEST_TAG, digest};
use super::limits::Size;
use super::yaml::{self, Lines};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    pub statements: Vec<Statement>,
    /// The digest of the statements, for the role's tag: see [`digest`].
    pub digest: String,
    /// The generated parameters, by name.
    pub parameters: Vec<&'static str>,
    pub size: Size,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A mark is missing, duplicated, or in the wrong order.
    #[error(
        "the template needs exactly one line `# begin generated: {0}`, and after it one line `# end generated: {0}`\nhelp: insert both lines where the {0} belong, or start from the built-in template: `firebreak stacksets render`"
    )]
    Marks(&'static str),
    /// An action declares a permission without a grant.
    #[error(transparent)]
    Ungranted(#[from] Ungranted),
}

/// A parameter that only some statements need.
struct Parameter {
    name: &'static str,
    default: &'static str,
    pattern: &'static str,
    description: &'static str,
}

const PARAMETERS: &[Parameter] = &[Parameter {
    name: "EvidenceBuckets",
    default: "firebreak-evidence-*",
    pattern: "^[a-z0-9.*-]{1,63}$",
    description: "The bucket that policies name for collect-evidence; `*` matches any characters",
}];

/// Writes the permissions of these actions into a template. Their order and repetitions
/// make no difference.
///
/// # Errors
///
/// If a mark is missing, or an action declares a permission without a grant.
pub fn render(template: &str, entries: &[&RegisteredAction]) -> Result<Rendered, TemplateError> {
    let chosen =
        |entry: &&RegisteredAction| entries.iter().any(|it| it.spec.name == entry.spec.name);
    let entries: Vec<&RegisteredAction> = registry::all().iter().filter(chosen).collect();
    let statements = permissions::statements(&entries)?;
    let wanted: Vec<&Parameter> =
        PARAMETERS.iter().filter(|parameter| is_needed(parameter, &statements)).collect();
    let text = between(template, "parameters", &parameters(&wanted))?;
    let text = between(&text, "managed policies", &yaml::managed(&statements))?;
    let text = between(&text, "policies", &policies(&statements, &entries))?;
    let (size, digest) = (Size::of(&statements, &text), digest(&statements));
    let parameters = wanted.iter().map(|parameter| parameter.name).collect();
    Ok(Rendered { text, statements, digest, parameters, size })
}

fn is_needed(parameter: &Parameter, statements: &[Statement]) -> bool {
    let placeholder = format!("${{{}}}", parameter.name);
    let resources = statements.iter().flat_map(|statement| statement.resources);
    resources.into_iter().any(|resource| resource.contains(&placeholder))
}

fn parameters(wanted: &[&Parameter]) -> String {
    let mut out = Lines::default();
    for Parameter { name, default, pattern, description } in wanted {
        out.line(2, &format!("{name}:"));
        out.line(4, "Type: String");
        out.line(4, &format!("Default: \"{default}\""));
        out.line(4, &format!("AllowedPattern: \"{pattern}\""));
        out.line(4, &format!("Description: \"{description}\""));
    }
    out.0
}

fn policies(statements: &[Statement], entries: &[&RegisteredAction]) -> String {
    let mut out = Lines::default();
    let whose = if entries.len() == registry::all().len() {
        "Every action may be executed.".to_owned()
    } else {
        let names: Vec<&str> = entries.iter().map(|entry| entry.spec.name).collect();
        format!("Only these actions may be executed: {}.", names.join(", "))
    };
    out.comment(6, &whose);
    out.0.push_str(&yaml::policies(statements));
    out.comment(6, "Which permissions these are: `firebreak org coverage` compares it.");
    out.line(6, "Tags:");
    out.line(8, &format!("- Key: {DIGEST_TAG}"));
    out.line(10, &format!("Value: \"{}\"", digest(statements)));
    out.0
}

/// The template with `new` between the marks of a part.
fn between(template: &str, part: &'static str, new: &str) -> Result<String, TemplateError> {
    let missing = || TemplateError::Marks(part);
    let lines: Vec<&str> = template.split_inclusive('\n').collect();
    let place = |mark: &str| {
        let mark = format!("# {mark} generated: {part}");
        let mut places =
            lines.iter().enumerate().filter(|(_, line)| line.trim() == mark).map(|(at, _)| at);
        places.next().filter(|_| places.next().is_none()).ok_or_else(missing)
    };
    let (begin, end) = (place("begin")?, place("end")?);
    let before = lines.get(..=begin).ok_or_else(missing)?;
    let after = lines.get(end..).filter(|_| begin < end).ok_or_else(missing)?;
    Ok(format!("{}{new}{}", before.concat(), after.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stacksets::SPOKE;

    fn of(names: &[&str]) -> Rendered {
        let entries: Vec<&RegisteredAction> =
            names.iter().map(|name| registry::find(name).unwrap()).collect();
        render(SPOKE, &entries).unwrap()
    }

    #[test]
    fn rendering_again_changes_nothing() {
        let some = of(&["stop-instance", "collect-evidence"]);
        let names = ["collect-evidence", "stop-instance", "stop-instance"];
        let entries: Vec<&RegisteredAction> =
            names.iter().map(|name| registry::find(name).unwrap()).collect();
        assert_eq!(render(&some.text, &entries).unwrap(), some);
    }

    #[test]
    fn parts_written_by_hand_are_kept() {
        let template =
            SPOKE.replace("FirebreakHub", "OurHub").replace("Outputs:", "# ours\nOutputs:");
        let rendered = render(&template, &[registry::find("stop-task").unwrap()]).unwrap();
        assert!(rendered.text.contains("OurHub") && rendered.text.contains("# ours\nOutputs:"));
        let all: Vec<&RegisteredAction> = registry::all().iter().collect();
        assert_eq!(render(&rendered.text, &all).unwrap(), render(&template, &all).unwrap());
    }

    #[test]
    fn a_subset_has_only_the_parameters_that_it_needs() {
        assert_eq!(of(&["collect-evidence"]).parameters, ["EvidenceBuckets"]);
        let few = of(&["isolate-instance"]);
        assert!(few.parameters.is_empty() && !few.text.contains("EvidenceBuckets"));
        assert!(few.text.contains("Only these actions may be executed: isolate-instance."));
    }

    #[test]
    fn a_template_without_its_marks_is_rejected() {
        let end = "      # end generated: policies\n";
        let twice = format!("{end}{end}");
        let swapped = SPOKE
            .replace("begin generated: p", "x")
            .replace("end generated: p", "begin generated: p")
            .replace("# xolicies", "# end generated: policies")
            .replace("# xarameters", "# end generated: parameters");
        for template in [String::new(), SPOKE.replace(end, ""), SPOKE.replace(end, &twice), swapped]
        {
            let error = render(&template, &[]).unwrap_err();
            assert!(
                matches!(error, TemplateError::Marks(_)) && error.to_string().contains("help: ")
            );
        }
    }
}
