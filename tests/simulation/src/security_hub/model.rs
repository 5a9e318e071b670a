//! What Security Hub holds: findings as ASFF, per administrator and Region.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// A finding's key: `Id` and `ProductArn`.
pub type Key = (String, String);

/// Security Hub, for the whole organization.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SecurityHub {
    /// The delegated administrator: it sees and updates its members' findings.
    pub administrator: Option<String>,
    /// The home Region of the finding aggregator, where there is one.
    pub home_region: Option<String>,
    /// Findings by the Region in which they were raised.
    #[serde(skip)]
    pub findings: BTreeMap<String, BTreeMap<Key, Value>>,
    /// Finding ids whose update fails with this code.
    #[serde(skip)]
    pub unprocessed: BTreeMap<String, String>,
    /// What EventBridge was sent: one event for each import and each update.
    #[serde(skip)]
    pub events: Vec<Value>,
}

impl SecurityHub {
    /// Imports a finding, as BatchImportFindings does: what the provider may
    /// not set (workflow, note, user-defined fields) survives, but a record
    /// that goes from ARCHIVED to ACTIVE falls back to NEW.
    pub fn import(&mut self, region: &str, mut finding: Value) -> Option<Key> {
        let text = |name: &str| finding.get(name).and_then(Value::as_str).map(str::to_owned);
        let key = (text("Id")?, text("ProductArn")?);
        let new_state = text("RecordState").unwrap_or_else(|| "ACTIVE".to_owned());
        let known = self.findings.entry(region.to_owned()).or_default();
        let object = finding.as_object_mut()?;
        object.entry("RecordState").or_insert(json!("ACTIVE"));
        object.insert("Workflow".to_owned(), json!({ "Status": "NEW" }));
        if let Some(before) = known.get(&key) {
            let reopened = before.get("RecordState") == Some(&json!("ARCHIVED"))
                && new_state == "ACTIVE"
                && before.pointer("/Workflow/Status") != Some(&json!("SUPPRESSED"));
            for name in ["Workflow", "Note", "UserDefinedFields"] {
                match before.get(name) {
                    Some(_) if name == "Workflow" && reopened => {}
                    Some(value) => {
                        object.insert(name.to_owned(), value.clone());
                    }
                    None => {}
                }
            }
        }
        known.insert(key.clone(), finding.clone());
        self.send_imported(region, &finding);
        Some(key)
    }

    /// A finding by its ASFF id, in any Region.
    pub fn finding(&self, id: &str) -> Option<&Value> {
        self.findings.values().flatten().find(|((key, _), _)| key == id).map(|(_, value)| value)
    }

    /// The Regions whose findings a caller in `region` sees: all linked ones in
    /// the home Region, its own elsewhere.
    pub fn visible_regions(&self, region: &str) -> Vec<String> {
        if self.home_region.as_deref() == Some(region) {
            self.findings.keys().cloned().collect()
        } else {
            vec![region.to_owned()]
        }
    }

    /// Whether an account sees a finding: its own, or a member's as administrator.
    pub fn sees(&self, account: &str, finding: &Value) -> bool {
        self.administrator.as_deref() == Some(account)
            || finding.get("AwsAccountId").and_then(Value::as_str) == Some(account)
    }

    /// Applies an update and sends the event that AWS sends for it.
    pub fn update(&mut self, region: &str, key: &Key, update: &Map<String, Value>, now: &str) {
        let Some(finding) =
            self.findings.get_mut(region).and_then(|findings| findings.get_mut(key))
        else {
            return;
        };
        let Some(object) = finding.as_object_mut() else { return };
        for (name, value) in update {
            match name.as_str() {
                "Note" => {
                    let mut note = value.clone();
                    if let Some(note) = note.as_object_mut() {
                        note.insert("UpdatedAt".to_owned(), json!(now));
                    }
                    object.insert(name.clone(), note);
                }
                "UserDefinedFields" | "Workflow" => {
                    object.insert(name.clone(), value.clone());
                }
                _ => {}
            }
        }
        let finding = finding.clone();
        self.send_imported(region, &finding);
    }

    fn send_imported(&mut self, region: &str, finding: &Value) {
        self.events.push(json!({
            "version": "0",
            "source": "aws.securityhub",
            "detail-type": "Security Hub Findings - Imported",
            "account": finding.get("AwsAccountId"),
            "region": region,
            "time": finding.get("UpdatedAt"),
            "resources": [finding.get("Id")],
            "detail": { "findings": [finding] },
        }));
    }
}
