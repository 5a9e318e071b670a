//! What the loader reads, makes and refuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::stack::{Place, delete, deploy};
use super::template::Template;
use crate::state::State;

const HERE: Place<'static> = Place {
    account: "111122223333",
    region: "eu-central-1",
    now: Timestamp::constant(1_767_225_600, 0),
};

fn parameters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn refused(text: &str) -> String {
    let template = match Template::read("a.yaml", text) {
        Ok(template) => Arc::new(template),
        Err(refusal) => return refusal.to_string(),
    };
    let mut state = State::default();
    let refused = deploy(&mut state, HERE, "s", &template, &BTreeMap::new());
    assert!(state.iam(HERE.account).roles.is_empty(), "a stack that fails leaves nothing");
    assert!(state.cloudformation.stacks.is_empty());
    refused.unwrap_err().to_string()
}

const ROLE: &str = r#"
Parameters:
  Suffix: { Type: String, Default: "", AllowedPattern: "^[a-z]{0,8}$" }
  Bounded: { Type: String, Default: "false", AllowedValues: ["true", "false"] }
Conditions:
  HasSuffix: { Fn::Not: [{ Fn::Equals: [{ Ref: Suffix }, ""] }] }
Mappings:
  Names: { short: { role: reader } }
Resources:
  Profile:
    Type: AWS::IAM::InstanceProfile
    Condition: HasSuffix
    Properties:
      InstanceProfileName: { Fn::Sub: "${Role}-profile" }
      Roles: [{ Ref: Role }]
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName:
        Fn::Join: ["-", [{ Fn::FindInMap: [Names, short, role] }, { Fn::If: [HasSuffix, { Ref: Suffix }, none] }]]
      PermissionsBoundary: { Ref: AWS::NoValue }
      AssumeRolePolicyDocument:
        Statement: [{ Effect: Allow, Principal: { Service: ec2.amazonaws.com }, Action: "sts:AssumeRole" }]
      Policies:
        - PolicyName: read
          PolicyDocument:
            Statement:
              - Effect: Allow
                Action: s3:GetObject
                Resource: { Fn::Sub: ["arn:${AWS::Partition}:s3:::${Name}/${!aws:PrincipalAccount}/*", { Name: logs }] }
              - Fn::If: [HasSuffix, { Ref: AWS::NoValue }, { Effect: Allow, Action: s3:ListBucket, Resource: "*" }]
Outputs:
  Arn: { Value: { Fn::GetAtt: [Role, Arn] } }
  Profile: { Condition: HasSuffix, Value: { Fn::GetAtt: Profile.Arn } }
"#;

#[test]
fn a_template_is_evaluated_and_made_in_the_order_of_its_references() {
    let template = Arc::new(Template::read("role.yaml", ROLE).unwrap());
    assert_eq!(template.order, ["Role", "Profile"]);
    assert!(template.names_iam());
    let mut state = State::default();
    deploy(&mut state, HERE, "s", &template, &parameters(&[("Suffix", "one")])).unwrap();
    let role = state.iam(HERE.account).roles["reader-one"].clone();
    let statements = &role.identity.inline["read"]["Statement"];
    assert_eq!(
        *statements,
        json!([{
            "Effect": "Allow", "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::logs/${aws:PrincipalAccount}/*",
        }]),
    );
    let profile = &state.iam(HERE.account).profiles["reader-one-profile"];
    assert_eq!(profile.role.as_deref(), Some("reader-one"));
    let stack = state.cloudformation.stacks.values().next().unwrap();
    assert_eq!(stack.outputs["Arn"], "arn:aws:iam::111122223333:role/reader-one");
    assert_eq!(
        stack.outputs["Profile"],
        "arn:aws:iam::111122223333:instance-profile/reader-one-profile"
    );
}

#[test]
fn an_update_replaces_what_changed_its_name_and_deletes_what_is_gone() {
    let template = Arc::new(Template::read("role.yaml", ROLE).unwrap());
    let mut state = State::default();
    deploy(&mut state, HERE, "s", &template, &parameters(&[("Suffix", "one")])).unwrap();
    let id = state.iam(HERE.account).roles["reader-one"].identity.id.clone();
    // Nothing changes: the role is the same one, with what somebody else put there.
    let inline = &mut state.iam(HERE.account).roles.get_mut("reader-one").unwrap().identity.inline;
    inline.insert("another's".to_owned(), json!({}));
    deploy(&mut state, HERE, "s", &template, &parameters(&[("Suffix", "one")])).unwrap();
    let role = &state.iam(HERE.account).roles["reader-one"];
    assert!(role.identity.id == id && role.identity.inline.contains_key("another's"));

    deploy(&mut state, HERE, "s", &template, &BTreeMap::new()).unwrap();
    let iam = state.iam(HERE.account);
    assert_eq!(iam.roles.keys().collect::<Vec<_>>(), ["reader-none"]);
    assert!(iam.profiles.is_empty());
    assert!(delete(&mut state, HERE, "s") && !delete(&mut state, HERE, "s"));
    assert!(state.iam(HERE.account).roles.is_empty());
}

