//! The GuardDuty finding types in use, with the resources that they name and their
//! default severities (all of them, if they vary). Source: GuardDuty user guide,
//! "GuardDuty finding types", autumn 2026.

/// One finding type.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingType {
    /// Its name, such as `Recon:EC2/Portscan`.
    pub name: &'static str,
    /// The types of the resources that it names, as policies call them.
    pub resource_types: Vec<&'static str>,
    /// Its default severities on GuardDuty's scale, one within each level.
    pub severities: Vec<f64>,
}

/// The groups of finding types: by the resources that they are about. Runtime
/// monitoring is a group of its own, because it names all of them.
pub const FAMILIES: [&str; 9] =
    ["EC2", "IAM", "S3", "EKS", "ECS", "RDS", "Lambda", "Runtime", "other"];

impl FindingType {
    /// Its family, one of [`FAMILIES`]: by the part of its name between the colon and
    /// the slash.
    pub fn family(&self) -> &'static str {
        let about = self.name.split_once(':').and_then(|(_, rest)| rest.split_once('/'));
        match about.map(|(about, _)| about) {
            Some("EC2") => "EC2",
            Some("IAM" | "IAMUser" | "RolesAnywhere") => "IAM",
            Some("S3") => "S3",
            Some("EKS" | "Kubernetes") => "EKS",
            Some("ECS" | "Container") => "ECS",
            Some("RDS") => "RDS",
            Some("Lambda") => "Lambda",
            Some("Runtime") => "Runtime",
            Some(_) | None => "other",
        }
    }
}

/// Every type, by name.
pub fn all() -> Vec<FindingType> {
    include_str!("finding_types.txt").lines().filter_map(parse_line).collect()
}

/// `None` for a comment.
fn parse_line(line: &'static str) -> Option<FindingType> {
    let mut parts = line.split(' ');
    let (name, resources, levels) = (parts.next()?, parts.next()?, parts.next()?);
    if name == "#" {
        return None;
    }
    let severities = levels.split(',').filter_map(|level| match level {
        "low" => Some(2.0),
        "medium" => Some(5.0),
        "high" => Some(8.0),
        "critical" => Some(9.0),
        _ => None,
    });
    Some(FindingType {
        name,
        resource_types: resources.split(',').collect(),
        severities: severities.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_finding_type() {
        let all = all();
        assert_eq!(all.len(), include_str!("finding_types.txt").lines().count() - 1);
        for finding_type in &all {
            assert!(finding_type.name.contains(':'), "{finding_type:?}");
            assert!(!finding_type.resource_types.is_empty(), "{finding_type:?}");
            assert!(!finding_type.severities.is_empty(), "{finding_type:?}");
            assert!(FAMILIES.contains(&finding_type.family()), "{finding_type:?}");
        }
        let unknown = all.iter().filter(|it| it.family() == "other").count();
        assert!((1..10).contains(&unknown), "{unknown}");
        let used = |family: &&str| all.iter().any(|it| it.family() == *family);
        assert!(FAMILIES.iter().all(used));
        assert!(all.is_sorted_by(|one, other| one.name < other.name));
    }
}
