//! What the attacker can do: computed from the simulated organization's own
//! authentication, authorization and security groups.

use super::world::{Attack, Member, World};

/// One thing, and whether it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ability {
    /// What, in words.
    pub what: &'static str,
    /// Whether it works.
    pub works: bool,
}

/// What an attacker who has done this attack on a member can do now.
pub fn abilities(world: &World, member: &Member, attack: Attack) -> Vec<Ability> {
    let Member { account, region, instance, bucket, .. } = member;
    let organization = &world.organization;
    let arn = format!("arn:aws:s3:::{bucket}");
    let reads =
        |credentials| organization.attempt(credentials, region, "s3:ListBucket", &arn).is_ok();
    let ability = |what, works| Ability { what, works };
    match attack {
        Attack::Instance => {
            let (out, within) = organization.edit(|state| {
                let ec2 = state.ec2(account, region);
                (ec2.reaches_internet(instance), ec2.reachable_from_internet(instance))
            });
            vec![
                ability("the instance reaches the internet", out),
                ability("the internet reaches the instance", within),
                ability("its role's credentials read data", reads(&member.instance_credentials)),
            ]
        }
        Attack::UserKey => {
            let key = organization.user_credentials(&member.key);
            vec![ability("the stolen key reads data", reads(&key))]
        }
        Attack::RoleSession => {
            vec![ability("the stolen session reads data", reads(&member.role_session))]
        }
        Attack::Bucket => {
            let open = organization.edit(|state| state.s3.anyone_can_read(bucket));
            vec![ability("anyone reads the bucket", open)]
        }
    }
}
