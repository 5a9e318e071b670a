//! The token buckets that AWS documents, keyed as AWS keys them.

use std::collections::HashMap;

use jiff::Timestamp;

/// Buckets by account, Region and class.
#[derive(Debug, Default)]
pub struct Throttle {
    buckets: HashMap<(String, String, &'static str), (f64, Timestamp)>,
}

/// The class of a call, with its bucket's size and refill per second; `None`
/// where AWS publishes no rate. Sources: EC2 API reference, "Request
/// throttling"; Organizations user guide, "Quotas"; Security Hub API reference.
pub fn class(service: &str, operation: &str) -> Option<(&'static str, f64, f64)> {
    Some(match (service, operation) {
        ("ec2", "ModifyNetworkInterfaceAttribute") => ("ec2-interface", 100.0, 5.0),
        ("ec2", "CreateTags" | "DeleteTags") => ("ec2-tags", 100.0, 10.0),
        ("ec2", "AssociateIamInstanceProfile" | "DisassociateIamInstanceProfile") => {
            ("ec2-profile", 100.0, 5.0)
        }
        ("ec2", operation) if operation.starts_with("Describe") => ("ec2-read", 100.0, 20.0),
        ("ec2", _) => ("ec2-write", 50.0, 5.0),
        ("organizations", "DescribeAccount") => ("organizations-account", 30.0, 20.0),
        ("organizations", "ListParents") => ("organizations-parents", 8.0, 5.0),
        ("organizations", "ListAccounts") => ("organizations-accounts", 12.0, 8.0),
        // For the V2 calls nothing is published: they draw on the same here.
        ("securityhub", "BatchUpdateFindings" | "BatchUpdateFindingsV2") => {
            ("securityhub-update", 30.0, 10.0)
        }
        ("securityhub", "GetFindings" | "GetFindingsV2") => ("securityhub-get", 6.0, 3.0),
        // The least of all Regions' rates (EventBridge user guide, "Quotas").
        ("events", "PutEvents") => ("events-put", 400.0, 400.0),
        ("sts", "AssumeRole") => ("sts", 600.0, 600.0),
        _ => return None,
    })
}

/// The code with which a service throttles.
pub fn code(service: &str) -> (u16, &'static str) {
    match service {
        "ec2" => (503, "RequestLimitExceeded"),
        "sts" | "iam" => (400, "Throttling"),
        "sqs" => (403, "RequestThrottled"),
        "organizations" | "securityhub" | "guardduty" => (429, "TooManyRequestsException"),
        _ => (400, "ThrottlingException"),
    }
}

impl Throttle {
    /// Takes a token; false when the bucket is empty.
    pub fn take(
        &mut self,
        account: &str,
        region: &str,
        service: &str,
        operation: &str,
        now: Timestamp,
    ) -> bool {
        let Some((class, size, refill)) = class(service, operation) else { return true };
        let key = (account.to_owned(), region.to_owned(), class);
        let (tokens, at) = self.buckets.entry(key).or_insert((size, now));
        let elapsed = now.duration_since(*at).as_secs_f64();
        *tokens = (*tokens + elapsed * refill).min(size);
        *at = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}
