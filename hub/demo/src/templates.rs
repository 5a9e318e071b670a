//! Deploys the repository's own templates into the simulated organization: none of its
//! roles, queues, buses, rules and tables is created by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use firebreak_simulation::Organization;
use firebreak_simulation::cloudformation::{Place, Template, stack};

use super::world::{EXTERNAL_ID, HOME, HUB, MANAGEMENT, ORGANIZATION, REGIONS};

/// The role of the people who push policies, approve and undo.
pub const OPERATOR_ROLE: &str = "FirebreakOperators";

/// The Region with the events of AWS Organizations.
pub const GLOBAL: &str = "us-east-1";

/// A template of the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// The function, its queues and its table.
    Hub,
    /// The hub's alarms and its dashboard.
    Monitoring,
    /// Forwards the findings of one Region of the hub's account.
    Region,
    /// Forwards account events.
    Management,
    /// The role in every account.
    Spoke,
}

impl Stack {
    /// In the order of deployment.
    pub const ALL: [Self; 5] =
        [Self::Hub, Self::Monitoring, Self::Region, Self::Management, Self::Spoke];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hub => "firebreak-hub",
            Self::Monitoring => "firebreak-monitoring",
            Self::Region => "firebreak-region",
            Self::Management => "firebreak-management",
            Self::Spoke => "firebreak-spoke",
        }
    }

    pub fn template(self) -> &'static Arc<Template> {
        macro_rules! template {
            ($file:literal) => {{
                static TEMPLATE: LazyLock<Arc<Template>> = LazyLock::new(|| {
                    read_template($file, include_str!(concat!("../../../", $file)))
                });
                &TEMPLATE
            }};
        }
        match self {
            Self::Hub => template!("stacksets/hub.yaml"),
            Self::Monitoring => template!("stacksets/monitoring.yaml"),
            Self::Region => template!("stacksets/region.yaml"),
            Self::Management => template!("stacksets/management.yaml"),
            Self::Spoke => template!("stacksets/spoke.yaml"),
        }
    }

    /// The parameters without default values, and those with other values.
    pub fn parameters(self) -> BTreeMap<String, String> {
        let bus = format!("arn:aws:events:{HOME}:{HUB}:event-bus/firebreak");
        let given: &[(&str, &str)] = match self {
            Self::Hub => &[
                ("OrganizationId", ORGANIZATION),
                ("ManagementAccountId", MANAGEMENT),
                ("ExternalId", EXTERNAL_ID),
                ("CodeBucket", "firebreak-code"),
                ("CodeKey", "firebreak.zip"),
                ("AggregatorRegion", HOME),
                ("ArchiveResolved", "true"),
            ],
            Self::Monitoring => &[],
            Self::Region => &[("HubBusArn", &bus), ("AggregatorRegion", HOME)],
            Self::Management => &[("HubBusArn", &bus)],
            Self::Spoke => &[
                ("HubAccountId", HUB),
                ("OrganizationId", ORGANIZATION),
                ("ExternalId", EXTERNAL_ID),
                ("OperatorRole", OPERATOR_ROLE),
            ],
        };
        given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Creates the stack in an account and Region, after deleting a present one.
    ///
    /// # Panics
    ///
    /// If the simulation rejects the template: a test deploys each.
    #[expect(clippy::panic, reason = "the templates are the repository's own: a test deploys each")]
    pub fn deploy(self, organization: &Organization, account: &str, region: &str) {
        let place = Place { account, region, now: organization.now() };
        organization.edit(|state| {
            stack::delete(state, place, self.name());
            let made =
                stack::deploy(state, place, self.name(), self.template(), &self.parameters());
            made.unwrap_or_else(|refusal| panic!("{refusal}"));
        });
    }
}

#[expect(clippy::panic, reason = "the templates are the repository's own: a test reads each")]
fn read_template(name: &str, text: &str) -> Arc<Template> {
    Arc::new(Template::read(name, text).unwrap_or_else(|refusal| panic!("{refusal}")))
}

/// Deploys the stacks of the hub's account and the management account.
pub(super) fn deploy_all(organization: &Organization) {
    Stack::Hub.deploy(organization, HUB, HOME);
    Stack::Monitoring.deploy(organization, HUB, HOME);
    for region in REGIONS {
        Stack::Region.deploy(organization, HUB, region);
    }
    Stack::Management.deploy(organization, MANAGEMENT, GLOBAL);
}
