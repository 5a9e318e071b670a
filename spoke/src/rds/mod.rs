//! Actions on databases.

mod quarantine_db;
mod snapshot_db;

use crate::registry::RegisteredAction;

/// In the order in which lists show them.
pub(crate) const ACTIONS: &[RegisteredAction] = &[
    RegisteredAction::of::<quarantine_db::QuarantineDb>(),
    RegisteredAction::of::<snapshot_db::SnapshotDb>(),
];
