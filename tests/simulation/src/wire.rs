//! What requests and answers look like on the wire, for each protocol.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

/// A request, taken out of the SDK's or the server's own type.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: String,
    /// Host, without port.
    pub host: String,
    /// Path, without query.
    pub path: String,
    /// Query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// One header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the query has a key.
    pub fn has_query(&self, key: &str) -> bool {
        self.query.iter().any(|(name, _)| name == key)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
    /// AWS's error code, where it is an error: what the record keeps.
    pub code: Option<String>,
}

/// How a service writes its answers and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AWS Query: IAM, STS.
    Query,
    /// EC2's own Query.
    Ec2,
    /// JSON 1.0 or 1.1 with a target header.
    Json,
    /// REST with JSON bodies.
    RestJson,
    /// REST with XML bodies.
    RestXml,
    /// The same with errors wrapped in `ErrorResponse`: S3 Control.
    RestXmlWrapped,
    /// The Kubernetes API, whose errors are objects of kind Status.
    Kubernetes,
}

/// An error as a service codes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// AWS's code.
    pub code: String,
    /// The message.
    pub message: String,
}

impl ServiceError {
    /// An error with status, code and message.
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }
}

const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000000";

fn response(status: u16, content_type: &'static str, body: Vec<u8>) -> HttpResponse {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    headers.insert("x-amzn-requestid", HeaderValue::from_static(REQUEST_ID));
    HttpResponse { status, headers, body, code: None }
}

/// An answer in XML, for EC2: the elements inside `<…Response>`.
pub fn ec2(action: &str, inner: &str) -> HttpResponse {
    let body = format!(
        "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{REQUEST_ID}</requestId>{inner}</{action}Response>"
    );
    response(200, "text/xml;charset=UTF-8", body.into_bytes())
}

/// An answer in XML, for IAM and STS: the elements inside `<…Result>`.
pub fn query(action: &str, inner: &str) -> HttpResponse {
    let body = format!(
        "<{action}Response><{action}Result>{inner}</{action}Result><ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></{action}Response>"
    );
    response(200, "text/xml", body.into_bytes())
}

/// An answer in JSON.
pub fn json(value: &Value) -> HttpResponse {
    response(200, "application/x-amz-json-1.1", value.to_string().into_bytes())
}

/// An answer of a Kubernetes API.
pub fn kubernetes(status: u16, value: &Value) -> HttpResponse {
    response(status, "application/json", value.to_string().into_bytes())
}

/// An answer of S3: XML or nothing.
pub fn rest_xml(status: u16, body: String) -> HttpResponse {
    response(status, "application/xml", body.into_bytes())
}

/// An error, as the protocol writes it.
pub fn error(protocol: Protocol, error: &ServiceError) -> HttpResponse {
    let ServiceError { status, code, message } = error;
    let escaped = quick_xml::escape::escape(message.as_str());
    let mut answer = match protocol {
        Protocol::Ec2 => response(
            *status,
            "text/xml;charset=UTF-8",
            format!("<Response><Errors><Error><Code>{code}</Code><Message>{escaped}</Message></Error></Errors><RequestID>{REQUEST_ID}</RequestID></Response>").into_bytes(),
        ),
        Protocol::Query | Protocol::RestXmlWrapped => response(
            *status,
            "text/xml",
            format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escaped}</Message></Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>").into_bytes(),
        ),
        Protocol::RestXml => response(
            *status,
            "application/xml",
            format!("<Error><Code>{code}</Code><Message>{escaped}</Message><RequestId>{REQUEST_ID}</RequestId></Error>").into_bytes(),
        ),
        Protocol::Json | Protocol::RestJson => response(
            *status,
            "application/x-amz-json-1.1",
            json!({ "__type": code, "message": message, "Message": message }).to_string().into_bytes(),
        ),
        Protocol::Kubernetes => kubernetes(
            *status,
            &json!({
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": code,
                "code": status,
            }),
        ),
    };
    if matches!(protocol, Protocol::Json | Protocol::RestJson)
        && let Ok(value) = HeaderValue::from_str(code)
    {
        answer.headers.insert("x-amzn-errortype", value);
    }
    answer.code = Some(code.clone());
    answer
}

/// `a=1&b=%20` as decoded pairs, in order.
pub fn form(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

/// Decodes what is percent-encoded, and `+` as a blank.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = bytes
            .get(at + 1..at + 3)
            .filter(|_| *byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (code, byte) {
            (Some(code), _) => {
                decoded.push(code);
                at += 3;
            }
            (None, b'+') => {
                decoded.push(b' ');
                at += 1;
            }
            (None, other) => {
                decoded.push(*other);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Percent-encodes what is not unreserved, as IAM does with policy documents.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
