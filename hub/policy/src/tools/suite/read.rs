//! The keys of a file of policy tests, and how it is read.

use std::collections::BTreeMap;

use firebreak_model::action::ActionCatalog;
use firebreak_model::finding::{Finding, ResourceRole};
use firebreak_model::organization::OuPath;
use firebreak_model::resource::{AccountId, Principal, PrincipalType, Region, ResourceKind};
use serde_json::{Value, json};

use super::{Expect, FindingSource, PolicyTest};
use crate::model::{Mode, PolicyOutcome};
use crate::syntax::{
    Actions, Content, Diagnostic, FromNode, Key, Keyed, Keys, MapDescription, Node, Reader,
    Version, read_each, schema_of, words,
};
use crate::tools::synthetic;

/// Reads files of policy tests, each a name and its text. Every error of every file
/// is returned.
pub fn read_tests(
    files: &[(String, String)],
    actions: ActionCatalog,
) -> Result<Vec<PolicyTest>, Vec<Diagnostic>> {
    let suites = read_each::<TestFile>(files, actions)?;
    Ok(suites.into_iter().flat_map(|it| it.0).collect())
}

/// The JSON Schema of a file of policy tests, for editors.
pub fn test_schema(actions: ActionCatalog) -> Value {
    schema_of::<TestFile>("Tests of Firebreak policies", actions)
}

pub(crate) struct TestFile(Vec<PolicyTest>);

const VERSION: Key<Version> = Key::optional("version", "The version of this form.");
const TESTS: Key<Vec<PolicyTest>> = Key::required("tests", "The tests.");

impl Keyed for TestFile {
    const WHAT: &'static str = "a file of tests";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        keys.take(&VERSION);
        keys.take(&TESTS).map(Self)
    }
}

const CASE_NAME: Key<String> = Key::required("name", "What the test shows, in words.");
const GIVEN: Key<Situation> = Key::required("given", "A finding at a place.");
const EXPECT: Key<Expect> =
    Key::required("expect", "The expected decision; a key that is left out is not checked.");

impl Keyed for PolicyTest {
    const WHAT: &'static str = "a test";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        let name = keys.take(&CASE_NAME);
        let given = keys.take(&GIVEN);
        let expect = keys.take(&EXPECT);
        let Situation { finding, target, account, ou_path, tags } = given?;
        Some(Self {
            file: keys.reader.file.to_owned(),
            line: keys.node(&CASE_NAME).map_or(keys.place.line, |name| name.place.line),
            name: name?,
            finding,
            target,
            account,
            ou_path,
            tags,
            expect: expect?,
        })
    }
}

/// The value of `given`.
struct Situation {
    finding: FindingSource,
    target: Option<String>,
    account: Option<AccountId>,
    ou_path: Option<OuPath>,
    tags: Option<BTreeMap<String, String>>,
}

const FINDING: Key<FindingSource> = Key::required(
    "finding",
    "A file, relative to this one, in any form in which findings arrive; or the fields of a finding.",
);
const TARGET: Key<String> =
    Key::optional("target", "Which of the finding's resources is meant, by a part of its ARN.");
const ACCOUNT: Key<AccountId> =
    Key::optional("account", "Decides as if the resource were in this account.");
const OU_PATH: Key<OuPath> = Key::optional(
    "ou-path",
    "Where the account is, the root's id first. Without it the account is directly below the root.",
);
const TAGS: Key<BTreeMap<String, String>> =
    Key::optional("tags", "The resource's present tags, instead of the finding's.");

impl Keyed for Situation {
    const WHAT: &'static str = "`given`";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        let finding = keys.take(&FINDING);
        let target = keys.take(&TARGET);
        let account = keys.take(&ACCOUNT);
        let ou_path = keys.take(&OU_PATH);
        let tags = keys.take(&TAGS);
        let mut finding = finding?;
        if let (FindingSource::Fields(finding), Some(account)) = (&mut finding, &account) {
            finding.account.clone_from(account);
            for target in &mut finding.targets {
                target.resource.account.clone_from(account);
            }
        }
        Some(Self { finding, target, account, ou_path, tags })
    }
}

impl FromNode for FindingSource {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        if let Some(file) = node.as_text() {
            return Some(Self::File(file.to_owned()));
        }
        let TestFinding(finding) = TestFinding::from_node(node, what, reader)?;
        Some(Self::Fields(Box::new(finding)))
    }

    fn schema(actions: ActionCatalog) -> Value {
        json!({ "anyOf": [{ "type": "string" }, TestFinding::schema(actions)] })
    }

    fn holds() -> String {
        format!("a file, or {}", TestFinding::holds())
    }

    fn map() -> Option<MapDescription> {
        TestFinding::map()
    }
}

/// A finding whose fields are in the test.
struct TestFinding(Finding);

const FINDING_TYPE: Key<String> = Key::required("type", "The finding type.");
const SEVERITY: Key<Severity> = Key::required("severity", "The severity on GuardDuty's scale.");
const RESOURCE: Key<TestResource> = Key::required("resource", "The resource that it names.");
const TITLE: Key<String> = Key::optional("title", "The finding's title.");
const PRODUCT: Key<String> =
    Key::optional("product", "`GuardDuty`, which is the default, or the product's name.");
const REGION: Key<Region> = Key::optional("region", "The Region; without it `us-east-1`.");
const SAMPLE: Key<bool> = Key::optional("sample", "Whether it is a sample finding.");
const ARCHIVED: Key<bool> = Key::optional("archived", "Whether it is archived or suppressed.");
const DETAIL: Key<Value> = Key::optional("detail", "The finding as its service wrote it.");

