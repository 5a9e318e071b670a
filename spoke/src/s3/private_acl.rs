//! Makes a bucket's ACL private: full control for its owner and no other grant. Undo
//! restores exactly the former grants, unless they were changed.
//!
//! It does not change the objects' own ACLs: with `block-public-access` S3 ignores all
//! of them. For a bucket whose ACLs are disabled (object ownership "bucket owner
//! enforced") S3 returns an ACL of its owner alone, and rejects changes with
//! AccessControlListNotSupported (S3 user guide, "Controlling ownership of objects").

use aws_sdk_s3::types::{
    AccessControlPolicy, BucketCannedAcl, Grant as S3Grant, Grantee, ObjectOwnership, Owner,
    Permission, Type,
};
use aws_smithy_types::error::operation::BuildError;
use serde::{Deserialize, Serialize};

use crate::account::AccountSession;
use crate::contract::{
    Action, ActionContext, ActionSpec, CapturedState, Change, NoParameters, Phase, Residual,
    Reversal, Undone, Verification,
};
use crate::grant;
use crate::s3::block_public_access::{self, Flag};
use crate::support::s3::bucket;
use crate::support::s3::grants::CHANGE_BUCKETS;
use firebreak_model::error::{ActionError, ErrorKind};

pub(crate) struct PrivateAcl;

