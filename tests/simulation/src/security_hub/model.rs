//! What Security Hub holds: findings as ASFF and as OCSF, per administrator and
//! Region.
//!
//! What AWS leaves open is modelled in the harsher way: user-defined fields of
//! an update replace all that were there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A finding's key: `Id` and `ProductArn`.
pub type Key = (String, String);

/// Security Hub, for the whole organization.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SecurityHub {
    /// The delegated administrator of every Region that `administrators` does
    /// not name: it sees and updates its members' findings.
    pub administrator: Option<String>,
    /// The delegated administrator by Region.
    pub administrators: BTreeMap<String, String>,
    /// Whether a designation leaves Security Hub off in the administrator's
    /// account, where the user guide says that it is turned on.
    #[serde(skip)]
    pub designation_leaves_off: bool,
    /// The accounts that have it on, by Region.
    pub hubs: BTreeMap<String, BTreeSet<String>>,
    /// What an administrator's members are given, by Region.
    pub configurations: BTreeMap<String, Configuration>,
    /// The administrator's members with their status, by Region.
    pub members: BTreeMap<String, BTreeMap<String, String>>,
    /// The home Region of the finding aggregator, where there is one.
    pub home_region: Option<String>,
    /// How the aggregator links Regions; none for `ALL_REGIONS`.
    pub linking: Option<String>,
    /// Findings by the Region in which they were raised.
    #[serde(skip)]
    pub findings: BTreeMap<String, BTreeMap<Key, Value>>,
    /// Findings as OCSF, by Region and `metadata.uid`.
    #[serde(skip)]
    pub ocsf: BTreeMap<String, BTreeMap<String, Value>>,
    /// How long after its import a new finding is known to nobody.
    #[serde(skip)]
    pub import_delay: SignedDuration,
    /// From when new findings are known, by id or `metadata.uid`.
    #[serde(skip)]
    pub known_from: BTreeMap<String, Timestamp>,
    /// Ids and `metadata.uid`s whose update fails with this code.
    #[serde(skip)]
    pub unprocessed: BTreeMap<String, String>,
    /// What EventBridge was sent: one event for each import and each update.
    #[serde(skip)]
    pub events: Vec<Value>,
}

/// What an administrator's members are given in a Region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// Whether new accounts are given Security Hub.
    pub auto_enable: bool,
    /// `DEFAULT` or `NONE`.
    pub standards: String,
    /// `LOCAL` or `CENTRAL`.
    pub kind: String,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { auto_enable: false, standards: "DEFAULT".to_owned(), kind: "LOCAL".to_owned() }
    }
}

impl SecurityHub {
    /// Turns Security Hub on in an account and Region.
    pub fn enable(&mut self, account: &str, region: &str) {
        self.hubs.entry(region.to_owned()).or_default().insert(account.to_owned());
    }

    /// Whether Security Hub is on in an account and Region.
    pub fn is_on(&self, account: &str, region: &str) -> bool {
        self.hubs.get(region).is_some_and(|accounts| accounts.contains(account))
    }

    /// The delegated administrator of a Region.
    pub fn administrator_in(&self, region: &str) -> Option<&str> {
        self.administrators.get(region).or(self.administrator.as_ref()).map(String::as_str)
    }

    /// Imports a finding, as BatchImportFindings does: what the provider may
    /// not set (workflow, note, user-defined fields) survives, but a record
    /// that goes from ARCHIVED to ACTIVE falls back to NEW.
    pub fn import(&mut self, region: &str, finding: Value) -> Option<Key> {
        self.import_at(region, finding, None)
    }

