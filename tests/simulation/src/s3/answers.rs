//! S3's and S3 Control's calls, as their API references have them.

use std::collections::BTreeMap;
use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::configuration;
use super::model::{Bucket, PublicAccessBlock, S3};

/// One call, taken apart.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The operation's name, such as `GetPublicAccessBlock`.
    pub operation: &'a str,
    /// The bucket, for S3's calls; the account, for S3 Control's.
    pub subject: &'a str,
    /// `x-amz-expected-bucket-owner`.
    pub expected_owner: Option<&'a str>,
    /// The Region whose endpoint was called.
    pub region: &'a str,
    /// `x-amz-acl`.
    pub canned_acl: Option<&'a str>,
    /// `x-amz-transition-default-minimum-object-size`.
    pub transition_minimum: Option<&'a str>,
    /// The body.
    pub body: &'a str,
}

/// What S3 answers: a status and a body, or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// AWS's error code.
    pub code: &'static str,
    /// The message.
    pub message: String,
}

pub(super) type Answer = Result<(u16, String), Refusal>;

pub(super) fn refuse(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status, code, message: message.into() }
}

/// Answers an S3 call; `None` for one that is not modelled.
pub fn answer(s3: &mut S3, call: &Call<'_>) -> Option<Answer> {
    let known = matches!(
        call.operation,
        "GetPublicAccessBlock"
            | "PutPublicAccessBlock"
            | "DeletePublicAccessBlock"
            | "GetBucketTagging"
            | "PutBucketTagging"
            | "DeleteBucketTagging"
            | "HeadBucket"
            | "GetBucketLocation"
            | "ListObjectsV2"
    );
    if known {
        return Some(bucket(s3, call).and_then(|bucket| answer_bucket(bucket, call)));
    }
    let blocks = s3.buckets.get(call.subject).map(|bucket| s3.blocks(bucket)).unwrap_or_default();
    match bucket(s3, call) {
        Ok(bucket) => configuration::answer(bucket, blocks, call),
        Err(refusal) => Some(Err(refusal)),
    }
}

/// The role that the body of PutBucketReplication hands to S3.
pub fn replication_role(body: &str) -> Option<String> {
    configuration::role(body)
}

pub(super) fn bucket<'a>(s3: &'a mut S3, call: &Call<'_>) -> Result<&'a mut Bucket, Refusal> {
    let bucket = s3
        .buckets
        .get_mut(call.subject)
        .ok_or_else(|| refuse(404, "NoSuchBucket", "The specified bucket does not exist"))?;
    if call.expected_owner.is_some_and(|owner| owner != bucket.account) {
        return Err(refuse(403, "AccessDenied", "Access Denied"));
    }
    if call.region != bucket.region {
        return Err(refuse(
            301,
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint.",
        ));
    }
    Ok(bucket)
}

fn answer_bucket(bucket: &mut Bucket, call: &Call<'_>) -> Answer {
    match call.operation {
        "GetPublicAccessBlock" => match bucket.public_access_block {
            Some(block) => Ok((200, write_block(block))),
            None => Err(no_block()),
        },
        "PutPublicAccessBlock" => {
            bucket.public_access_block = Some(read_block(call.body)?);
            Ok((200, String::new()))
        }
        "DeletePublicAccessBlock" => {
            bucket.public_access_block = None;
            Ok((204, String::new()))
        }
        "GetBucketTagging" => match &bucket.tags {
            Some(tags) => Ok((200, write_tags(tags))),
            None => Err(refuse(404, "NoSuchTagSet", "The TagSet does not exist")),
        },
        "PutBucketTagging" => {
            bucket.tags = Some(read_tags(call.body)?);
            Ok((204, String::new()))
        }
        "DeleteBucketTagging" => {
            bucket.tags = None;
            Ok((204, String::new()))
        }
        "GetBucketLocation" => {
            Ok((200, format!("<LocationConstraint>{}</LocationConstraint>", bucket.region)))
        }
        "ListObjectsV2" => {
            Ok((200, "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>".to_owned()))
        }
        _ => Ok((200, String::new())),
    }
}

