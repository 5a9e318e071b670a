//! A response as the service wrote it. The SDK's own types drop unknown fields, cannot
//! be written as JSON again, and those for Security Hub's findings are so large that
//! reading one overflows a thread's stack. So the SDK does not parse a successful
//! response that is read as text; it does parse an error.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, Error, Output,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::config_bag::ConfigBag;
use serde_json::Value;

use crate::error::HubError;

/// An interceptor of one call that keeps the text of the response; the call itself
/// returns an empty output.
#[derive(Clone, Debug)]
pub(super) struct RawResponse {
    text: Arc<Mutex<String>>,
    empty: fn() -> Output,
}

impl RawResponse {
    /// `empty` is the output that the call returns instead of the response:
    /// `|| Output::erase(…Output::builder().build())`.
    pub(super) fn new(empty: fn() -> Output) -> Self {
        Self { text: Arc::default(), empty }
    }

    /// The response as JSON; it can be taken once. `call` names the call in errors.
    pub(super) fn json(&self, call: &str) -> Result<Value, HubError> {
        let text = std::mem::take(&mut *self.text.lock().unwrap_or_else(PoisonError::into_inner));
        serde_json::from_str(&text).map_err(|error| {
            HubError::transient(format!("the response to {call} is not JSON: {error}"))
        })
    }
}

impl Intercept for RawResponse {
    fn name(&self) -> &'static str {
        "AnswerText"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            let instead = SharedResponseDeserializer::new(self.clone());
            config.interceptor_state().store_put(instead);
        }
        Ok(())
    }
}

impl DeserializeResponse for RawResponse {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _config: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let bytes = response.body().bytes().unwrap_or_default();
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        *text = String::from_utf8_lossy(bytes).into_owned();
        Ok((self.empty)())
    }
}
