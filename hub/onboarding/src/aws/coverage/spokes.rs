//! Assumes the spoke role of an account as the engine does for a change.

use firebreak_model::error::{ActionError, ErrorKind};
use firebreak_model::resource::{AccountId, Partition, Region, Resource, ResourceKind};
use firebreak_spoke::read_cache::ReadCache;
use firebreak_spoke::tags;

use crate::coverage::Spoke;
use crate::stacksets::DIGEST_TAG;
use firebreak_aws::sessions::{Purpose, Sessions};
use firebreak_aws::settings::Settings;
use firebreak_response::record::ResponseId;
use firebreak_response::target::TargetKey;
use firebreak_spoke::account::AccountSession;

/// Assumes the role and reads its tags. The purpose is a change, because with a trust
/// policy without sts:TagSession the hub could read but never contain.
pub(super) async fn try_role(
    accounts: &Sessions<AccountSession>,
    settings: &Settings,
    region: &Region,
    account: &AccountId,
) -> Spoke {
    let name = settings.spoke_role.rsplit('/').next().unwrap_or_default().to_owned();
    let role = Resource {
        partition: Partition::of_region(region),
        account: account.clone(),
        region: region.clone(),
        kind: ResourceKind::Role { name },
    };
    let purpose = Purpose::Change {
        response: ResponseId::of("coverage", &TargetKey::of_rule(account.as_str()), 0),
        finding: "coverage".to_owned(),
    };
    let session = match accounts.open(&role, &["iam:ListRoleTags"], purpose).await {
        Ok(session) => session,
        Err(error) => return failed("", &error),
    };
    match tags::current(&session, &role, &ReadCache::default()).await {
        Ok(tags) => Spoke::Assumed { digest: tags.and_then(|mut it| it.remove(DIGEST_TAG)) },
        Err(error) => failed("assumed, but its tags cannot be read: ", &error),
    }
}

fn failed(what: &str, error: &ActionError) -> Spoke {
    let message = format!("{what}{error}");
    match error.kind {
        ErrorKind::Transient => Spoke::Unread(message),
        ErrorKind::NotApplicable
        | ErrorKind::Refused
        | ErrorKind::Gone
        | ErrorKind::Denied
        | ErrorKind::Failed => Spoke::Unusable(message),
    }
}
