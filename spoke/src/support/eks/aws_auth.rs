//! The ConfigMap `aws-auth` in `kube-system`: how clusters without access entries map
//! IAM principals to Kubernetes users (EKS user guide, "Grant IAM users access to
//! Kubernetes with a ConfigMap"). A mapping is removed from the list; undo restores the
//! whole text, including comments.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::contract::Undone;
use crate::support::eks::access_entry::{gives, principal_of};
use crate::support::eks::cluster::Kubernetes;
use firebreak_model::error::{ActionError, ErrorKind};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "aws-auth";

/// The lists of mappings, and the field of each that has the principal.
const LISTS: [(&str, &str); 2] = [("mapRoles", "rolearn"), ("mapUsers", "userarn")];

/// A list of mappings before and after one principal is taken out of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edit {
    /// `mapRoles` or `mapUsers`.
    pub(crate) list: String,
    /// The principal's ARN, as it is mapped.
    pub(crate) principal: String,
    /// The groups that the mappings give.
    pub(crate) groups: Vec<String>,
    before: String,
    after: String,
}

/// The principal to search for.
pub(crate) enum MappingChange<'a> {
    /// The principal behind a Kubernetes user name.
    Username(&'a str),
    /// This principal.
    Principal(&'a str),
}

impl MappingChange<'_> {
    fn is(&self, principal: &str, username: &str) -> bool {
        match self {
            Self::Username(wanted) => gives(username, wanted),
            // ARNs have no path here.
            Self::Principal(wanted) => principal_of(wanted) == principal_of(principal),
        }
    }
}

/// The edit that removes the principal; `None` if it is not mapped.
pub(crate) async fn find(
    kubernetes: &Kubernetes<'_>,
    wanted: &MappingChange<'_>,
) -> Result<Option<Edit>, ActionError> {
    let Some(map) = read(kubernetes).await? else { return Ok(None) };
    let mut edits = Vec::new();
    for (list, field) in LISTS {
        let Some(before) = text(&map, list) else { continue };
        let mappings = parse(list, before)?;
        let fitting = mappings
            .iter()
            .filter(|mapping| wanted.is(string(mapping, field), string(mapping, "username")));
        for mapping in fitting {
            let principal = string(mapping, field).to_owned();
            let groups = mapping.get("groups").and_then(Value::as_array);
            let groups = groups.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
            let (groups, list) = (groups.collect(), list.to_owned());
            let after = without(&mappings, field, &principal);
            edits.push(Edit { list, principal, groups, before: before.to_owned(), after });
        }
    }
    edits.dedup_by(|one, two| one.principal == two.principal && one.list == two.list);
    if let [one, two, ..] = edits.as_slice() {
        return Err(ActionError::new(
            ErrorKind::Refused,
            format!(
                "the Kubernetes user may be `{}` or `{}` by aws-auth: revoke the right one by hand",
                one.principal, two.principal
            ),
        ));
    }
    Ok(edits.pop())
}

/// Removes the principal from its list, as the list is now.
pub(crate) async fn take_out(kubernetes: &Kubernetes<'_>, edit: &Edit) -> Result<(), ActionError> {
    let Some(map) = read(kubernetes).await? else { return Ok(()) };
    let Some(present) = text(&map, &edit.list) else { return Ok(()) };
    if present == edit.before {
        return write(kubernetes, &map, edit, &edit.after).await;
    }
    let mappings = parse(&edit.list, present)?;
    if is_in(&mappings, edit) {
        let after = without(&mappings, field(&edit.list), &edit.principal);
        write(kubernetes, &map, edit, &after).await?;
    }
    Ok(())
}

/// Whether the principal is mapped now.
pub(crate) async fn is_mapped(
    kubernetes: &Kubernetes<'_>,
    edit: &Edit,
) -> Result<bool, ActionError> {
    let Some(map) = read(kubernetes).await? else { return Ok(false) };
    match text(&map, &edit.list) {
        Some(present) => Ok(is_in(&parse(&edit.list, present)?, edit)),
        None => Ok(false),
    }
}

/// Restores the list, unless it was changed since.
pub(crate) async fn restore(
    kubernetes: &Kubernetes<'_>,
    edit: &Edit,
    undone: &mut Undone,
) -> Result<(), ActionError> {
    let Edit { list, principal, before, after, .. } = edit;
    let map = read(kubernetes).await?;
    match map.as_ref().and_then(|map| Some((map, text(map, list)?))) {
        Some((_, present)) if present == before => {}
        Some((map, present)) if present == after => {
            write(kubernetes, map, edit, before).await?;
            undone.restored.push(format!("`{principal}` is mapped by {list} of aws-auth again"));
        }
        Some(_) => undone.drift.push(format!("{list} of aws-auth was changed")),
        None => undone.drift.push(format!("aws-auth has no {list} any more")),
    }
    Ok(())
}

fn api(kubernetes: &Kubernetes<'_>) -> Api<ConfigMap> {
    kubernetes.namespaced(NAMESPACE)
}

async fn read(kubernetes: &Kubernetes<'_>) -> Result<Option<ConfigMap>, ActionError> {
    kubernetes.get(&api(kubernetes), NAME).await
}

/// Writes a list, unless the ConfigMap was changed since it was read.
async fn write(
    kubernetes: &Kubernetes<'_>,
    map: &ConfigMap,
    edit: &Edit,
    text: &str,
) -> Result<(), ActionError> {
    let change = json!({
        "metadata": { "resourceVersion": map.resource_version() },
        "data": { &edit.list: text },
    });
    kubernetes.patch(&api(kubernetes), NAME, &change).await
}

fn text<'a>(map: &'a ConfigMap, list: &str) -> Option<&'a str> {
    map.data.as_ref()?.get(list).map(String::as_str)
}

fn parse(list: &str, text: &str) -> Result<Vec<Value>, ActionError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        ActionError::new(ErrorKind::Failed, format!("{list} of aws-auth cannot be read: {error}"))
    })
}

fn field(list: &str) -> &'static str {
    LISTS.iter().find(|(name, _)| *name == list).map_or("rolearn", |(_, field)| field)
}

fn string<'a>(mapping: &'a Value, field: &str) -> &'a str {
    mapping.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn is_in(mappings: &[Value], edit: &Edit) -> bool {
    mappings.iter().any(|mapping| string(mapping, field(&edit.list)) == edit.principal)
}

/// The list without a principal, as JSON, which is YAML as well.
fn without(mappings: &[Value], field: &str, principal: &str) -> String {
    let left = mappings.iter().filter(|mapping| string(mapping, field) != principal);
    Value::Array(left.cloned().collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_one_principal_keeps_the_others_whole() {
        let text = "# people\n- rolearn: arn:aws:iam::111111111111:role/nodes\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:nodes]\n- rolearn: arn:aws:iam::111111111111:role/admin\n  username: admin\n";
        let mappings = parse("mapRoles", text).unwrap();
        let left = without(&mappings, "rolearn", "arn:aws:iam::111111111111:role/admin");
        assert_eq!(
            parse("mapRoles", &left).unwrap(),
            [json!({
                "rolearn": "arn:aws:iam::111111111111:role/nodes",
                "username": "system:node:{{EC2PrivateDNSName}}",
                "groups": ["system:nodes"],
            })]
        );
        assert_eq!(parse("mapRoles", " \n").unwrap(), Vec::<Value>::new());
        assert_eq!(parse("mapRoles", "{").unwrap_err().kind, ErrorKind::Failed);
    }
}
