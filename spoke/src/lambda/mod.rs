//! Actions on functions.

mod close_function_url;
mod freeze_function;
mod provisioned;

use crate::registry::RegisteredAction;

/// In the order in which lists show them.
pub(crate) const ACTIONS: &[RegisteredAction] = &[
    RegisteredAction::of::<freeze_function::FreezeFunction>(),
    RegisteredAction::of::<close_function_url::CloseFunctionUrl>(),
];