/// One grant of an ACL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct AclGrant {
    to: To,
    permission: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum To {
    /// A canonical user's id.
    User(String),
    /// A group's URI.
    Group(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    /// The owner's canonical id, which every ACL has to repeat.
    owner: String,
    grants: Vec<AclGrant>,
}

impl Prior {
    fn is_private(&self) -> bool {
        let own = AclGrant { to: To::User(self.owner.clone()), permission: FULL.to_owned() };
        self.grants == [own]
    }

    /// Whether it grants something to everyone or to everyone with an account.
    fn is_public(&self) -> bool {
        let public = |grant: &AclGrant| match &grant.to {
            To::Group(uri) => uri.contains("/groups/global/"),
            To::User(_) => false,
        };
        self.grants.iter().any(public)
    }

    /// An ACL is a set: S3 does not promise its order.
    fn is_as(&self, other: &Self) -> bool {
        let sorted = |grants: &[AclGrant]| {
            let mut grants = grants.to_vec();
            grants.sort();
            grants
        };
        sorted(&self.grants) == sorted(&other.grants)
    }

    fn describe(&self) -> String {
        let one = |grant: &AclGrant| {
            let to = match &grant.to {
                To::User(id) if *id == self.owner => "the owner",
                To::User(id) => id,
                To::Group(uri) => uri.rsplit('/').next().unwrap_or(uri),
            };
            format!("{} by {to}", grant.permission)
        };
        let grants: Vec<String> = self.grants.iter().map(one).collect();
        if grants.is_empty() { "no grant".to_owned() } else { grants.join(", ") }
    }
}

const FULL: &str = "FULL_CONTROL";

impl Action for PrivateAcl {
    const SPEC: ActionSpec = ActionSpec {
        name: "private-acl",
        sentence: "Makes the bucket's ACL private: it grants access to the owner only.",
        resource_types: &["S3Bucket"],
        reads: &[
            "s3:GetAccountPublicAccessBlock",
            "s3:GetBucketAcl",
            "s3:GetBucketOwnershipControls",
            "s3:GetBucketPolicyStatus",
            "s3:GetBucketPublicAccessBlock",
        ],
        writes: &["s3:PutBucketAcl"],
        reversal: Reversal::Restored,
        phase: Phase::Contain,
    };
    const GRANTS: &'static [grant::Grant] = &[CHANGE_BUCKETS.allows(Self::SPEC.writes)];
    type Parameters = NoParameters;
    type Prior = Prior;

    async fn capture(
        context: ActionContext<'_>,
        _: &NoParameters,
    ) -> Result<CapturedState<Prior>, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        if are_disabled(context.account, name).await? {
            return Err(disabled(name));
        }
        let prior = get(context.account, name).await?;
        if prior.is_private() {
            return Ok(CapturedState { prior, changes: Vec::new() });
        }
        if prior.is_public()
            && block_public_access::is_raised(context, name, Flag::BlockPublicAcls).await?
        {
            let message = format!(
                "refused to change the ACL of `{name}`: BlockPublicAcls would forbid to put its public grants back"
            );
            let help =
                "use block-public-access, whose IgnorePublicAcls takes the public grants back"
                    .to_owned();
            let help = Some(help);
            return Err(ActionError { help, ..ActionError::new(ErrorKind::Refused, message) });
        }
        let change = Change {
            what: format!("ACL of bucket {name}"),
            before: prior.describe(),
            after: "FULL_CONTROL by the owner".to_owned(),
        };
        Ok(CapturedState { prior, changes: vec![change] })
    }

    async fn apply(
        context: ActionContext<'_>,
        _: &NoParameters,
        _: &Prior,
    ) -> Result<(), ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let owner = context.account.id.as_str();
        let output = bucket::call(context.account, name, PUT, |s3| {
            let call = s3.put_bucket_acl().bucket(name).expected_bucket_owner(owner);
            call.acl(BucketCannedAcl::Private).send()
        });
        match output.await {
            // ACLs were disabled since, so that they grant nothing any more.
            Err(error) if error.has_code(NOT_SUPPORTED) => Err(disabled(name)),
            result => result.map(|_| ()),
        }
    }

    async fn verify(
        context: ActionContext<'_>,
        _: &NoParameters,
        _: &Prior,
    ) -> Result<Verification, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let present = get(context.account, name).await?;
        Ok(if present.is_private() {
            Verification::InEffect(format!(
                "the ACL of `{name}` grants nothing but its owner's control"
            ))
        } else {
            Verification::NotInEffect(format!("the ACL of `{name}` grants: {}", present.describe()))
        })
    }

    async fn residual(
        context: ActionContext<'_>,
        _: &NoParameters,
        _: &Prior,
    ) -> Result<Vec<Residual>, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let (ignored, public) = futures::try_join!(
            block_public_access::is_raised(context, name, Flag::IgnorePublicAcls),
            bucket::policy_is_public(context.account, name)
        )?;
        let mut residual = Vec::new();
        if !ignored {
            let what = format!("objects of {name} with a public ACL of their own stay public");
            residual.push(Residual::new("object-acls", what, &["block-public-access"]));
        }
        let restricted = Flag::RestrictPublicBuckets;
        if public && !block_public_access::is_raised(context, name, restricted).await? {
            let what = format!("the policy of {name} makes it public");
            let closed_by = &["block-public-access", "restrict-bucket-policy"];
            residual.push(Residual::new("bucket-policy", what, closed_by));
        }
        Ok(residual)
    }

    async fn undo(
        context: ActionContext<'_>,
        _: &NoParameters,
        prior: &Prior,
    ) -> Result<Undone, ActionError> {
        let name = bucket::name(&context.resource.kind)?;
        let present = match get(context.account, name).await {
            Ok(present) => present,
            Err(error) => return bucket::undo_if_gone(error, name),
        };
        let mut undone = Undone::default();
        if present.is_as(prior) {
            return Ok(undone);
        }
        if !present.is_private() {
            let now = present.describe();
            undone.drift.push(format!("the ACL of `{name}` was changed since to {now}"));
            return Ok(undone);
        }
        match put(context.account, name, prior).await {
            Err(error) if error.has_code(NOT_SUPPORTED) => {
                undone.drift.push(format!("the ACLs of `{name}` were disabled since"));
            }
            result => {
                result?;
                undone.restored.push(format!("the ACL of {name} is as before"));
            }
        }
        Ok(undone)
    }
}

const PUT: &str = "s3:PutBucketAcl";
const NOT_SUPPORTED: &str = "AccessControlListNotSupported";

fn disabled(name: &str) -> ActionError {
    let message = format!("the ACLs of the bucket `{name}` are disabled and grant nothing");
    ActionError::new(ErrorKind::NotApplicable, message)
}