#[test]
fn an_update_that_fails_leaves_the_stack_as_it_was() {
    let template = Arc::new(Template::read("role.yaml", ROLE).unwrap());
    let mut state = State::default();
    deploy(&mut state, HERE, "s", &template, &parameters(&[("Suffix", "one")])).unwrap();
    let before = state.iam(HERE.account).clone();
    // Somebody else has a role of the name that the update wants.
    let other = before.roles["reader-one"].clone();
    state.iam(HERE.account).roles.insert("reader-none".to_owned(), other);
    let refused = deploy(&mut state, HERE, "s", &template, &BTreeMap::new()).unwrap_err();
    assert!(refused.to_string().contains("already exists"), "{refused}");
    state.iam(HERE.account).roles.remove("reader-none");
    assert_eq!(*state.iam(HERE.account), before);
    let stack = state.cloudformation.stacks.values().next().unwrap();
    assert_eq!(stack.parameters, parameters(&[("Suffix", "one")]));
}

#[test]
fn a_retained_resource_outlives_its_stack() {
    let text = ROLE.replace("  Role:\n", "  Role:\n    DeletionPolicy: Retain\n");
    let template = Arc::new(Template::read("role.yaml", &text).unwrap());
    let mut state = State::default();
    deploy(&mut state, HERE, "s", &template, &BTreeMap::new()).unwrap();
    assert!(delete(&mut state, HERE, "s"));
    assert!(state.iam(HERE.account).roles.contains_key("reader-none"));
}

#[test]
fn parameters_are_held_to_what_they_declare() {
    let template = Arc::new(Template::read("role.yaml", ROLE).unwrap());
    for (given, why) in [
        (("Suffix", "NO"), "Parameter 'Suffix' must match pattern ^[a-z]{0,8}$"),
        (("Bounded", "perhaps"), "Parameter 'Bounded' must be one of true, false"),
        (("Other", "1"), "[Other] do not exist in the template"),
    ] {
        let mut state = State::default();
        let refused = deploy(&mut state, HERE, "s", &template, &parameters(&[given]));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.starts_with("role.yaml: Parameters") && refused.contains(why), "{refused}");
    }
}

#[test]
fn what_is_not_known_is_refused_where_it_stands() {
    let role = |rest: &str| format!("Resources: {{ R: {{ Type: AWS::IAM::Role, {rest} }} }}");
    for (text, why) in [
        ("Resources: { Q: { Type: AWS::FSx::Volume } }".to_owned(), "Resources/Q: the simulation does not model the type `AWS::FSx::Volume`"),
        (role("Properties: { Colour: red }"), "Resources/R (AWS::IAM::Role): the simulation does not model the property `Colour`"),
        (role("Properties: { RoleName: { Fn::Base64: x } }"), "Resources/R/Properties/RoleName: the simulation does not model the function `Fn::Base64`"),
        (role("Properties: { RoleName: { Ref: Nobody } }"), "Resources/R: refers to `Nobody`, which is nowhere"),
        (role("CreationPolicy: {}"), "Resources/R/CreationPolicy: the simulation does not model it"),
        (format!("Transform: AWS::Serverless-2016-10-31\n{}", role("")), "the file/Transform: the simulation does not model it"),
        ("Resources:\n  R:\n    Type: AWS::IAM::Role\n    Properties: { RoleName: !Sub x }".to_owned(), "line 4: the simulation reads no tags: write the long form of `!Sub`"),
        ("Resources: { A: { Type: AWS::IAM::Role, DependsOn: B }, B: { Type: AWS::IAM::Role, DependsOn: A } }".to_owned(), "they need each other: A, B"),
    ] {
        let rendered = refused(&text);
        assert!(rendered.starts_with("a.yaml: ") && rendered.contains(why), "{rendered}");
    }
}
