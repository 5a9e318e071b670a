//! A process that calls the organization and dies alone when a crash hits one of
//! its calls: where many share an organization, the others live on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::Notify;

use crate::organization::Organization;

/// Whether a process lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life(Arc<(AtomicBool, Notify)>, Endless);

/// Whether a life never ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Endless {
    #[default]
    No,
    Yes,
}

impl Life {
    /// A life that no crash ends.
    pub(crate) fn endless() -> Self {
        Self(Arc::default(), Endless::Yes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }

    pub(crate) fn end(&self) {
        self.0.0.store(self.1 == Endless::No, Ordering::SeqCst);
        // Kept for whoever waits next: the end may come before the wait.
        self.0.1.notify_one();
    }
}

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    organization: Organization,
    life: Life,
}

impl Process {
    pub(crate) fn new(organization: Organization) -> Self {
        Self { organization, life: Life::default() }
    }

    /// The process's HTTP client for SDK configurations. Once the process is
    /// dead none of its calls happens or is answered.
    pub fn http_client(&self) -> SharedHttpClient {
        self.organization.http_client_of(self.life.clone())
    }

    /// Waits until a crash hits one of its calls. Whoever waits drops the work.
    pub async fn died(&self) {
        if !self.life.is_over() {
            self.life.0.1.notified().await;
        }
    }
}