async fn are_disabled(account: &AccountSession, name: &str) -> Result<bool, ActionError> {
    let owner = account.id.as_str();
    let output = bucket::call(account, name, "s3:GetBucketOwnershipControls", |s3| {
        s3.get_bucket_ownership_controls().bucket(name).expected_bucket_owner(owner).send()
    });
    let output = bucket::none_if_missing(output.await, "OwnershipControlsNotFoundError")?;
    let controls = output.and_then(|output| output.ownership_controls);
    let rules = controls.map(|controls| controls.rules).unwrap_or_default();
    Ok(rules.iter().any(|rule| rule.object_ownership == ObjectOwnership::BucketOwnerEnforced))
}

async fn get(account: &AccountSession, name: &str) -> Result<Prior, ActionError> {
    let owner = account.id.as_str();
    let output = bucket::call(account, name, "s3:GetBucketAcl", |s3| {
        s3.get_bucket_acl().bucket(name).expected_bucket_owner(owner).send()
    });
    let output = output.await?;
    let unreadable = || {
        ActionError::new(
            ErrorKind::Failed,
            format!("the ACL of `{name}` has a grant without a grantee"),
        )
    };
    let grants = output.grants.unwrap_or_default().into_iter().map(|grant| {
        let grantee = grant.grantee.ok_or_else(unreadable)?;
        let to = match (grantee.id, grantee.uri) {
            (Some(id), _) => To::User(id),
            (None, Some(uri)) => To::Group(uri),
            (None, None) => return Err(unreadable()),
        };
        let permission = grant.permission.ok_or_else(unreadable)?.as_str().to_owned();
        Ok(AclGrant { to, permission })
    });
    let grants = grants.collect::<Result<_, _>>()?;
    let owner = output.owner.and_then(|owner| owner.id).ok_or_else(unreadable)?;
    Ok(Prior { owner, grants })
}

async fn put(account: &AccountSession, name: &str, prior: &Prior) -> Result<(), ActionError> {
    let unbuilt = |error: BuildError| {
        ActionError::new(ErrorKind::Failed, format!("cannot name a grantee: {error}"))
    };
    let grants: Vec<S3Grant> = prior
        .grants
        .iter()
        .map(|grant| {
            let grantee = match &grant.to {
                To::User(id) => Grantee::builder().r#type(Type::CanonicalUser).id(id),
                To::Group(uri) => Grantee::builder().r#type(Type::Group).uri(uri),
            };
            let permission = Permission::from(grant.permission.as_str());
            let grantee = grantee.build().map_err(unbuilt)?;
            Ok(S3Grant::builder().grantee(grantee).permission(permission).build())
        })
        .collect::<Result<_, ActionError>>()?;
    let policy = AccessControlPolicy::builder()
        .owner(Owner::builder().id(&prior.owner).build())
        .set_grants(Some(grants))
        .build();
    let owner = account.id.as_str();
    let output = bucket::call(account, name, PUT, |s3| {
        let call = s3.put_bucket_acl().bucket(name).expected_bucket_owner(owner);
        call.access_control_policy(policy.clone()).send()
    });
    output.await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(grants: &[(&str, &str)]) -> Prior {
        let one = |&(to, permission): &(&str, &str)| {
            let to =
                if to.contains("://") { To::Group(to.to_owned()) } else { To::User(to.to_owned()) };
            AclGrant { to, permission: permission.to_owned() }
        };
        Prior { owner: "owner".to_owned(), grants: grants.iter().map(one).collect() }
    }

    #[test]
    fn an_acl_is_private_only_with_its_owner_s_grant_alone() {
        let everyone = "http://acs.amazonaws.com/groups/global/AllUsers";
        let (own, public) = (("owner", FULL), (everyone, "READ"));
        assert!(acl(&[own]).is_private() && !acl(&[own]).is_public());
        assert!(!acl(&[own, public]).is_private() && acl(&[own, public]).is_public());
        assert!(!acl(&[]).is_private());
        assert!(acl(&[own, public]).is_as(&acl(&[public, own])));
        assert_eq!(acl(&[own, public]).describe(), "FULL_CONTROL by the owner, READ by AllUsers");
    }

    #[test]
    fn the_grants_read_back_as_they_were_recorded() {
        let prior = acl(&[("owner", FULL), ("somebody", "WRITE")]);
        let json = serde_json::to_value(&prior).unwrap();
        assert_eq!(serde_json::from_value::<Prior>(json).unwrap(), prior);
    }
}
