//! Envelopes: what messages and findings arrive in. One file an envelope, one line
//! in [`ENVELOPES`].

mod eventbridge;
mod list;
mod sns;
mod sqs;

use serde_json::Value;

use super::part::{Findings, PartContext};

/// How one envelope is recognized, and how its contents are read.
pub(crate) struct Envelope {
    recognizes: fn(&Value) -> bool,
    pub(crate) open: fn(&Value, &PartContext, &mut Findings),
}

/// The first envelope that recognizes a value opens it.
const ENVELOPES: &[Envelope] =
    &[list::ENVELOPE, sqs::ENVELOPE, sns::ENVELOPE, eventbridge::ENVELOPE];

pub(crate) fn recognize(value: &Value) -> Option<&'static Envelope> {
    ENVELOPES.iter().find(|envelope| (envelope.recognizes)(value))
}
