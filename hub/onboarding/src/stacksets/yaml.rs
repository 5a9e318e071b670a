//! Writes statements as readable CloudFormation: a comment above each, one permission on
//! each line.

use firebreak_spoke::grant::Condition;
use firebreak_spoke::permissions::{READ, Statement};

/// The managed policy with the read permissions, as a resource of the template.
pub(super) fn managed(statements: &[Statement]) -> String {
    let mut out = Lines::default();
    out.line(2, &format!("{READS}:"));
    out.line(4, "Type: AWS::IAM::ManagedPolicy");
    out.line(4, "Properties:");
    out.line(6, "ManagedPolicyName: FirebreakSpokeRead");
    out.line(6, "Description: \"What Firebreak reads before it changes anything\"");
    out.line(6, "PolicyDocument:");
    out.document(8, statements.iter().filter(|statement| statement.policy == READ));
    out.0
}

/// The role's properties `ManagedPolicyArns` and `Policies`.
pub(super) fn policies(statements: &[Statement]) -> String {
    let mut out = Lines::default();
    out.line(6, "ManagedPolicyArns:");
    out.line(8, &format!("- Ref: {READS}"));
    let mut names: Vec<&str> = statements.iter().map(|statement| statement.policy).collect();
    names.retain(|name| *name != READ);
    names.dedup();
    if !names.is_empty() {
        out.line(6, "Policies:");
    }
    for name in names {
        out.line(8, &format!("- PolicyName: {name}"));
        out.line(10, "PolicyDocument:");
        out.document(12, statements.iter().filter(|statement| statement.policy == name));
    }
    out.0
}

/// The managed policy's name in the template.
const READS: &str = "SpokeReads";

#[derive(Default)]
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn line(&mut self, indent: usize, text: &str) {
        self.0.extend(std::iter::repeat_n(' ', indent));
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// A comment, folded at 88 columns.
    pub(super) fn comment(&mut self, indent: usize, text: &str) {
        let mut line = "#".to_owned();
        for word in text.split_whitespace() {
            if indent + line.len() + 1 + word.len() > 88 && line != "#" {
                self.line(indent, &line);
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(indent, &line);
    }

    fn document<'a>(&mut self, indent: usize, statements: impl Iterator<Item = &'a Statement>) {
        self.line(indent, "Version: \"2012-10-17\"");
        self.line(indent, "Statement:");
        for statement in statements {
            self.comment(indent + 2, statement.why);
            self.line(indent + 2, &format!("- Sid: {}", statement.sid));
            self.line(indent + 4, &format!("Effect: {}", statement.effect.name()));
            self.line(indent + 4, "Action:");
            for permission in &statement.permissions {
                self.line(indent + 6, &format!("- {permission}"));
            }
            self.values(indent + 4, "Resource", statement.resources);
            self.conditions(indent + 4, statement.conditions);
        }
    }

    /// One value on the line of its key, several on lines below it.
    fn values(&mut self, indent: usize, key: &str, values: &[&str]) {
        match values {
            [one] if !one.contains("${") => self.line(indent, &format!("{key}: \"{one}\"")),
            [one] => {
                self.line(indent, &format!("{key}:"));
                self.line(indent + 2, &value(one));
            }
            several => {
                self.line(indent, &format!("{key}:"));
                for one in several {
                    self.line(indent + 2, &format!("- {}", value(one)));
                }
            }
        }
    }

    fn conditions(&mut self, indent: usize, conditions: &[Condition]) {
        if conditions.is_empty() {
            return;
        }
        self.line(indent, "Condition:");
        let mut operator = None;
        for condition in conditions {
            if operator != Some(condition.operator) {
                operator = Some(condition.operator);
                self.line(indent + 2, &format!("{}:", condition.operator));
            }
            self.values(indent + 4, condition.key, condition.values);
        }
    }
}

/// A text with placeholders is filled in by CloudFormation.
fn value(text: &str) -> String {
    if text.contains("${") { format!("Fn::Sub: \"{text}\"") } else { format!("\"{text}\"") }
}