    /// The same at a moment, which the finding then tells as `ProcessedAt`, and
    /// from which the import takes its time.
    pub fn import_at(
        &mut self,
        region: &str,
        mut finding: Value,
        now: Option<Timestamp>,
    ) -> Option<Key> {
        let text = |name: &str| finding.get(name).and_then(Value::as_str).map(str::to_owned);
        let key = (text("Id")?, text("ProductArn")?);
        if let Some(now) = now {
            self.known_from.entry(key.0.clone()).or_insert(now + self.import_delay);
        }
        let new_state = text("RecordState").unwrap_or_else(|| "ACTIVE".to_owned());
        let known = self.findings.entry(region.to_owned()).or_default();
        let object = finding.as_object_mut()?;
        object.entry("RecordState").or_insert(json!("ACTIVE"));
        object.insert("Workflow".to_owned(), json!({ "Status": "NEW" }));
        if let Some(now) = now {
            object.insert("ProcessedAt".to_owned(), json!(now.to_string()));
        }
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

    /// Puts a finding into the new Security Hub, as its pipeline does: status
    /// and comment of a customer survive.
    pub fn import_ocsf(&mut self, region: &str, mut finding: Value, now: Timestamp) -> Option<()> {
        let uid = finding.pointer("/metadata/uid")?.as_str()?.to_owned();
        self.known_from.entry(uid.clone()).or_insert(now + self.import_delay);
        let known = self.ocsf.entry(region.to_owned()).or_default();
        if let (Some(before), Some(object)) = (known.get(&uid), finding.as_object_mut()) {
            for name in ["status_id", "status", "comment"] {
                if let Some(value) = before.get(name) {
                    object.insert(name.to_owned(), value.clone());
                }
            }
        }
        known.insert(uid, finding.clone());
        self.send_imported_v2(region, &finding);
        Some(())
    }

    /// Whether a finding's import is through.
    pub fn is_known(&self, id: &str, now: Timestamp) -> bool {
        self.known_from.get(id).is_none_or(|from| *from <= now)
    }

    /// A finding by its `metadata.uid`, in any Region.
    pub fn ocsf_finding(&self, uid: &str) -> Option<&Value> {
        self.ocsf.values().find_map(|findings| findings.get(uid))
    }

    /// A finding by its ASFF id, in any Region.
    pub fn finding(&self, id: &str) -> Option<&Value> {
        self.findings.values().flatten().find(|((key, _), _)| key == id).map(|(_, value)| value)
    }

    /// The Regions whose findings a caller in `region` sees: all linked ones in
    /// the home Region, its own elsewhere.
    pub fn visible_regions(&self, region: &str) -> Vec<String> {
        if self.home_region.as_deref() == Some(region) {
            let mut regions: Vec<String> =
                self.findings.keys().chain(self.ocsf.keys()).cloned().collect();
            regions.sort_unstable();
            regions.dedup();
            regions
        } else {
            vec![region.to_owned()]
        }
    }

    /// Whether an account sees a finding: its own, or a member's as administrator.
    pub fn sees(&self, account: &str, finding: &Value) -> bool {
        self.administrator.as_deref() == Some(account)
            || self.administrators.values().any(|administrator| administrator == account)
            || finding.get("AwsAccountId").and_then(Value::as_str) == Some(account)
            || finding.pointer("/cloud/account/uid").and_then(Value::as_str) == Some(account)
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

    /// Applies an update of an OCSF finding and sends the event that AWS sends.
    pub fn update_ocsf(&mut self, region: &str, uid: &str, update: &Map<String, Value>) {
        let Some(finding) = self.ocsf.get_mut(region).and_then(|findings| findings.get_mut(uid))
        else {
            return;
        };
        let Some(object) = finding.as_object_mut() else { return };
        object.extend(update.clone());
        let finding = finding.clone();
        self.send_imported_v2(region, &finding);
    }

    fn send_imported_v2(&mut self, region: &str, finding: &Value) {
        self.events.push(json!({
            "version": "0",
            "source": "aws.securityhub",
            "detail-type": "Findings Imported V2",
            "account": finding.pointer("/cloud/account/uid"),
            "region": region,
            "resources": [finding.pointer("/metadata/uid")],
            "detail": { "findings": [finding] },
        }));
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
