//! AWS WAF's calls, as its API reference has them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Place, required, texts};
use crate::state::State;
use crate::wire::ServiceError;

/// What one account holds in one Region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Waf {
    /// IP sets by id.
    pub ip_sets: BTreeMap<String, IpSet>,
}

/// An IP set of the scope `REGIONAL`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IpSet {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// `IPV4` or `IPV6`.
    pub version: String,
    /// The blocks in it.
    pub addresses: BTreeSet<String>,
    /// Counts its changes; an update has to name the present one.
    #[serde(skip)]
    pub lock: u64,
}

/// Answers a call; `None` for one that is not modelled.
pub fn answer(state: &mut State, place: &Place, operation: &str, input: &Value) -> Option<Answer> {
    if !matches!(operation, "GetIPSet" | "UpdateIPSet") {
        return None;
    }
    let (account, region) = (&place.account, &place.region);
    let held = &mut state.regional(account, region).wafv2;
    Some(ip_set(held, input).and_then(|(id, set)| {
        if operation == "GetIPSet" {
            let name = &set.name;
            return Ok(json!({
                "IPSet": {
                    "Name": name, "Id": id, "Description": set.description,
                    "ARN": format!("arn:aws:wafv2:{region}:{account}:regional/ipset/{name}/{id}"),
                    "IPAddressVersion": set.version, "Addresses": set.addresses,
                },
                "LockToken": set.lock.to_string(),
            }));
        }
        if required(input, "LockToken")? != set.lock.to_string() {
            let message = "AWS WAF couldn't save your changes because someone changed the resource after you started to edit it. Reapply your changes.";
            return Err(ServiceError::new(400, "WAFOptimisticLockException", message));
        }
        // "Addresses replaces all"; a description that is left out is emptied.
        set.addresses = texts(input, "Addresses").into_iter().collect();
        let description = input.get("Description").and_then(Value::as_str);
        description.unwrap_or_default().clone_into(&mut set.description);
        set.lock += 1;
        Ok(json!({ "NextLockToken": set.lock.to_string() }))
    }))
}

fn ip_set<'a>(held: &'a mut Waf, input: &Value) -> Result<(String, &'a mut IpSet), ServiceError> {
    let (id, name) = (required(input, "Id")?, required(input, "Name")?);
    let scope = required(input, "Scope")?;
    let found = held.ip_sets.get_mut(id).filter(|set| set.name == name && scope == "REGIONAL");
    found.map(|set| (id.to_owned(), set)).ok_or_else(|| {
        let message = "AWS WAF couldn't perform the operation because your resource doesn't exist.";
        ServiceError::new(400, "WAFNonexistentItemException", message)
    })
}
