//! S3's objects, as far as evidence needs them: whole bodies, Object Lock.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use super::answers::{Call, Refusal, bucket, refuse};
use super::model::S3;
use crate::wire::{self, HttpRequest, HttpResponse};

/// An object. A version that Object Lock keeps cannot be lost by another write,
/// so only the newest is held.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Object {
    /// Its bytes.
    pub body: Vec<u8>,
    /// Its type.
    pub content_type: Option<String>,
    /// Object Lock's mode and date.
    pub retention: Option<(String, String)>,
}

/// Objects and what belongs to them, by bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Objects {
    /// Objects by bucket and key.
    pub held: BTreeMap<String, BTreeMap<String, Object>>,
    /// Buckets with Object Lock.
    pub locked: BTreeSet<String>,
    /// Other accounts that a bucket's policy lets in.
    pub guests: BTreeMap<String, BTreeSet<String>>,
}

/// The operation of a request for an object or for Object Lock; `None` for others.
pub fn operation(request: &HttpRequest) -> Option<&'static str> {
    if request.has_query("object-lock") {
        return (request.method == "GET").then_some("GetObjectLockConfiguration");
    }
    key(request)?;
    match request.method.as_str() {
        "PUT" => Some("PutObject"),
        "GET" => Some("GetObject"),
        "HEAD" => Some("HeadObject"),
        _ => None,
    }
}

/// The key of a request's object; `None` where it names none.
pub fn key(request: &HttpRequest) -> Option<String> {
    let path = request.path.trim_start_matches('/');
    let in_host = [".s3.", ".s3-"].iter().any(|mark| request.host.contains(mark));
    let key = if in_host { path } else { path.split_once('/')?.1 };
    let decoded = wire::form(&format!("key={key}"));
    decoded.into_iter().next().map(|(_, key)| key).filter(|key| !key.is_empty())
}

/// The permissions that a call for an object needs. Whoever may not list the
/// bucket is not told that an object is missing (S3 API reference, HeadObject).
pub fn needed(
    s3: &S3,
    bucket: &str,
    operation: &str,
    request: &HttpRequest,
) -> Vec<(&'static str, String)> {
    let arn = format!("arn:aws:s3:::{bucket}");
    if operation == "GetObjectLockConfiguration" {
        return vec![("s3:GetBucketObjectLockConfiguration", arn)];
    }
    let key = key(request).unwrap_or_default();
    let object = format!("{arn}/{key}");
    let held = s3.objects.held.get(bucket).is_some_and(|held| held.contains_key(&key));
    let retained = request.header("x-amz-object-lock-mode").is_some();
    match operation {
        "PutObject" if retained => {
            vec![("s3:PutObject", object.clone()), ("s3:PutObjectRetention", object)]
        }
        "PutObject" => vec![("s3:PutObject", object)],
        _ if held => vec![("s3:GetObject", object)],
        _ => vec![("s3:GetObject", object), ("s3:ListBucket", arn)],
    }
}

/// Answers a call for an object or for Object Lock; `None` for others.
pub fn answer(
    s3: &mut S3,
    call: &Call<'_>,
    request: &HttpRequest,
) -> Option<Result<HttpResponse, Refusal>> {
    let known = ["PutObject", "GetObject", "HeadObject", "GetObjectLockConfiguration"];
    known.contains(&call.operation).then(|| {
        bucket(s3, call)?;
        let key = key(request).unwrap_or_default();
        match call.operation {
            "PutObject" => put(&mut s3.objects, call.subject, key, request),
            "GetObjectLockConfiguration" => lock_configuration(&s3.objects, call.subject),
            operation => get(&s3.objects, call.subject, &key, operation),
        }
    })
}

fn put(
    objects: &mut Objects,
    bucket: &str,
    key: String,
    request: &HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let header = |name: &str| request.header(name).map(str::to_owned);
    let retention =
        header("x-amz-object-lock-mode").zip(header("x-amz-object-lock-retain-until-date"));
    if retention.is_some() && !objects.locked.contains(bucket) {
        return Err(refuse(400, "InvalidRequest", "Bucket is missing Object Lock Configuration"));
    }
    let checked = request
        .headers
        .keys()
        .any(|name| name.as_str() == "content-md5" || name.as_str().starts_with("x-amz-checksum-"));
    if retention.is_some() && !checked {
        let message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters";
        return Err(refuse(400, "InvalidRequest", message));
    }
    let object =
        Object { body: request.body.clone(), content_type: header("content-type"), retention };
    objects.held.entry(bucket.to_owned()).or_default().insert(key, object);
    Ok(wire::rest_xml(200, String::new()))
}

fn get(
    objects: &Objects,
    bucket: &str,
    key: &str,
    operation: &str,
) -> Result<HttpResponse, Refusal> {
    let Some(object) = objects.held.get(bucket).and_then(|held| held.get(key)) else {
        // An answer to HEAD has no body that could tell more.
        let code = if operation == "HeadObject" { "NotFound" } else { "NoSuchKey" };
        return Err(refuse(404, code, "The specified key does not exist."));
    };
    let body = if operation == "HeadObject" { Vec::new() } else { object.body.clone() };
    let mut headers = HeaderMap::new();
    headers.insert("content-length", HeaderValue::from(object.body.len()));
    Ok(HttpResponse { status: 200, headers, body, code: None })
}

fn lock_configuration(objects: &Objects, bucket: &str) -> Result<HttpResponse, Refusal> {
    if !objects.locked.contains(bucket) {
        let message = "Object Lock configuration does not exist for this bucket";
        return Err(refuse(404, "ObjectLockConfigurationNotFoundError", message));
    }
    let body = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    Ok(wire::rest_xml(200, body.to_owned()))
}
