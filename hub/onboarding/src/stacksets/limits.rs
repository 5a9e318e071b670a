//! The size limits of a role's permissions and of a template.

use firebreak_spoke::permissions::{self, Statement};

/// "Role inline policies: 10,240 characters in all, white space not counted" (IAM
/// user guide, "IAM and STS quotas").
pub const ROLE_CHARACTERS: usize = 10_240;

/// "Managed policies: 6,144 characters each, white space not counted" (the same).
pub const MANAGED_CHARACTERS: usize = 6_144;

/// "Template body size in a request: 51,200 bytes" (CloudFormation user guide,
/// "Quotas").
pub const TEMPLATE_BYTES: usize = 51_200;

/// The longest values of the placeholders: a partition, an account, a bucket's and a role's
/// name.
const LONGEST: [(&str, usize); 4] = [
    ("AWS::Partition", "aws-us-gov".len()),
    ("AWS::AccountId", 12),
    ("EvidenceBuckets", 63),
    ("HubRoleName", 64),
];

/// The sizes of a rendered role and its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters of the role's inline policies, with the longest value for every
    /// parameter.
    pub role_characters: usize,
    /// Characters of the managed policy with the read permissions.
    pub managed_characters: usize,
    pub template_bytes: usize,
}

impl Size {
    pub fn of(statements: &[Statement], template: &str) -> Self {
        let longest = LONGEST.map(|(name, length)| (name, "x".repeat(length)));
        let values: Vec<(&str, &str)> =
            longest.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (mut role_characters, mut managed_characters) = (0, 0);
        for (name, document) in permissions::documents(statements, &values) {
            let characters = document.to_string().len();
            if name == permissions::READ {
                managed_characters += characters;
            } else {
                role_characters += characters;
            }
        }
        Self { role_characters, managed_characters, template_bytes: template.len() }
    }

    /// What exceeds its limit; `None` if everything fits.
    pub fn excess(self) -> Option<String> {
        let Self { role_characters, managed_characters, template_bytes } = self;
        for (what, characters, allowed) in [
            ("the role's inline policies", role_characters, ROLE_CHARACTERS),
            (
                "the managed policy with the read permissions",
                managed_characters,
                MANAGED_CHARACTERS,
            ),
        ] {
            if characters > allowed {
                return Some(format!(
                    "{what} can have {characters} characters; IAM allows {allowed}\nhelp: give only the actions that your policies use, by `--actions`"
                ));
            }
        }
        (template_bytes > TEMPLATE_BYTES).then(|| {
            format!(
                "the template has {template_bytes} bytes; CloudFormation allows {TEMPLATE_BYTES} in a request\nhelp: give only the actions that your policies use, by `--actions`, or upload the template to a bucket and deploy it from there"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exceeded_limit_is_reported_with_help() {
        let size = Size {
            role_characters: ROLE_CHARACTERS,
            managed_characters: MANAGED_CHARACTERS,
            template_bytes: TEMPLATE_BYTES,
        };
        assert_eq!(size.excess(), None);
        let role = Size { role_characters: ROLE_CHARACTERS + 1, ..size }.excess().unwrap();
        assert!(role.contains("10241 characters") && role.contains("help: "), "{role}");
        let managed = Size { managed_characters: MANAGED_CHARACTERS + 1, ..size }.excess().unwrap();
        assert!(managed.contains("6145 characters") && managed.contains("help: "), "{managed}");
        let template = Size { template_bytes: TEMPLATE_BYTES + 1, ..size }.excess().unwrap();
        assert!(template.contains("51201 bytes") && template.contains("help: "), "{template}");
    }
}
