//! The permissions of the spoke role: those that actions declare, each on the resources
//! and under the conditions that AWS offers for it. The role in stacksets/spoke.yaml is
//! rendered from this.
//!
//! Pure: names in, statements out. Nothing is granted that no action declares, and a
//! declared change without a grant is an error, never `*`.

mod exceptions;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use self::exceptions::{NEVER, NEVER_WHY};
pub use self::exceptions::{UNBOUNDED, Unbounded};
use crate::grant::{Condition, GrantScope};
use crate::registry::RegisteredAction;
use crate::tags;

/// The policy of the read permissions: a managed policy of its own, because a role's
/// inline policies may not have more than 10,240 characters in all.
pub const READ: &str = "read";

/// Whether a statement allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allow,
    /// Denies, even if another statement allows it.
    Deny,
}

impl Effect {
    /// The name in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
        }
    }
}

/// One statement of the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The name of the policy that it is in.
    pub policy: &'static str,
    /// The statement's id.
    pub sid: &'static str,
    /// What it is for, and why its resources are no narrower.
    pub why: &'static str,
    /// Whether it allows or denies.
    pub effect: Effect,
    /// IAM actions, sorted.
    pub permissions: Vec<&'static str>,
    /// ARN patterns, with CloudFormation's placeholders such as `${AWS::Partition}`.
    pub resources: &'static [&'static str],
    /// All of them have to be met.
    pub conditions: &'static [Condition],
}

/// A declared change without a grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{action}` declares `{permission}`, and no grant names it\nhelp: add it to the action's GRANTS, in the scope that it is for"
)]
pub struct Ungranted {
    pub action: &'static str,
    pub permission: &'static str,
}

/// Every permission that these actions declare, and those to read a target's tags.
pub fn declared(entries: &[&RegisteredAction]) -> BTreeSet<&'static str> {
    let of_actions =
        entries.iter().flat_map(|entry| entry.spec.reads.iter().chain(entry.spec.writes));
    of_actions.chain(tags::READS).copied().collect()
}

/// What the actions are allowed in one scope.
struct Granted {
    scope: GrantScope,
    permissions: BTreeSet<&'static str>,
}

/// The statements of a role for these actions, in the order of the actions: reads,
/// changes, and what is denied even if another statement allows it.
///
/// # Errors
///
/// A declared change without a grant of its action.
pub fn statements(entries: &[&RegisteredAction]) -> Result<Vec<Statement>, Ungranted> {
    let granted = granted(entries);
    for entry in entries {
        for permission in entry.spec.writes {
            if !entry.grants.iter().any(|grant| grant.permissions.contains(permission)) {
                return Err(Ungranted { action: entry.spec.name, permission });
            }
        }
    }
    let mut statements = vec![read_statement(entries)];
    statements.extend(granted.iter().filter_map(|one| allowed(one, &granted)));
    let of_roles: BTreeSet<&'static str> =
        permissions(&granted).filter(|it| changes_a_role(it)).collect();
    if !of_roles.is_empty() {
        statements.push(Statement {
            policy: "never",
            sid: "NeverItselfNorWhoAdministers",
            why: NEVER_WHY,
            effect: Effect::Deny,
            permissions: of_roles.into_iter().collect(),
            resources: NEVER,
            conditions: &[],
        });
    }
    Ok(statements)
}

/// The grants of these actions; those with the same scope are combined.
fn granted(entries: &[&RegisteredAction]) -> Vec<Granted> {
    let mut granted: Vec<Granted> = Vec::new();
    for grant in entries.iter().flat_map(|entry| entry.grants) {
        match granted.iter_mut().find(|one| one.scope.sid == grant.scope.sid) {
            Some(one) => one.permissions.extend(grant.permissions),
            None => granted.push(Granted {
                scope: grant.scope,
                permissions: grant.permissions.iter().copied().collect(),
            }),
        }
    }
    granted
}

fn permissions(granted: &[Granted]) -> impl Iterator<Item = &'static str> {
    granted.iter().flat_map(|one| one.permissions.iter().copied())
}

/// The statement of the reads that no grant of their action names, and of those of tags.
fn read_statement(entries: &[&RegisteredAction]) -> Statement {
    let ungranted = entries.iter().flat_map(|entry| {
        let named = |it: &str| entry.grants.iter().any(|grant| grant.permissions.contains(&it));
        entry.spec.reads.iter().filter(move |it| !named(it))
    });
    let permissions: BTreeSet<&'static str> = ungranted.chain(tags::READS).copied().collect();
    Statement {
        policy: READ,
        sid: "ReadBeforeChanging",
        why: "Reads the state before a change, the tags that protect, and the state after a \
              change.",
        effect: Effect::Allow,
        permissions: permissions.into_iter().collect(),
        resources: &["*"],
        conditions: &[],
    }
}

