//! What stops an action half way, at any of its calls.

use firebreak_simulation::{Effect, Fault, Organization};

/// What stops an action half way.
pub(crate) fn stops() -> [Effect; 4] {
    [
        Effect::Error { status: 400, code: "SimulatedFailure".to_owned() },
        Effect::CrashBefore,
        Effect::CrashAfter,
        Effect::LostAnswer,
    ]
}

/// Runs something whose `after`-th call is stopped; `None` when it crashed.
pub(crate) async fn stopped<T>(
    organization: &Organization,
    after: u32,
    effect: &Effect,
    work: impl Future<Output = T>,
) -> Option<T> {
    organization.inject(Fault { after, times: 1, effect: effect.clone(), ..Fault::default() });
    let ended = tokio::select! {
        biased;
        () = organization.crashed() => None,
        ended = work => Some(ended),
    };
    organization.clear_faults();
    ended
}
