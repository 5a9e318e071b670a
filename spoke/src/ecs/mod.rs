//! Actions on what runs in ECS.

mod drain_container_instance;
mod freeze_service;
mod stop_task;

use crate::registry::RegisteredAction;

/// In the order in which lists show them.
pub(crate) const ACTIONS: &[RegisteredAction] = &[
    RegisteredAction::of::<freeze_service::FreezeService>(),
    RegisteredAction::of::<drain_container_instance::DrainContainerInstance>(),
    RegisteredAction::of::<stop_task::StopTask>(),
];