/// The statement of one scope; `None` if a wider scope allows all of it.
fn allowed(one: &Granted, all: &[Granted]) -> Option<Statement> {
    let Granted { scope, permissions } = one;
    let wider = all.iter().find(|other| Some(other.scope.sid) == scope.within);
    let needed = |it: &&&str| wider.is_none_or(|wider| !wider.permissions.contains(**it));
    let permissions: Vec<_> = permissions.iter().filter(needed).copied().collect();
    (!permissions.is_empty()).then_some(Statement {
        policy: "contain",
        sid: scope.sid,
        why: scope.why,
        effect: Effect::Allow,
        permissions,
        resources: scope.resources,
        conditions: scope.conditions,
    })
}

fn changes_a_role(permission: &str) -> bool {
    permission.strip_prefix("iam:").is_some_and(|name| name.contains("Role"))
}

/// The policy documents, by name, with every placeholder filled in from `values`, as
/// IAM gets them from a template.
pub fn documents(
    statements: &[Statement],
    values: &[(&str, &str)],
) -> BTreeMap<&'static str, Value> {
    let mut policies: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
    for statement in statements {
        policies.entry(statement.policy).or_default().push(statement.document(values));
    }
    policies
        .into_iter()
        .map(|(name, statements)| {
            (name, json!({ "Version": "2012-10-17", "Statement": statements }))
        })
        .collect()
}

impl Statement {
    /// The statement in JSON.
    pub fn document(&self, values: &[(&str, &str)]) -> Value {
        let fill = |text: &str| {
            values.iter().fold(text.to_owned(), |text, (name, value)| {
                text.replace(&format!("${{{name}}}"), value)
            })
        };
        let filled = |texts: &[&str]| texts.iter().map(|text| fill(text)).collect::<Vec<_>>();
        let mut document = json!({
            "Sid": self.sid,
            "Effect": self.effect.name(),
            "Action": self.permissions,
            "Resource": filled(self.resources),
        });
        if let (false, Some(document)) = (self.conditions.is_empty(), document.as_object_mut()) {
            let mut operators: Map<String, Value> = Map::new();
            for Condition { operator, key, values } in self.conditions {
                let keys = operators.entry(*operator).or_insert_with(|| json!({}));
                if let Some(keys) = keys.as_object_mut() {
                    keys.insert((*key).to_owned(), json!(filled(values)));
                }
            }
            document.insert("Condition".to_owned(), Value::Object(operators));
        }
        document
    }

