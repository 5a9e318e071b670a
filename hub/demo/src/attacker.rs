//! What an attacker can do, computed from the simulated organization's authentication,
//! authorization and security groups.

use super::world::{Attack, Member, World};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ability {
    pub what: &'static str,
    pub works: bool,
}

/// What an attacker can do after this attack on a member.
pub fn abilities(world: &World, member: &Member, attack: Attack) -> Vec<Ability> {
    let Member { account, region, instance, bucket, .. } = member;
    let organization = &world.organization;
    let arn = format!("arn:aws:s3:::{bucket}");
    let reads =
        |credentials| organization.attempt(credentials, region, "s3:ListBucket", &arn).is_ok();
    let ability = |what, works| Ability { what, works };
    match attack {
        Attack::Instance => {
            let (outward, inward) = organization.edit(|state| {
                let ec2 = state.ec2(account, region);
                (ec2.reaches_internet(instance), ec2.reachable_from_internet(instance))
            });
            vec![
                ability("the instance reaches the internet", outward),
                ability("the internet reaches the instance", inward),
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
