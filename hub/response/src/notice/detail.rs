//! A notice for programs: the `detail` of an event, and what queues, functions
//! and web hooks get from the topic. `docs/notices.schema.json` describes it.
//!
//! Fields are only ever added within a version. Texts that others wrote are on
//! one line and cut: the record has them whole.

use firebreak_model::action::Residual;
use firebreak_model::resource::{PrincipalType, Resource};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use super::{NoticeKind, NoticeSubject, line, links};
use crate::record::{Response, State, Step, StepState};
use firebreak_policy::CountedBy;

/// The form of a detail.
const VERSION: u32 = 1;
/// At most so many steps are listed; the record has them all.
const STEPS: usize = 40;
const STEP_DETAIL: usize = 300;
const REASON: usize = 1_000;
const TITLE: usize = 300;
const NAME: usize = 300;

/// A notice for programs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// The form of this detail: 1.
    pub version: u32,
    /// The notice's id: the same each time it is sent.
    pub id: String,
    /// Its kind.
    pub kind: NoticeKind,
    /// One line for a chat or a ticket's title.
    pub summary: String,
    /// The response that it is about.
    pub response: ResponseDetail,
    /// The budget that is spent, in a `budget-spent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetDetail>,
    /// What was not delivered, in an `undelivered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<UndeliveredDetail>,
    /// Deep links into the consoles, as far as there are any.
    pub links: Links,
    /// What to run.
    pub commands: Vec<CommandDetail>,
}

/// A response as it stood.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResponseDetail {
    /// Its id, `r-` and sixteen hexadecimal digits.
    pub id: String,
    /// Counts the writes of its record.
    pub revision: u64,
    /// Where it stood, such as `contained`.
    pub state: String,
    /// Why it stood there.
    pub reason: String,
    /// The document and rule that decided, or the guardrail.
    pub rule: String,
    /// The OUs above the account, ids from the root down.
    pub ou_path: String,
    /// What it acted on.
    pub resource: ResourceDetail,
    /// The finding that it answered.
    pub finding: FindingDetail,
    /// Its steps, in their order; at most 40 of them.
    pub steps: Vec<StepDetail>,
    /// How many steps there are.
    pub step_count: usize,
    /// What may stay open although the target is contained; at most 40.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub residual: Vec<ResidualDetail>,
    /// When it was recorded first, RFC 3339.
    pub created: String,
    /// When it was recorded last, RFC 3339.
    pub updated: String,
    /// When something becomes due for it, such as its undo by itself, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// Who asked for the undo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
}

/// A resource.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDetail {
    /// Its ARN, or a text of the same form where AWS has none.
    pub arn: String,
    /// Its type's name in policies.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id or name.
    pub name: String,
    /// The account that owns it.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The partition.
    pub partition: String,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingDetail {
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// On GuardDuty's scale, 0 to 10.
    pub severity: f64,
    /// GuardDuty's word for it: Low, Medium, High or Critical.
    pub severity_label: String,
    /// Its title.
    pub title: String,
    /// The product that raised it.
    pub product: String,
    /// The account that it is about.
    pub account: String,
    /// The Region that it is about.
    pub region: String,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepDetail {
    /// The action's name.
    pub action: String,
    /// When it runs: `contain`, `protect`, `collect` or `end`.
    pub phase: String,
    /// How it ended: `planned`, `done`, `failed`, `skipped`, `undone`, `drifted`.
    pub state: String,
    /// What was seen or why it failed.
    pub detail: String,
}

/// Access that may stay open after a containment.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResidualDetail {
    /// The path, as docs/actions.md names it.
    pub path: String,
    /// What stays open and why.
    pub what: String,
    /// The actions that close it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub closed_by: Vec<String>,
}

/// A spent budget.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetDetail {
    /// Where its document is attached.
    pub document: String,
    /// How many actions it allows.
    pub actions: u32,
    /// Within which window.
    pub per: String,
    /// What is counted together: `account`, `ou`, `action` or `rule`; absent
    /// for everything below the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The counter.
    pub key: String,
    /// When there is budget again, RFC 3339.
    pub window_ends: String,
}

/// What was not delivered.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UndeliveredDetail {
    /// Whom.
    pub to: String,
    /// Why not.
    pub why: String,
}

/// Deep links; each needs a session in the account that it is of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// The resource, in the account that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The finding in GuardDuty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard_duty: Option<String>,
    /// The finding in Security Hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_hub: Option<String>,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandDetail {
    /// What it does: `approve`, `deny`, `undo`, `release` or `show`.
    pub name: String,
    /// The line to run.
    pub run: String,
}

/// The JSON Schema of [`Detail`].
pub fn schema() -> Value {
    let schema = SchemaGenerator::default().into_root_schema_for::<Detail>();
    serde_json::to_value(schema).unwrap_or_default()
}