    /// Whether it names every resource of a service, or of all, and no
    /// condition narrows that. A bucket's ARN has no account in it, so that
    /// `arn:…:s3:::*` is every bucket there is.
    pub fn is_unbounded(&self) -> bool {
        let everything = |resource: &&str| {
            // The names of the template's placeholders have colons of their own.
            let resource = resource.replace("${AWS::Partition}", "aws");
            let resource = resource.replace("${AWS::AccountId}", "111111111111");
            let mut parts = resource.splitn(6, ':');
            let (account, name) = (parts.nth(4), parts.next());
            match (account, name) {
                (None, _) | (_, None) => resource == "*",
                (Some(account), Some(name)) => name == "*" && matches!(account, "" | "*"),
            }
        };
        self.conditions.is_empty() && self.resources.iter().any(everything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    fn of(names: &[&str]) -> Vec<Statement> {
        let entries: Vec<&RegisteredAction> =
            names.iter().map(|name| registry::find(name).unwrap()).collect();
        statements(&entries).unwrap()
    }

    fn all() -> Vec<Statement> {
        statements(&registry::all().iter().collect::<Vec<_>>()).unwrap()
    }

    fn sids(statements: &[Statement]) -> Vec<&str> {
        statements.iter().map(|statement| statement.sid).collect()
    }

    #[test]
    fn a_role_for_each_single_action_has_exactly_what_the_action_declares() {
        for entry in registry::all() {
            let statements = statements(&[entry]).unwrap();
            let allowed: BTreeSet<&str> = statements
                .iter()
                .filter(|statement| statement.effect == Effect::Allow)
                .flat_map(|statement| statement.permissions.iter().copied())
                .collect();
            assert_eq!(allowed, declared(&[entry]), "{}", entry.spec.name);
        }
    }

    #[test]
    fn a_role_for_all_actions_has_exactly_what_they_declare() {
        let statements = all();
        let allow = statements.iter().filter(|it| it.effect == Effect::Allow);
        let allowed: BTreeSet<&str> = allow.flat_map(|it| it.permissions.iter().copied()).collect();
        assert_eq!(allowed, declared(&registry::all().iter().collect::<Vec<_>>()));
    }

    #[test]
    fn each_change_of_an_action_is_in_exactly_one_of_its_grants() {
        for entry in registry::all() {
            let name = entry.spec.name;
            let granted: Vec<&str> =
                entry.grants.iter().flat_map(|grant| grant.permissions).copied().collect();
            let declared: BTreeSet<&str> =
                entry.spec.reads.iter().chain(entry.spec.writes).copied().collect();
            let unique: BTreeSet<&str> = granted.iter().copied().collect();
            assert_eq!(unique.len(), granted.len(), "{name}: a permission is granted twice");
            assert!(unique.is_subset(&declared), "{name}: {unique:?}");
            assert!(entry.spec.writes.iter().all(|it| unique.contains(it)), "{name}: {unique:?}");
        }
    }

    #[test]
    fn a_statement_s_id_belongs_to_one_scope() {
        let scopes: Vec<GrantScope> = registry::all()
            .iter()
            .flat_map(|entry| entry.grants)
            .map(|grant| grant.scope)
            .collect();
        for scope in &scopes {
            let same = scopes.iter().filter(|other| other.sid == scope.sid);
            assert!(same.into_iter().all(|other| other == scope), "{}", scope.sid);
            let within = |sid| scopes.iter().any(|other| other.sid == sid);
            assert!(scope.within.is_none_or(within), "{}", scope.sid);
        }
    }

    /// "No mutating permission stands on `*` without a condition unless AWS
    /// offers no resource level", for each action alone too.
    #[test]
    fn the_unbounded_changes_are_exactly_the_listed_ones() {
        let mut unbounded = BTreeSet::new();
        for entry in registry::all() {
            for statement in statements(&[entry]).unwrap() {
                if statement.effect == Effect::Allow && statement.is_unbounded() {
                    let changes = entry.spec.writes.iter();
                    unbounded.extend(changes.filter(|it| statement.permissions.contains(it)));
                }
            }
        }
        let listed: BTreeSet<&&str> = UNBOUNDED.iter().map(|it| &it.permission).collect();
        assert_eq!(unbounded, listed);
        assert!(UNBOUNDED.iter().all(|it| it.why.len() > 20));
    }

    #[test]
    fn a_statement_that_names_no_account_and_no_resource_is_unbounded() {
        let with = |resources: &'static [&'static str]| {
            let statement = all().into_iter().next().unwrap();
            Statement { resources, ..statement }.is_unbounded()
        };
        assert!(with(&["*"]));
        assert!(with(&["arn:${AWS::Partition}:s3:::*"]));
        assert!(with(&["arn:aws:ec2:*:*:*"]));
        assert!(with(&["arn:aws:s3:::evidence", "*"]));
        assert!(!with(&["arn:aws:s3:::evidence"]));
        assert!(!with(&["arn:aws:ec2:*:*:instance/*"]));
        assert!(!with(&["arn:aws:iam::111111111111:*"]));
        assert!(!with(&["arn:${AWS::Partition}:iam::${AWS::AccountId}:*"]));
    }

    #[test]
    fn actions_that_only_deny_may_attach_no_other_policy() {
        let narrow = of(&["deny-all", "revoke-sessions"]);
        assert!(sids(&narrow).contains(&"AttachDenyAll"));
        assert!(!sids(&narrow).contains(&"AttachAnyPolicy"));
        let wide = of(&["deny-all", "attach-policy"]);
        assert!(!sids(&wide).contains(&"AttachDenyAll"), "{:?}", sids(&wide));
        assert!(sids(&wide).contains(&"AttachAnyPolicy"));
    }

    #[test]
    fn a_role_is_passed_to_the_services_of_its_actions_only() {
        let services = |names: &[&str]| -> Vec<&str> {
            of(names)
                .iter()
                .filter(|statement| statement.permissions.contains(&"iam:PassRole"))
                .flat_map(|statement| statement.conditions)
                .flat_map(|condition| condition.values)
                .copied()
                .collect()
        };
        assert_eq!(services(&["isolate-instance"]), [""; 0]);
        assert_eq!(services(&["suspend-replication"]), ["s3.amazonaws.com"]);
        assert_eq!(services(&["run-automation"]), ["ssm.amazonaws.com"]);
        let ec2 = ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"];
        assert_eq!(services(&["revoke-instance-credentials"]), ec2);
    }

    #[test]
    fn every_change_of_a_role_is_denied_on_the_roles_that_no_action_touches() {
        let statements = all();
        let denied: BTreeSet<&str> = statements
            .iter()
            .filter(|statement| statement.effect == Effect::Deny)
            .flat_map(|statement| statement.permissions.iter().copied())
            .collect();
        let of_roles: BTreeSet<&str> = statements
            .iter()
            .filter(|it| it.resources.iter().any(|it| it.contains(":role/")))
            .flat_map(|it| it.permissions.iter().copied())
            .filter(|it| it.contains("Role"))
            .collect();
        assert!(denied.len() > 5);
        assert_eq!(denied, of_roles);
        assert!(!sids(&of(&["deactivate-access-key"])).contains(&"NeverItselfNorWhoAdministers"));
    }

    #[test]
    fn placeholders_are_filled_in() {
        let values = [("AWS::Partition", "aws-cn"), ("AWS::AccountId", "111111111111")];
        let documents = documents(&of(&["stop-instance"]), &values);
        let statement = &documents["contain"]["Statement"][0];
        assert_eq!(statement["Resource"][0], "arn:aws-cn:ec2:*:111111111111:instance/*");
        assert!(statement.get("Condition").is_none());
    }
}
