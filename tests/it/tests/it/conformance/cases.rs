//! The table: a case, AWS's answer, and moto's where it is another.

use std::pin::Pin;

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use aws_sdk_ec2::types::{Filter, IamInstanceProfileSpecification, IpPermission, IpRange, Tag};
use aws_sdk_iam::types::StatusType;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use firebreak_aws::guardduty::GuardDuty;
use firebreak_aws::settings::Settings;
use firebreak_aws::store::{SharedTokens, Store};
use firebreak_client::rate_limit::Limit;
use firebreak_client::rate_limit::RateLimits;
use firebreak_client::token_source::{Grant, TokenSource, Wanted};

use crate::conformance::backend::{Backend, REGION};

pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Backend) -> Running<'a>,
    /// What AWS answers.
    pub(crate) aws: &'static str,
    /// What moto answers instead, and which AWS document is against it.
    pub(crate) moto: Option<(&'static str, &'static str)>,
}

/// `ok`, or the error's code.
pub(crate) fn code<T, E, R>(result: Result<T, SdkError<E, R>>) -> String
where
    E: ProvideErrorMetadata + std::fmt::Debug,
    R: std::fmt::Debug,
{
    match result {
        Ok(_) => "ok".to_owned(),
        Err(SdkError::ServiceError(error)) => error.err().code().unwrap_or("no code").to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

fn https() -> IpPermission {
    let range = IpRange::builder().cidr_ip("203.0.113.0/24").build();
    let rule = IpPermission::builder().ip_protocol("tcp").from_port(443).to_port(443);
    rule.ip_ranges(range).build()
}

macro_rules! case {
    ($name:literal, $aws:literal, $moto:expr, |$backend:ident| $body:block) => {
        Case { name: $name, run: |$backend| Box::pin(async move { $body }), aws: $aws, moto: $moto }
    };
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) const CASES: &[Case] = &[
    case!("ec2: an interface's groups are replaced, not appended", "1", None, |backend| {
        let vpc = backend.vpc().await;
        let (one, other) = (backend.group(&vpc, "one").await, backend.group(&vpc, "other").await);
        let (_, interface) = backend.instance(&vpc, &one).await;
        let ec2 = backend.ec2();
        let set = |groups: Vec<String>| {
            ec2.modify_network_interface_attribute()
                .network_interface_id(&interface)
                .set_groups(Some(groups))
                .send()
        };
        set(vec![one, other.clone()]).await.unwrap();
        set(vec![other]).await.unwrap();
        let call = ec2.describe_network_interfaces().network_interface_ids(&interface);
        call.send().await.unwrap().network_interfaces()[0].groups().len().to_string()
    }),
    case!("ec2: a new group allows all egress", "-1 0.0.0.0/0", None, |backend| {
        let group = backend.group(&backend.vpc().await, "fresh").await;
        let call = backend.ec2().describe_security_groups().group_ids(group);
        let answer = call.send().await.unwrap();
        let rule = &answer.security_groups()[0].ip_permissions_egress()[0];
        let block = rule.ip_ranges()[0].cidr_ip().unwrap();
        format!("{} {block}", rule.ip_protocol().unwrap())
    }),
    case!("ec2: a second group of a name", "InvalidGroup.Duplicate", None, |backend| {
        let vpc = backend.vpc().await;
        backend.group(&vpc, "twice").await;
        let call = backend.ec2().create_security_group().group_name("twice").description("x");
        code(call.vpc_id(&vpc).send().await)
    }),
    case!(
        "ec2: deleting a group in use",
        "DependencyViolation",
        Some((
            "ok",
            "moto deletes it under the interface; AWS refuses (EC2 API reference, DeleteSecurityGroup)"
        )),
        |backend| {
            let vpc = backend.vpc().await;
            let group = backend.group(&vpc, "used").await;
            backend.instance(&vpc, &group).await;
            code(backend.ec2().delete_security_group().group_id(group).send().await)
        }
    ),
    case!("ec2: allowing a rule twice", "InvalidPermission.Duplicate", None, |backend| {
        let group = backend.group(&backend.vpc().await, "rules").await;
        let ec2 = backend.ec2();
        let allow = || {
            let call = ec2.authorize_security_group_ingress().group_id(&group);
            call.ip_permissions(https()).send()
        };
        allow().await.unwrap();
        code(allow().await)
    }),
    case!(
        "ec2: revoking a rule that is not there",
        "InvalidPermission.NotFound",
        None,
        |backend| {
            let group = backend.group(&backend.vpc().await, "no-rules").await;
            let call = backend.ec2().revoke_security_group_ingress().group_id(group);
            code(call.ip_permissions(https()).send().await)
        }
    ),
    case!("ec2: an instance that does not exist", "InvalidInstanceID.NotFound", None, |backend| {
        let call = backend.ec2().describe_instances().instance_ids("i-0f1b00000000000ff");
        code(call.send().await)
    }),
    case!("ec2: interfaces are found by their instance", "1", None, |backend| {
        let vpc = backend.vpc().await;
        let group = backend.group(&vpc, "found").await;
        let (instance, _) = backend.instance(&vpc, &group).await;
        let filter = Filter::builder().name("attachment.instance-id").values(instance).build();
        let call = backend.ec2().describe_network_interfaces().filters(filter);
        call.send().await.unwrap().network_interfaces().len().to_string()
    }),
    case!("ec2: a tag is deleted only with its own value", "kept", None, |backend| {
        let vpc = backend.vpc().await;
        let tag = |value: &str| Tag::builder().key("env").value(value).build();
        let ec2 = backend.ec2();
        ec2.create_tags().resources(&vpc).tags(tag("prod")).send().await.unwrap();
        ec2.delete_tags().resources(&vpc).tags(tag("other")).send().await.unwrap();
        let filter = Filter::builder().name("resource-id").values(&vpc).build();
        let left = ec2.describe_tags().filters(filter).send().await.unwrap().tags().len();
        if left == 1 { "kept".to_owned() } else { format!("{left} left") }
    }),
    case!("ec2: a second profile for an instance", "IncorrectState", None, |backend| {
        backend.profile("web").await;
        let vpc = backend.vpc().await;
        let group = backend.group(&vpc, "profile").await;
        let (instance, _) = backend.instance(&vpc, &group).await;
        let ec2 = backend.ec2();
        let associate = || {
            let profile = IamInstanceProfileSpecification::builder().name("web").build();
            let call = ec2.associate_iam_instance_profile().instance_id(&instance);
            call.iam_instance_profile(profile).send()
        };
        associate().await.unwrap();
        code(associate().await)
    }),
    case!("iam: a key is turned off by its user's name", "Inactive", None, |backend| {
        let key = backend.user("worker").await;
        let iam = backend.iam();
        let call = iam.update_access_key().user_name("worker").access_key_id(key);
        call.status(StatusType::Inactive).send().await.unwrap();
        let keys = iam.list_access_keys().user_name("worker").send().await.unwrap();
        keys.access_key_metadata()[0].status().unwrap().as_str().to_owned()
    }),
    case!("iam: a key that the user does not have", "NoSuchEntity", None, |backend| {
        backend.user("other").await;
        let call = backend.iam().update_access_key().user_name("other");
        let call = call.access_key_id("AKIAFIREBREAK0000000").status(StatusType::Inactive);
        code(call.send().await)
    }),
    case!("iam: an inline policy comes back as it went in", "Deny", None, |backend| {
        backend.role("inline").await;
        let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#;
        let iam = backend.iam();
        let put = iam.put_role_policy().role_name("inline").policy_name("p");
        put.policy_document(document).send().await.unwrap();
        let got = iam.get_role_policy().role_name("inline").policy_name("p").send().await.unwrap();
        // URL-encoded, as the IAM API reference says of GetRolePolicy.
        assert!(!got.policy_document().contains('"'), "{}", got.policy_document());
        let found = got.policy_document().contains("Deny");
        iam.delete_role_policy().role_name("inline").policy_name("p").send().await.unwrap();
        if found { "Deny".to_owned() } else { got.policy_document().to_owned() }
    }),
    case!("iam: an inline policy that is not there", "NoSuchEntity", None, |backend| {
        backend.role("no-inline").await;
        let call = backend.iam().get_role_policy().role_name("no-inline").policy_name("p");
        code(call.send().await)
    }),
    case!("iam: a role that does not exist", "NoSuchEntity", None, |backend| {
        code(backend.iam().get_role().role_name("nobody").send().await)
    }),
    case!("s3: no public access block", "NoSuchPublicAccessBlockConfiguration", None, |backend| {
        backend.bucket("conformance-block").await;
        let s3 = backend.s3();
        s3.delete_public_access_block().bucket("conformance-block").send().await.unwrap();
        code(s3.get_public_access_block().bucket("conformance-block").send().await)
    }),
    case!("s3: a public access block keeps its flags", "true false", None, |backend| {
        backend.bucket("conformance-flags").await;
        let flags = aws_sdk_s3::types::PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .restrict_public_buckets(false)
            .build();
        let s3 = backend.s3();
        let put = s3.put_public_access_block().bucket("conformance-flags");
        put.public_access_block_configuration(flags).send().await.unwrap();
        let got = s3.get_public_access_block().bucket("conformance-flags").send().await.unwrap();
        let got = got.public_access_block_configuration().unwrap();
        let flag = |flag: Option<bool>| flag.unwrap_or(false);
        format!("{} {}", flag(got.block_public_acls), flag(got.restrict_public_buckets))
    }),
    case!("s3: a bucket without tags", "NoSuchTagSet", None, |backend| {
        backend.bucket("conformance-tags").await;
        code(backend.s3().get_bucket_tagging().bucket("conformance-tags").send().await)
    }),
    case!("s3: a bucket that does not exist", "NoSuchBucket", None, |backend| {
        code(backend.s3().get_bucket_tagging().bucket("conformance-none").send().await)
    }),
    case!("dynamodb: a condition that fails", "ConditionalCheckFailedException", None, |backend| {
        backend.table("conditions").await;
        let dynamodb = backend.dynamodb();
        let put = || {
            let call = dynamodb.put_item().table_name("conditions").item("pk", text("a"));
            call.condition_expression("attribute_not_exists(pk)").send()
        };
        put().await.unwrap();
        code(put().await)
    }),
    case!(
        "dynamodb: a cancelled transaction says which condition failed",
        "None ConditionalCheckFailed",
        None,
        |backend| {
            backend.table("cancelled").await;
            let put = |key: &str, condition: Option<&str>| {
                let put = Put::builder().table_name("cancelled").item("pk", text(key));
                let put = put.set_condition_expression(condition.map(str::to_owned));
                TransactWriteItem::builder().put(put.build().unwrap()).build()
            };
            let call = backend.dynamodb().transact_write_items();
            let call = call.transact_items(put("a", None));
            let answer = call.transact_items(put("b", Some("attribute_exists(pk)"))).send().await;
            match answer.unwrap_err().into_service_error() {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    let reasons = cancelled.cancellation_reasons();
                    let codes: Vec<&str> =
                        reasons.iter().map(|it| it.code().unwrap_or("None")).collect();
                    codes.join(" ")
                }
                other => format!("{other:?}"),
            }
        }
    ),
    case!(
        "dynamodb: a transaction with the same token is made once",
        "1",
        Some((
            "2",
            "moto ignores ClientRequestToken; AWS makes the calls idempotent for ten minutes (DynamoDB API reference, TransactWriteItems)"
        )),
        |backend| {
            backend.table("tokens").await;
            let dynamodb = backend.dynamodb();
            for _ in 0..2 {
                let update = Update::builder()
                    .table_name("tokens")
                    .key("pk", text("a"))
                    .update_expression("ADD made :one")
                    .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
                    .build()
                    .unwrap();
                let item = TransactWriteItem::builder().update(update).build();
                let call = dynamodb.transact_write_items().transact_items(item);
                call.client_request_token("the-same").send().await.unwrap();
            }
            let call = dynamodb.get_item().table_name("tokens").key("pk", text("a"));
            let item = call.send().await.unwrap().item.unwrap();
            item["made"].as_n().unwrap().clone()
        }
    ),
    case!("dynamodb: begins_with over a sort key, the last first", "v#2 v#1", None, |backend| {
        backend.table_with_keys("versions", &["pk", "sk"]).await;
        let dynamodb = backend.dynamodb();
        for sk in ["current", "v#1", "v#2", "w#3"] {
            let put = dynamodb.put_item().table_name("versions").item("pk", text("a"));
            put.item("sk", text(sk)).send().await.unwrap();
        }
        let query = dynamodb.query().table_name("versions").scan_index_forward(false);
        let query = query.key_condition_expression("pk = :pk AND begins_with(sk, :sk)");
        let query = query.expression_attribute_values(":pk", text("a"));
        let answer = query.expression_attribute_values(":sk", text("v#")).send().await.unwrap();
        let found: Vec<&str> =
            answer.items().iter().map(|item| item["sk"].as_s().unwrap().as_str()).collect();
        found.join(" ")
    }),
    case!("dynamodb: two processes take tokens of one bucket", "0 0 5", None, |backend| {
        backend.table_with_keys("shared-tokens", &["pk", "sk"]).await;
        let settings =
            Settings { table: "shared-tokens".to_owned(), ..Settings::new("conformance") };
        let process =
            || SharedTokens::new(backend.config(), Store::new(backend.config(), &settings));
        let limit = Limit { burst: 2, interval: Duration::from_secs(5), kept: Duration::ZERO };
        let bucket = "Ec2Write-Contain-eu-central-1".to_owned();
        let wanted = [Wanted { bucket, limit, count: 1, only_if_full: false }];
        let (one, other) = (process(), process());
        let mut waits = Vec::new();
        // The second has not seen what the first took.
        for process in [&one, &other, &one] {
            let grants = process.take("111111111111", &wanted).await.unwrap();
            let Grant::Tokens(of_token) = &grants[0] else { return format!("{grants:?}") };
            waits.push(of_token[0].as_secs_f64().round().to_string());
        }
        waits.join(" ")
    }),
    case!("guardduty: an account without a detector lists none", "none", None, |backend| {
        let guardduty = GuardDuty::new(backend.config(), &RateLimits::local(20));
        let error = guardduty.finding(&REGION.parse().unwrap(), "f1").await.unwrap_err();
        let none = format!("GuardDuty has no detector in {REGION}");
        if error.to_string().contains(&none) { "none".to_owned() } else { error.to_string() }
    }),
    case!("sts: the caller's account", "123456789012", None, |backend| {
        let answer = backend.sts().get_caller_identity().send().await.unwrap();
        answer.account().unwrap().to_owned()
    }),
    case!(
        "sts: a role that does not trust the caller",
        "AccessDenied",
        Some((
            "ok",
            "moto checks no trust policy; AWS evaluates it (IAM user guide, \"Policy evaluation logic\")"
        )),
        |backend| {
            backend.role("distrustful").await;
            let call = backend.sts().assume_role().role_session_name("conformance");
            code(call.role_arn("arn:aws:iam::123456789012:role/distrustful").send().await)
        }
    ),
];
