//! A GD_ACTIONS map of CloudBots as a policy document.

use firebreak_policy::{Mode, PolicyImport, import_gd_actions, read_files};
use firebreak_spoke::registry;
use serde_json::{Value, json};

fn import(map: &Value) -> PolicyImport {
    import_gd_actions(&map.to_string(), "ou-ab12-prod1111", Mode::Auto, registry::catalog())
}

#[test]
fn a_chain_of_bots_becomes_a_rule_and_types_with_the_same_chain_share_it() {
    let imported = import(&json!({
        "Backdoor:EC2/C&CActivity.B!DNS": "AUTO: ec2_quarantine_instance | AUTO: tag_ec2_resource owner $ACCOUNT_ID",
        "Trojan:EC2/DropPoint": "AUTO: ec2_quarantine_instance|AUTO: tag_ec2_resource owner $ACCOUNT_ID",
        "UnauthorizedAccess:IAMUser/MaliciousIPCaller": "AUTO: iam_user_deactivate_unused_access_key",
    }));
    assert_eq!(imported.errors, Vec::<String>::new());
    let text = imported.document.unwrap();
    assert_eq!(
        text,
        "\
# Imported from a GD_ACTIONS map.
version: 1
attach: \"ou-ab12-prod1111\"
rules:
  - name: deactivate-access-key
    when:
      type:
        - \"UnauthorizedAccess:IAMUser/MaliciousIPCaller\"
    mode: auto
    then:
      - deactivate-access-key
  - name: isolate-instance-and-tag-resource
    when:
      type:
        - \"Backdoor:EC2/C&CActivity.B!DNS\"
        - \"Trojan:EC2/DropPoint\"
    mode: auto
    then:
      - isolate-instance
      - tag-resource: {\"tags\":{\"owner\":\"${account.id}\"}}
"
    );
    let read = read_files(&[("import.yaml".to_owned(), text)], registry::catalog());
    assert!(read.is_ok(), "{read:?}");
}

#[test]
fn what_has_no_counterpart_is_an_error_and_a_comment_in_the_document() {
    let imported = import(&json!({
        "a:EC2/x": "AUTO: ec2_quarantine_instance | AUTO: sg_delete",
        "a:EC2/y": "AUTO:ec2_quarantine_instance",
        "a:EC2/z": "ec2_quarantine_instance",
        "a:EC2/v": "AUTO: ec2_quarantine_instance now",
        "a:EC2/u": "AUTO: ec2_quarantine_instance | AUTO: ec2_quarantine_instance",
        "a:EC2/t": 1,
        "a:IAMUser/\nceiling: off": "AUTO: iam_user_deactivate_unused_access_key 90",
    }));
    let errors = imported.errors.join("\n");
    for part in [
        "a:EC2/x: `AUTO: sg_delete`: `sg_delete` has no counterpart",
        "a:EC2/y: `AUTO:ec2_quarantine_instance`: CloudBots wants a space",
        "a:EC2/z: `ec2_quarantine_instance`: CloudBots reads only",
        "a:EC2/v: `AUTO: ec2_quarantine_instance now`: its parameters have no counterpart: now",
        "`isolate-instance` is in this chain already",
        "a:EC2/t: a text is expected, not 1",
    ] {
        assert!(errors.contains(part), "{part}\n{errors}");
    }
    assert_eq!(imported.errors.len(), 7);
    let document = imported.document.unwrap();
    assert_eq!(document.matches("\n# not imported: ").count(), 7, "{document}");
    assert!(!document.contains("\nceiling"), "{document}");
}

#[test]
fn the_map_may_stand_in_an_environment_and_must_be_a_map() {
    let map = json!({ "a:EC2/x": "AUTO: ec2_quarantine_instance" });
    let inside = import(&json!({ "GD_ACTIONS": map.to_string() }));
    assert_eq!(inside, import(&map));
    assert_eq!(import(&json!({ "GD_ACTIONS": map })), inside);
    for text in [
        "[]",
        "{",
        "{}",
        r#"{"a": "AUTO: x", "a": "AUTO: y"}"#,
        "{\"GD_ACTIONS\": \"[]\"}",
        "{\"GD_ACTIONS\": 1}",
    ] {
        let imported = import_gd_actions(text, "r-ab12", Mode::Auto, registry::catalog());
        assert_eq!((imported.document, imported.errors.len()), (None, 1), "{text}");
    }
    let nowhere = import_gd_actions(&map.to_string(), "prod", Mode::Auto, registry::catalog());
    assert_eq!(nowhere.errors, ["`prod` is not a root id, OU id or account id"]);
}
