//! Which group is preferred for a name that several have, and which version of a group: upstream's numbers.

use crate::aggregation::CUSTOM_PRIORITY;

/// Higher comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority {
    pub group: i64,
    pub version: i64,
}

/// The group that says all this stands before what it says.
const FIRST: (&str, Priority) = ("apiregistration.k8s.io", Priority { group: 20_001, version: 1 });

/// `(group, version, group's priority, version's priority)` of what is built in.
pub const PRIORITIES: [(&str, &str, i64, i64); 24] = [
    ("", "v1", 18_000, 1),
    ("apps", "v1", 17_800, 15),
    ("events.k8s.io", "v1", 17_750, 15),
    ("authentication.k8s.io", "v1", 17_700, 15),
    ("authorization.k8s.io", "v1", 17_600, 15),
    ("autoscaling", "v1", 17_500, 15),
    ("autoscaling", "v2", 17_500, 30),
    ("batch", "v1", 17_400, 15),
    ("certificates.k8s.io", "v1", 17_300, 15),
    ("networking.k8s.io", "v1", 17_200, 15),
    ("policy", "v1", 17_100, 15),
    ("rbac.authorization.k8s.io", "v1", 17_000, 15),
    ("storage.k8s.io", "v1", 16_800, 15),
    ("apiextensions.k8s.io", "v1", 16_700, 15),
    ("admissionregistration.k8s.io", "v1", 16_700, 15),
    ("scheduling.k8s.io", "v1", 16_600, 15),
    ("coordination.k8s.io", "v1", 16_500, 15),
    ("node.k8s.io", "v1", 16_300, 15),
    ("discovery.k8s.io", "v1", 16_200, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16_100, 21),
    ("resource.k8s.io", "v1", 15_900, 20),
    ("storagemigration.k8s.io", "v1", 15_800, 15),
    ("metrics.k8s.io", "v1", 15_700, 15),
    ("metrics.k8s.io", "v1beta1", 15_700, 9),
];

/// Of a group and version that is served here; those of custom kinds have one for all.
pub fn priority(group: &str, version: &str) -> Priority {
    if group == FIRST.0 {
        return FIRST.1;
    }
    let found = PRIORITIES.iter().find(|one| (one.0, one.1) == (group, version));
    found.map_or(CUSTOM_PRIORITY, |one| Priority { group: one.2, version: one.3 })
}
