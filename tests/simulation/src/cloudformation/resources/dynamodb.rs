//! DynamoDB: tables. A table is made by the service's own CreateTable, before
//! the next call of its account.

use serde_json::{Map, Value, json};

use super::{Before, Here, Kind, Made, Physical, Properties};
use crate::state::State;

pub(super) fn kind(name: &str) -> Option<Kind> {
    (name == "AWS::DynamoDB::Table").then_some(Kind { put: table, delete: delete_table })
}

fn table(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&[
        "AttributeDefinitions",
        "BillingMode",
        // Nobody deletes a table here, and none is restored.
        "DeletionProtectionEnabled",
        "GlobalSecondaryIndexes",
        "KeySchema",
        "PointInTimeRecoverySpecification",
        "TableName",
        // DynamoDB drops what is over "within a few days": never here.
        "TimeToLiveSpecification",
    ])?;
    let name = here.name(state, properties.text("TableName"), before);
    let mut input = Map::new();
    for key in ["AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema"] {
        if let Some(value) = properties.get(key) {
            input.insert(key.to_owned(), value.clone());
        }
    }
    input.insert("TableName".to_owned(), Value::String(name.clone()));
    check(properties)?;
    if let Some(before) = before {
        let same = |key: &&str| before.properties.get(key) == properties.get(key);
        let keys = ["AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema"];
        if !keys.iter().all(same) {
            return Err("the simulation does not model changes of a table's keys".to_owned());
        }
    }
    let tables = &mut state.cloudformation.tables;
    if before.is_none_or(|before| before.physical.id != name) {
        tables.make((here.account, here.region), &name, Value::Object(input))?;
    }
    let arn = format!("arn:aws:dynamodb:{}:{}:table/{name}", here.region, here.account);
    Ok(Physical::new(name, [("Arn", arn)]))
}

/// "Number of attributes in KeySchema does not exactly match number of attributes
/// defined in AttributeDefinitions": each key has to be defined, and nothing else.
fn check(properties: &Properties) -> Result<(), String> {
    let named = |held: &Properties, list: &str| -> Result<Vec<String>, String> {
        held.objects(list)?.iter().map(|it| it.required("AttributeName")).collect()
    };
    let mut keys = named(properties, "KeySchema")?;
    for index in properties.objects("GlobalSecondaryIndexes")? {
        index.only(&["IndexName", "KeySchema", "Projection"])?;
        keys.extend(named(&index, "KeySchema")?);
    }
    let defined = named(properties, "AttributeDefinitions")?;
    keys.sort_unstable();
    keys.dedup();
    let mut sorted = defined.clone();
    sorted.sort_unstable();
    if keys != sorted {
        let rendered = json!({ "keys": keys, "AttributeDefinitions": sorted });
        return Err(format!("keys and attribute definitions are not the same: {rendered}"));
    }
    Ok(())
}

fn delete_table(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    state.cloudformation.tables.delete((here.account, here.region), &before.physical.id);
}
