//! Actions on functions.

mod freeze_function;

use crate::registry::RegisteredAction;

/// In the order in which lists show them.
pub(crate) const ACTIONS: &[RegisteredAction] =
    &[RegisteredAction::of::<freeze_function::FreezeFunction>()];