/// Answers an S3 Control call; `None` for one that is not modelled.
pub fn answer_control(s3: &mut S3, call: &Call<'_>) -> Option<Answer> {
    let account = call.subject.to_owned();
    Some(match call.operation {
        "GetPublicAccessBlock" => match s3.account_blocks.get(&account) {
            Some(block) => Ok((200, write_block(*block))),
            None => Err(no_block()),
        },
        "PutPublicAccessBlock" | "DeletePublicAccessBlock"
            if s3.managed_by_organization.contains(&account) =>
        {
            // "Account-level settings cannot be changed while an organization
            // policy manages them" (S3 user guide, organization-level block).
            Err(refuse(
                403,
                "AccessDenied",
                "This account's public access block is managed by an organization policy",
            ))
        }
        "PutPublicAccessBlock" => read_block(call.body).map(|block| {
            s3.account_blocks.insert(account, block);
            (201, String::new())
        }),
        "DeletePublicAccessBlock" => {
            s3.account_blocks.remove(&account);
            Ok((204, String::new()))
        }
        _ => return None,
    })
}

fn no_block() -> Refusal {
    refuse(
        404,
        "NoSuchPublicAccessBlockConfiguration",
        "The public access block configuration was not found",
    )
}

fn write_block(block: PublicAccessBlock) -> String {
    let mut out = String::from("<PublicAccessBlockConfiguration>");
    for (name, flag) in [
        ("BlockPublicAcls", block.block_public_acls),
        ("IgnorePublicAcls", block.ignore_public_acls),
        ("BlockPublicPolicy", block.block_public_policy),
        ("RestrictPublicBuckets", block.restrict_public_buckets),
    ] {
        // Writing to a String cannot fail.
        let _ = write!(out, "<{name}>{flag}</{name}>");
    }
    out.push_str("</PublicAccessBlockConfiguration>");
    out
}

fn write_tags(tags: &BTreeMap<String, String>) -> String {
    use quick_xml::escape::escape;
    let mut out = String::from("<Tagging><TagSet>");
    for (key, value) in tags {
        let (key, value) = (escape(key.as_str()), escape(value.as_str()));
        let _ = write!(out, "<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
    }
    out.push_str("</TagSet></Tagging>");
    out
}

/// Every leaf of an XML document with its name, in order.
fn leaves(body: &str) -> Result<Vec<(String, String)>, Refusal> {
    let malformed = || refuse(400, "MalformedXML", "The XML you provided was not well-formed");
    let mut reader = Reader::from_str(body);
    let (mut leaves, mut name, mut text) = (Vec::new(), String::new(), String::new());
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(start) => {
                start.local_name().as_ref().clone_into(&mut name);
                text.clear();
            }
            Event::Text(part) => text.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) => {
                let reference = reference.xml10_content();
                text.push_str(
                    quick_xml::escape::resolve_xml_entity(&reference).unwrap_or_default(),
                );
            }
            Event::End(end) if end.local_name().as_ref() == name => {
                leaves.push((std::mem::take(&mut name), std::mem::take(&mut text)));
            }
            Event::Eof => return Ok(leaves),
            _ => {}
        }
    }
}

fn read_block(body: &str) -> Result<PublicAccessBlock, Refusal> {
    let leaves = leaves(body)?;
    let flag = |name: &str| leaves.iter().any(|(key, value)| key == name && value == "true");
    Ok(PublicAccessBlock {
        block_public_acls: flag("BlockPublicAcls"),
        ignore_public_acls: flag("IgnorePublicAcls"),
        block_public_policy: flag("BlockPublicPolicy"),
        restrict_public_buckets: flag("RestrictPublicBuckets"),
    })
}

fn read_tags(body: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let mut tags = BTreeMap::new();
    let mut pending = None;
    for (name, value) in leaves(body)? {
        match (name.as_str(), pending.take()) {
            ("Key", _) => pending = Some(value),
            ("Value", Some(key)) => {
                tags.insert(key, value);
            }
            _ => {}
        }
    }
    Ok(tags)
}
