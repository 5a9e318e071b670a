//! The keys of a file of policy tests.

use super::super::decision::PolicyOutcome;
use super::{Key, Shape};

const fn key(name: &'static str, about: &'static str, shape: Shape) -> Key {
    Key { name, required: false, about, shape }
}

const fn required(name: &'static str, about: &'static str, shape: Shape) -> Key {
    Key { name, required: true, about, shape }
}

/// The keys of the file.
pub(crate) const SUITE: &[Key] = &[
    key("version", "The version of this form: 1.", Shape::Version),
    required("tests", "The tests.", Shape::Maps(CASE)),
];

/// The keys of a test.
pub(crate) const CASE: &[Key] = &[
    required("name", "What has to hold, in words.", Shape::Text),
    required("given", "A finding at a place.", Shape::Map(GIVEN)),
    required(
        "expect",
        "What has to be decided; what is left out may be anything.",
        Shape::Map(EXPECT),
    ),
];

/// The keys under `given`.
pub(crate) const GIVEN: &[Key] = &[
    required(
        "finding",
        "A file, relative to this one, in any form in which findings arrive; or the fields of a finding.",
        Shape::TextOrMap(FINDING),
    ),
    key("target", "Which of the finding's resources is meant, by a part of its ARN.", Shape::Text),
    key("account", "Decide as if the resource were in this account.", Shape::Text),
    key(
        "ou-path",
        "Where the account is, the root's id first; without it directly below the root.",
        Shape::Text,
    ),
    key("tags", "The resource's present tags, instead of the finding's.", Shape::Tags),
];

/// The keys of a finding whose fields stand in the test.
pub(crate) const FINDING: &[Key] = &[
    required("type", "The finding type.", Shape::Text),
    required("severity", "On GuardDuty's scale, 0.0 to 10.0.", Shape::Number),
    required("resource", "The resource that it names.", Shape::Map(RESOURCE)),
    key("title", "The finding's title.", Shape::Text),
    key("product", "GuardDuty, or the product's name.", Shape::Text),
    key("region", "The Region; without it us-east-1.", Shape::Text),
    key("sample", "Whether it was generated for trying things out.", Shape::Bool),
    key("archived", "Whether it is archived or suppressed.", Shape::Bool),
    key("detail", "The finding as its service wrote it.", Shape::Anything),
];

/// The keys of its resource.
pub(crate) const RESOURCE: &[Key] = &[
    required(
        "type",
        "Instance, AccessKey, User, Role, S3Bucket, or the service's name for it.",
        Shape::Text,
    ),
    key("id", "Instance id, access key id, or the name of a user, role or bucket.", Shape::Text),
    key("role", "ACTOR or TARGET.", Shape::OneOf(|| vec!["ACTOR", "TARGET"])),
    key("principal", "Of an access key: whose credentials they are.", Shape::Map(PRINCIPAL)),
];

/// The keys of an access key's principal.
pub(crate) const PRINCIPAL: &[Key] = &[
    required("type", "IAMUser, AssumedRole, Root, FederatedUser, …", Shape::Text),
    key("name", "The user's or role's name.", Shape::Text),
    key("id", "The unique id, AIDA… or AROA…:session.", Shape::Text),
];

/// The keys under `expect`.
pub(crate) const EXPECT: &[Key] = &[
    key(
        "outcome",
        "How the decision comes out.",
        Shape::OneOf(|| PolicyOutcome::ALL.map(PolicyOutcome::name).to_vec()),
    ),
    key("mode", "How far, after all ceilings.", Shape::Mode),
    key("actions", "What is done, in order; without parameters any will do.", Shape::Actions),
    key("rule", "The rule that decides, or none.", Shape::Text),
    key("document", "Where the document of that rule is attached.", Shape::Text),
];