impl Keyed for TestFinding {
    const WHAT: &'static str = "a finding";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        let finding_type = keys.take(&FINDING_TYPE);
        let severity = keys.take(&SEVERITY);
        let resource = keys.take(&RESOURCE);
        let title = keys.take(&TITLE);
        let product = keys.take(&PRODUCT);
        let region = keys.take(&REGION).or_else(|| "us-east-1".parse().ok());
        let sample = keys.take(&SAMPLE);
        let archived = keys.take(&ARCHIVED);
        let detail = keys.take(&DETAIL);
        let TestResource { resource_type, id, role, principal } = resource?;
        let account = synthetic::ACCOUNT.parse().ok()?;
        let mut resource = synthetic::resource(&resource_type, id.as_deref(), &account, &region?);
        if let (ResourceKind::AccessKey { principal: whose, .. }, Some(TestPrincipal(principal))) =
            (&mut resource.kind, principal)
        {
            *whose = principal;
        }
        let mut finding = synthetic::finding(&finding_type?, severity?.0, resource);
        finding.title = title.unwrap_or_default();
        finding.product = product.unwrap_or_else(|| "GuardDuty".to_owned());
        finding.sample = sample.unwrap_or_default();
        finding.archived = archived.unwrap_or_default();
        finding.detail = detail.unwrap_or_default();
        for target in &mut finding.targets {
            target.role = role.map(|it| it.0);
        }
        Some(Self(finding))
    }
}

/// The resource of a test's finding.
struct TestResource {
    resource_type: String,
    id: Option<String>,
    role: Option<TargetRole>,
    principal: Option<TestPrincipal>,
}

const RESOURCE_TYPE: Key<String> = Key::required(
    "type",
    "`Instance`, `AccessKey`, `User`, `Role`, `S3Bucket`, or the service's name for it.",
);
const ID: Key<String> =
    Key::optional("id", "Instance id, access key id, or the name of a user, role or bucket.");
const ROLE: Key<TargetRole> = Key::optional("role", "The resource's role in the finding.");
const PRINCIPAL: Key<TestPrincipal> =
    Key::optional("principal", "Of an access key: whose credentials they are.");

impl Keyed for TestResource {
    const WHAT: &'static str = "`resource`";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        let resource_type = keys.take(&RESOURCE_TYPE);
        let id = keys.take(&ID);
        let role = keys.take(&ROLE);
        let principal = keys.take(&PRINCIPAL);
        Some(Self { resource_type: resource_type?, id, role, principal })
    }
}

/// The role of a resource in a finding.
#[derive(Clone, Copy)]
struct TargetRole(ResourceRole);

impl TargetRole {
    const ALL: [Self; 2] = [Self(ResourceRole::Actor), Self(ResourceRole::Target)];

    fn name(self) -> &'static str {
        self.0.name()
    }
}

words!(TargetRole);

/// The principal that an access key belongs to.
struct TestPrincipal(Principal);

const PRINCIPAL_TYPE: Key<String> =
    Key::required("type", "`IAMUser`, `AssumedRole`, `Root`, `FederatedUser`, …");
const PRINCIPAL_NAME: Key<String> = Key::optional("name", "The user's or role's name.");
const PRINCIPAL_ID: Key<String> = Key::optional("id", "The unique id, `AIDA…` or `AROA…:session`.");

impl Keyed for TestPrincipal {
    const WHAT: &'static str = "`principal`";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        let kind = keys.take(&PRINCIPAL_TYPE);
        let name = keys.take(&PRINCIPAL_NAME);
        let id = keys.take(&PRINCIPAL_ID);
        Some(Self(Principal { kind: PrincipalType::named(&kind?), name, id }))
    }
}

struct Severity(f64);

impl FromNode for Severity {
    fn from_node(node: &Node, what: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let severity = match &node.content {
            Content::Number(number) => number.as_f64(),
            _ => None,
        };
        let severity = severity.filter(|severity| (0.0..=10.0).contains(severity));
        if severity.is_none() {
            let message = format!("{what} is a number from 0 to 10, not {}", node.describe());
            reader.report(node.place, message, None);
        }
        severity.map(Self)
    }

    fn schema(_: ActionCatalog) -> Value {
        json!({ "type": "number", "minimum": 0, "maximum": 10 })
    }

    fn holds() -> String {
        "0.0 to 10.0".to_owned()
    }
}

const OUTCOME: Key<PolicyOutcome> = Key::optional("outcome", "How the decision comes out.");
const MODE: Key<Mode> = Key::optional("mode", "The mode after all ceilings.");
const ACTIONS: Key<Actions> = Key::optional(
    "actions",
    "The actions in order; one without parameters matches any parameters.",
);
const IF_RESIDUAL: Key<Actions> = Key::optional(
    "if-residual",
    "The actions that run only if something stays open, in order. Without it they are not compared.",
);
const RULE: Key<String> = Key::optional("rule", "The rule that decides, or `none`.");
const DOCUMENT: Key<String> =
    Key::optional("document", "The attach point of that rule's document, or `none`.");

impl Keyed for Expect {
    const WHAT: &'static str = "`expect`";

    fn read(keys: &mut Keys<'_, '_>) -> Option<Self> {
        let outcome = keys.take(&OUTCOME);
        let mode = keys.take(&MODE);
        let actions = keys.take(&ACTIONS).map(Actions::into_calls);
        let if_residual = keys.take(&IF_RESIDUAL).map(Actions::into_calls);
        let rule = keys.take(&RULE);
        let document = keys.take(&DOCUMENT);
        if keys.is_empty() {
            let message = "a test that expects nothing cannot fail";
            let help = "expect a mode, actions, a rule or an outcome";
            keys.reader.report(keys.place, message, Some(help));
        }
        Some(Self { outcome, mode, actions, if_residual, rule, document })
    }
}
