//! What goes wrong, by script.

use std::time::Duration;

/// Which calls a fault hits. An absent part matches every call.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// The service, such as `ec2`.
    pub service: Option<String>,
    /// The operation, such as `DescribeInstances`.
    pub operation: Option<String>,
    /// The account whose resources are called.
    pub account: Option<String>,
    /// The Region.
    pub region: Option<String>,
    /// How many matching calls pass first.
    pub after: u32,
    /// How many matching calls are hit.
    pub times: u32,
    /// What happens to them.
    pub effect: Effect,
}

/// What happens to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// The service answers this error and changes nothing.
    Error {
        /// HTTP status.
        status: u16,
        /// AWS's code.
        code: String,
    },
    /// No connection: nothing happened.
    #[default]
    Unreachable,
    /// The call is never answered, and nothing happened: the caller's own
    /// timeout ends it.
    Silent,
    /// The change happens, the answer does not arrive.
    LostAnswer,
    /// The answer arrives cut in half.
    Malformed,
    /// The answer takes this much longer.
    Slow(Duration),
    /// The caller dies before the call: it never gets an answer, nothing happened.
    CrashBefore,
    /// The caller dies after the call: the change happened.
    CrashAfter,
}

impl Fault {
    /// A fault of every call of an operation, once.
    pub fn once(operation: &str, effect: Effect) -> Self {
        Self { operation: Some(operation.to_owned()), times: 1, effect, ..Self::default() }
    }

    /// A fault of every call of an operation, always.
    pub fn always(operation: &str, effect: Effect) -> Self {
        Self { times: u32::MAX, ..Self::once(operation, effect) }
    }

    /// The same, in one account.
    #[must_use]
    pub fn in_account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    /// Whether the fault hits this call; counts it.
    pub fn hits(&mut self, service: &str, operation: &str, account: &str, region: &str) -> bool {
        let matches =
            |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|it| it == is);
        let all = matches(&self.service, service)
            && matches(&self.operation, operation)
            && matches(&self.account, account)
            && matches(&self.region, region);
        if !all || self.times == 0 {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        if self.times != u32::MAX {
            self.times -= 1;
        }
        true
    }
}
