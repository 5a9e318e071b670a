//! A part of a message while it is read: where it is, and what was found so far.

use firebreak_model::finding::Finding;
use firebreak_model::text::printable;

use super::Rejection;

/// The envelopes around a part of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct PartContext {
    pub(crate) depth: usize,
    /// The path down to this part, for rejections.
    path: String,
    /// The envelopes' ids, joined.
    message_id: Option<String>,
    /// The Region of the event bus. A Region in the finding itself comes first.
    pub(crate) bus_region: Option<String>,
}

impl PartContext {
    pub(crate) fn reject(&self, reason: impl Into<String>, field: Option<&str>) -> Rejection {
        let field = field.map(|field| match self.path.is_empty() {
            true => field.to_owned(),
            false => format!("{}.{field}", self.path),
        });
        let path = Some(self.path.clone()).filter(|path| !path.is_empty());
        Rejection {
            // The reason may quote a key or a value of the message.
            reason: printable(&reason.into()),
            field: field.or(path),
            message_id: self.message_id.clone(),
        }
    }

    /// The rejection of a finding that lacks a required field.
    pub(crate) fn missing(&self, field: &str) -> Rejection {
        self.reject(format!("the finding has no `{field}`"), Some(field))
    }

    /// The context of a part inside this one.
    pub(crate) fn inside(&self, step: &str, message_id: Option<String>) -> Self {
        let path = match self.path.is_empty() {
            true => step.to_owned(),
            false => format!("{}.{step}", self.path),
        };
        Self { depth: self.depth + 1, path, ..self.with_id(message_id) }
    }

    /// The same part, with one more id known.
    pub(crate) fn with_id(&self, id: Option<String>) -> Self {
        let id = id.map(|id| printable(&id));
        let ids: Vec<String> = self.message_id.iter().cloned().chain(id).collect();
        Self { message_id: (!ids.is_empty()).then(|| ids.join("/")), ..self.clone() }
    }
}

/// How many rejections of one message are reported, so that a megabyte of empty
/// objects does not become hundreds of megabytes of rejections.
const MAX_REJECTIONS: usize = 1_000;

/// The findings and rejections of one message so far.
#[derive(Default)]
pub(crate) struct Findings {
    results: Vec<Result<Finding, Rejection>>,
    rejected: usize,
}

impl Findings {
    pub(crate) fn push(&mut self, result: Result<Finding, Rejection>) {
        if result.is_err() {
            self.rejected += 1;
            if self.rejected > MAX_REJECTIONS {
                return;
            }
        }
        self.results.push(result);
    }

    pub(crate) fn reject(&mut self, rejection: Rejection) {
        self.push(Err(rejection));
    }

    /// Everything that the message holds; never empty.
    pub(crate) fn finish(self, message: &PartContext) -> Vec<Result<Finding, Rejection>> {
        let Self { mut results, rejected } = self;
        if rejected > MAX_REJECTIONS {
            let reason = format!("{} more of its parts were rejected", rejected - MAX_REJECTIONS);
            results.push(Err(message.reject(reason, None)));
        }
        if results.is_empty() {
            results.push(Err(message.reject("the message holds no finding", None)));
        }
        results
    }
}
