//! The keys of a document.

use super::super::budget::CountedBy;
use super::super::document::{Extends, Otherwise};
use super::{Key, Shape};

/// The keys of a document.
pub(crate) const DOCUMENT: &[Key] = &[
    Key {
        name: "version",
        required: false,
        about: "The version of this form: 1.",
        shape: Shape::Version,
    },
    Key {
        name: "attach",
        required: true,
        about: "The id of the root (r-…), of an OU (ou-…), or of an account.",
        shape: Shape::Attach,
    },
    Key {
        name: "ceiling",
        required: false,
        about: "The strongest mode allowed here and below.",
        shape: Shape::Mode,
    },
    Key {
        name: "protect",
        required: false,
        about: "What is never touched here and below.",
        shape: Shape::Map(PROTECT),
    },
    Key {
        name: "budgets",
        required: false,
        about: "How much may be done here and below within a window of time, counted together.",
        shape: Shape::Maps(BUDGET),
    },
    Key {
        name: "extends",
        required: false,
        about: "Whether the rules above are looked at where none here matches: parent (the default) or none. Ceilings, protections and budgets above hold in any case.",
        shape: Shape::OneOf(|| Extends::ALL.map(Extends::name).to_vec()),
    },
    Key {
        name: "rules",
        required: false,
        about: "In order: the first that matches decides.",
        shape: Shape::Maps(RULE),
    },
];

/// The keys under `protect`.
pub(crate) const PROTECT: &[Key] = &[
    Key {
        name: "tags",
        required: false,
        about: "Resources that have all tags of one of these sets; * stands for any text.",
        shape: Shape::TagSets,
    },
    Key {
        name: "principals",
        required: false,
        about: "Users and roles, by ARN pattern; * stands for any text.",
        shape: Shape::Texts,
    },
    Key {
        name: "resources",
        required: false,
        about: "Resources, by ARN pattern; * stands for any text.",
        shape: Shape::Texts,
    },
    Key { name: "accounts", required: false, about: "Account ids.", shape: Shape::Texts },
];

/// The keys of a budget.
pub(crate) const BUDGET: &[Key] = &[
    Key {
        name: "actions",
        required: true,
        about: "How many actions may be carried out without a person's approval.",
        shape: Shape::Count,
    },
    Key {
        name: "per",
        required: true,
        about: "The window, which slides: from 1m to 30d.",
        shape: Shape::Window,
    },
    Key {
        name: "by",
        required: false,
        about: "Gives each account, OU, action or rule below a budget of its own; without it all share one.",
        shape: Shape::OneOf(|| CountedBy::ALL.map(CountedBy::name).to_vec()),
    },
];

/// The keys under `approve`.
pub(crate) const APPROVE: &[Key] = &[
    Key {
        name: "within",
        required: false,
        about: "How long a plan waits for a person: from 1m to 30d.",
        shape: Shape::Window,
    },
    Key {
        name: "otherwise",
        required: false,
        about: "What happens then: notify (send the request again and wait on, the default), act, or deny.",
        shape: Shape::OneOf(|| Otherwise::ALL.map(Otherwise::name).to_vec()),
    },
    Key {
        name: "approvers",
        required: false,
        about: "Who approves, in words for whoever reads the notice.",
        shape: Shape::Text,
    },
];

/// The keys of a rule.
pub(crate) const RULE: &[Key] = &[
    Key {
        name: "name",
        required: true,
        about: "Unique in its document; responses are kept under it.",
        shape: Shape::Text,
    },
    Key {
        name: "when",
        required: false,
        about: "An EventBridge event pattern over the finding and its target; without one the rule matches everything.",
        shape: Shape::Pattern,
    },
    Key { name: "mode", required: true, about: "How far the rule goes.", shape: Shape::Mode },
    Key {
        name: "then",
        required: false,
        about: "Actions: a name, or a name with its parameters.",
        shape: Shape::Actions,
    },
    Key {
        name: "approve",
        required: false,
        about: "How approval goes, where the mode is approve or a guardrail lowers it to that.",
        shape: Shape::Map(APPROVE),
    },
    Key {
        name: "expires",
        required: false,
        about: "After which time the containment is undone: from 1m to 30d.",
        shape: Shape::Window,
    },
    Key {
        name: "confirm",
        required: false,
        about: "Whether the finding is fetched from its service and compared before the first change: true unless it says false.",
        shape: Shape::Bool,
    },
    Key {
        name: "irreversible",
        required: false,
        about: "Lets actions run that cannot be undone.",
        shape: Shape::Allow,
    },
];
