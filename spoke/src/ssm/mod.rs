//! Actions that Systems Manager runs.

mod run_automation;

use crate::registry::RegisteredAction;

/// In the order in which lists show them.
pub(crate) const ACTIONS: &[RegisteredAction] =
    &[RegisteredAction::of::<run_automation::RunAutomation>()];
