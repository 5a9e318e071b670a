//! Finding forms: one file a form, one line in [`FORMS`].
//!
//! A new form also needs what the compiler then asks for: a variant of [`Form`],
//! and in the engine the service that confirms such a finding.

mod asff;
mod guardduty;
mod ocsf;
mod product;
mod sample;

use firebreak_model::finding::Finding;
use serde_json::Value;

use super::Rejection;
use super::part::PartContext;

pub use self::product::GUARDDUTY;

/// The form in which a service writes a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// GuardDuty's finding format.
    GuardDuty,
    /// Security Hub CSPM's finding format.
    Asff,
    /// Security Hub's finding format.
    Ocsf,
}

/// How findings of one form are recognized, read, and sent as events.
pub(crate) struct FormSpec {
    form: Form,
    recognizes: fn(&Value) -> bool,
    pub(crate) to_finding: fn(&Value, &PartContext) -> Result<Finding, Rejection>,
    /// The `source` of the service's events (EventBridge events reference,
    /// "Amazon GuardDuty events", "AWS Security Hub events").
    pub(crate) event_source: &'static str,
    pub(crate) is_detail_type: fn(&str) -> bool,
    pub(crate) detail: EventDetail,
}

/// What an event's `detail` holds.
pub(crate) enum EventDetail {
    Finding,
    /// A list under `findings`.
    Findings,
}

/// The first form that recognizes a value reads it.
const FORMS: &[FormSpec] = &[asff::FORM, ocsf::FORM, guardduty::FORM];

/// The form of a finding's own text, without any envelope.
pub fn form(finding: &Value) -> Option<Form> {
    recognize(finding).map(|spec| spec.form)
}

pub(crate) fn recognize(value: &Value) -> Option<&'static FormSpec> {
    FORMS.iter().find(|spec| (spec.recognizes)(value))
}

/// The form of the findings in events of a detail type.
pub(crate) fn of_detail_type(detail_type: &str) -> Option<&'static FormSpec> {
    FORMS.iter().find(|spec| (spec.is_detail_type)(detail_type))
}