impl Detail {
    pub(super) fn new(
        id: &str,
        kind: NoticeKind,
        summary: &str,
        response: &Response,
        about: &NoticeSubject<'_>,
    ) -> Self {
        let (budget, undelivered) = match about {
            NoticeSubject::State => (None, None),
            NoticeSubject::Budget { spent, key, window_ends } => {
                let budget = BudgetDetail {
                    document: spent.document.clone(),
                    actions: spent.budget.actions,
                    per: spent.budget.per.to_string(),
                    by: spent.budget.by.map(CountedBy::name).map(str::to_owned),
                    key: (*key).to_owned(),
                    window_ends: window_ends.to_string(),
                };
                (Some(budget), None)
            }
            NoticeSubject::Undelivered { what, why } => {
                let described = UndeliveredDetail { to: line(what, NAME), why: line(why, REASON) };
                (None, Some(described))
            }
        };
        let partition = &response.resource.partition;
        Self {
            version: VERSION,
            id: id.to_owned(),
            kind,
            summary: summary.to_owned(),
            response: ResponseDetail::of(response),
            budget,
            undelivered,
            links: Links {
                resource: links::resource(&response.resource),
                guard_duty: links::guardduty(partition, &response.finding),
                security_hub: links::security_hub(partition, &response.finding),
            },
            commands: commands(response),
        }
    }
}

impl ResponseDetail {
    fn of(response: &Response) -> Self {
        let Response { resource, finding, .. } = response;
        Self {
            id: response.id.to_string(),
            revision: response.revision,
            state: response.state.name().to_owned(),
            reason: line(&response.reason, REASON),
            rule: line(&response.key.to_string(), NAME),
            ou_path: response.ou_path.to_string(),
            resource: ResourceDetail {
                arn: line(&resource.arn(), REASON),
                kind: line(resource.type_name(), NAME),
                name: line(&name_of(resource), NAME),
                account: resource.account.to_string(),
                region: resource.region.to_string(),
                partition: resource.partition.to_string(),
            },
            finding: FindingDetail {
                id: line(&finding.id, REASON),
                kind: line(&finding.kind, NAME),
                severity: finding.severity,
                severity_label: label(finding.severity).to_owned(),
                title: line(&finding.title, TITLE),
                product: line(&finding.product, NAME),
                account: finding.account.to_string(),
                region: finding.region.to_string(),
            },
            steps: response.steps.iter().take(STEPS).map(StepDetail::of).collect(),
            step_count: response.steps.len(),
            residual: response.residual().into_iter().take(STEPS).map(ResidualDetail::of).collect(),
            created: response.created.to_string(),
            updated: response.updated.to_string(),
            due: response.due.map(|due| due.to_string()),
            undone_by: response.undo.as_ref().map(|undo| line(&undo.cause.to_string(), NAME)),
        }
    }
}

impl StepDetail {
    fn of(step: &Step) -> Self {
        Self {
            action: step.action.clone(),
            phase: format!("{:?}", step.phase).to_lowercase(),
            state: state_name(step.state).to_owned(),
            detail: line(&step.detail, STEP_DETAIL),
        }
    }
}

impl ResidualDetail {
    fn of(residual: &Residual) -> Self {
        Self {
            path: residual.path.clone(),
            what: line(&residual.what, STEP_DETAIL),
            closed_by: residual.closed_by.clone(),
        }
    }
}

fn state_name(state: StepState) -> &'static str {
    match state {
        StepState::Planned => "planned",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Skipped => "skipped",
        StepState::Undone => "undone",
        StepState::Drifted => "drifted",
    }
}

/// GuardDuty's words (GuardDuty user guide, "Severity levels").
fn label(severity: f64) -> &'static str {
    match severity {
        ..4.0 => "Low",
        ..7.0 => "Medium",
        ..9.0 => "High",
        _ => "Critical",
    }
}

/// What people call a resource: its id or name, or whose credentials they are.
pub(super) fn name_of(resource: &Resource) -> String {
    let named = resource.principal().and_then(|principal| match principal.kind {
        PrincipalType::Root => Some("root"),
        PrincipalType::IamUser
        | PrincipalType::AssumedRole
        | PrincipalType::Role
        | PrincipalType::FederatedUser
        | PrincipalType::IdentityCenterUser
        | PrincipalType::AwsAccount
        | PrincipalType::AwsService
        | PrincipalType::Other(_) => principal.name,
    });
    let named = named.or(resource.id());
    named.map_or_else(|| resource.arn(), str::to_owned)
}

fn commands(response: &Response) -> Vec<CommandDetail> {
    let id = &response.id;
    let command = |name: &str, rest: &str| CommandDetail {
        name: name.to_owned(),
        run: format!("firebreak responses {name} {id}{rest}"),
    };
    let mut commands = match response.state {
        State::AwaitingApproval => {
            let reason = " --reason \"<why>\"";
            vec![command("approve", reason), command("deny", reason)]
        }
        State::Running | State::Contained | State::Completed | State::PartiallyContained => {
            vec![command("undo", "")]
        }
        State::Undone | State::Denied => vec![command("release", "")],
        State::Observed | State::Expired | State::Refused | State::Failed | State::Undoing => {
            Vec::new()
        }
    };
    commands.push(command("show", ""));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "UPDATE=1 is for the developer who runs it")]
    fn the_schema_in_the_docs_is_up_to_date() {
        let file = format!("{}/../../docs/notices.schema.json", env!("CARGO_MANIFEST_DIR"));
        let fresh = format!("{:#}\n", schema());
        if std::env::var("UPDATE").is_ok() {
            std::fs::write(&file, &fresh).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(written == fresh, "docs/notices.schema.json is stale: run the tests with UPDATE=1");
    }
}
