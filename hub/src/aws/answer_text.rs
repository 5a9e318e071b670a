//! The text of an answer. The SDK's own types leave out what they do not know,
//! and cannot be written as JSON again: what is to be read as a finding is read
//! as the service wrote it.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use serde_json::Value;

use crate::aws::error::HubError;

/// Keeps the text of the last answer of the call that it is an interceptor of.
#[derive(Clone, Debug, Default)]
pub(super) struct AnswerText(Arc<Mutex<String>>);

impl AnswerText {
    /// The text, once.
    pub(super) fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The text as JSON, once; `call` names the call for whoever reads the error.
    pub(super) fn json(&self, call: &str) -> Result<Value, HubError> {
        serde_json::from_str(&self.take())
            .map_err(|error| HubError::Transient(format!("{call} answered no JSON: {error}")))
    }
}

impl Intercept for AnswerText {
    fn name(&self) -> &'static str {
        "AnswerText"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let bytes = context.response().body().bytes().unwrap_or_default();
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *text = String::from_utf8_lossy(bytes).into_owned();
        Ok(())
    }
}
