//! Reads files of policy tests.

use std::collections::BTreeMap;

use firebreak_model::resource::{AccountId, Principal, PrincipalType, Region, ResourceKind};

use super::super::actions::ActionCall;
use super::super::decision::PolicyOutcome;
use super::super::document::Mode;
use super::super::keys::{CASE, EXPECT, FINDING, GIVEN, PRINCIPAL, RESOURCE, SUITE};
use super::super::node::{Content, Node};
use super::super::suite::{Case, Expect, Given};
use super::super::synthetic;
use super::Reader;
use firebreak_model::finding::{Finding, ResourceRole};
use firebreak_model::organization::OuPath;

impl<'n> Reader<'_> {
    pub(super) fn suite(&mut self, node: &'n Node, file: &str) -> Vec<Case> {
        let Some(keys) = self.keys(node, "a file of tests", SUITE) else { return Vec::new() };
        self.version(&keys);
        let cases = keys.get("tests").map(|node| self.list(node, "`tests`")).unwrap_or_default();
        cases.iter().filter_map(|node| self.case(node, file)).collect()
    }

    fn case(&mut self, node: &'n Node, file: &str) -> Option<Case> {
        let keys = self.keys(node, "a test", CASE)?;
        let name = keys.get("name").and_then(|node| self.text(node, "a test's name"));
        let expect = keys.get("expect").and_then(|node| self.expect(node));
        let given = self.keys(keys.get("given")?, "`given`", GIVEN)?;
        let account = given.get("account").and_then(|node| self.parsed(node, "`account`"));
        let finding = given.get("finding").and_then(|node| self.given(node, account.as_ref()));
        let ou_path =
            given.get("ou-path").and_then(|node| self.parsed::<OuPath>(node, "`ou-path`"));
        let target = given.get("target").and_then(|node| self.text(node, "`target`"));
        let tags = given.get("tags").and_then(|node| self.present_tags(node));
        Some(Case {
            file: file.to_owned(),
            line: keys.get("name").map_or(node.place.line, |name| name.place.line),
            name: name?.to_owned(),
            finding: finding?,
            target: target.map(str::to_owned),
            account,
            ou_path,
            tags,
            expect: expect?,
        })
    }

    fn present_tags(&mut self, node: &'n Node) -> Option<BTreeMap<String, String>> {
        let Content::Map(entries) = &node.content else {
            let message = format!("`tags` are keys with values, not {}", node.describe());
            self.mistake(node.place, message, Some("write them as in { team: payments }"));
            return None;
        };
        entries
            .iter()
            .map(|entry| {
                let value = self.text(&entry.node, "a tag's value")?;
                Some((entry.key.clone(), value.to_owned()))
            })
            .collect()
    }

    fn given(&mut self, node: &'n Node, account: Option<&AccountId>) -> Option<Given> {
        if let Content::Text(file) = &node.content {
            return Some(Given::File(file.clone()));
        }
        self.finding(node, account).map(|finding| Given::Fields(Box::new(finding)))
    }

    fn finding(&mut self, node: &'n Node, account: Option<&AccountId>) -> Option<Finding> {
        let keys = self.keys(node, "a finding", FINDING)?;
        let kind = keys.get("type").and_then(|node| self.text(node, "`type`"));
        let severity = keys.get("severity").and_then(|node| self.severity(node));
        let region = match keys.get("region") {
            Some(node) => self.parsed::<Region>(node, "`region`"),
            None => "us-east-1".parse().ok(),
        };
        let account = account.cloned().or_else(|| synthetic::ACCOUNT.parse().ok());
        let title = keys.get("title").and_then(|node| self.text(node, "`title`"));
        let product = keys.get("product").and_then(|node| self.text(node, "`product`"));
        let sample = keys.get("sample").and_then(|node| self.bool(node, "`sample`"));
        let archived = keys.get("archived").and_then(|node| self.bool(node, "`archived`"));
        let resource = self.keys(keys.get("resource")?, "`resource`", RESOURCE)?;
        let resource_type = resource.get("type").and_then(|node| self.text(node, "`type`"));
        let id = resource.get("id").and_then(|node| self.text(node, "`id`"));
        let role = resource.get("role").and_then(|node| {
            let roles = [ResourceRole::Actor, ResourceRole::Target];
            self.one_of(node, "a value of `role`", &roles, ResourceRole::name)
        });
        let principal = resource.get("principal").and_then(|node| self.principal(node));
        let mut resource = synthetic::resource(resource_type?, id, &account?, &region?);
        if let (ResourceKind::AccessKey { principal: whose, .. }, Some(principal)) =
            (&mut resource.kind, principal)
        {
            *whose = principal;
        }
        let mut finding = synthetic::finding(kind?, severity?, resource);
        title.unwrap_or_default().clone_into(&mut finding.title);
        product.unwrap_or("GuardDuty").clone_into(&mut finding.product);
        finding.sample = sample.unwrap_or_default();
        finding.archived = archived.unwrap_or_default();
        finding.detail = keys.get("detail").map(Node::to_json).unwrap_or_default();
        for target in &mut finding.targets {
            target.role = role;
        }
        Some(finding)
    }

    fn severity(&mut self, node: &Node) -> Option<f64> {
        let severity = match &node.content {
            Content::Number(number) => number.as_f64(),
            _ => None,
        };
        let severity = severity.filter(|severity| (0.0..=10.0).contains(severity));
        if severity.is_none() {
            let message = format!("`severity` is a number from 0 to 10, not {}", node.describe());
            self.mistake(node.place, message, None);
        }
        severity
    }

    fn principal(&mut self, node: &'n Node) -> Option<Principal> {
        let keys = self.keys(node, "`principal`", PRINCIPAL)?;
        let mut text = |name: &str| {
            keys.get(name).and_then(|node| self.text(node, &format!("`{name}`"))).map(str::to_owned)
        };
        let (kind, name, id) = (text("type"), text("name"), text("id"));
        Some(Principal { kind: PrincipalType::named(&kind?), name, id })
    }

    fn expect(&mut self, node: &'n Node) -> Option<Expect> {
        let keys = self.keys(node, "`expect`", EXPECT)?;
        if keys.0.is_empty() {
            let message = "a test that expects nothing cannot fail";
            self.mistake(node.place, message, Some("expect a mode, actions, a rule or an outcome"));
        }
        let outcome = keys.get("outcome").and_then(|node| {
            self.one_of(node, "an outcome", &PolicyOutcome::ALL, PolicyOutcome::name)
        });
        let mode: Option<Mode> = keys.get("mode").and_then(|node| self.mode(node));
        let actions = keys.get("actions").map(|node| {
            let nodes = self.list(node, "`actions`");
            let calls = self.calls(nodes, true, None);
            calls.into_iter().map(|then| then.call).collect::<Vec<ActionCall>>()
        });
        let rule = keys.get("rule").and_then(|node| self.text(node, "`rule`"));
        let document = keys.get("document").and_then(|node| self.text(node, "`document`"));
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Expect { outcome, mode, actions, rule: owned(rule), document: owned(document) })
    }
}
