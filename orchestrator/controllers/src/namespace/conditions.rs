//! Why a namespace is still there: upstream's five conditions. Its neighbour `namespace` writes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Left;

/// Type, and reason and message when nothing is wrong.
const FINE: &[(&str, &str, &str)] = &[
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    (CONTENT_FAILURE, "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
    (CONTENT_REMAINING, "ContentRemoved", "All content successfully removed"),
    (FINALIZERS_REMAINING, "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
];
const CONTENT_FAILURE: &str = "NamespaceDeletionContentFailure";
const CONTENT_REMAINING: &str = "NamespaceContentRemaining";
const FINALIZERS_REMAINING: &str = "NamespaceFinalizersRemaining";

/// The status with the conditions that tell what is left; a condition that stays keeps its time.
pub fn with_conditions(before: &NamespaceStatus, left: &[Left], now: Timestamp) -> NamespaceStatus {
    let old = before.conditions.as_deref().unwrap_or_default();
    let conditions = FINE.iter().map(|(kind, reason, message)| {
        let trouble = trouble(kind, left);
        let status = if trouble.is_some() { "True" } else { "False" };
        let (reason, message) = trouble.unwrap_or_else(|| (*reason, (*message).to_owned()));
        let same = old.iter().find(|old| old.type_ == *kind && old.status == status);
        NamespaceCondition {
            type_: (*kind).to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: same.and_then(|old| old.last_transition_time.clone()).or(Some(Time(now))),
        }
    });
    let foreign = old.iter().filter(|old| FINE.iter().all(|(kind, ..)| old.type_ != *kind)).cloned();
    NamespaceStatus { conditions: Some(conditions.chain(foreign).collect()), ..before.clone() }
}

fn trouble(kind: &str, left: &[Left]) -> Option<(&'static str, String)> {
    let (reason, begin, parts, separator) = match kind {
        CONTENT_FAILURE => {
            let errors: Vec<String> = left.iter().filter_map(|left| left.error.clone()).collect();
            let begin = format!("Failed to delete all resource types, {} remaining: ", errors.len());
            ("ContentDeletionFailed", begin, errors, ", ")
        }
        CONTENT_REMAINING => {
            let some = left.iter().filter(|left| left.count > 0);
            let parts = some.map(|left| format!("{} has {} resource instances", left.resource, left.count));
            ("SomeResourcesRemain", "Some resources are remaining: ".to_owned(), parts.collect(), ", ")
        }
        FINALIZERS_REMAINING => {
            let mut all: BTreeMap<&str, usize> = BTreeMap::new();
            for (finalizer, count) in left.iter().flat_map(|left| &left.finalizers) {
                *all.entry(finalizer).or_default() += count;
            }
            let parts = all.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"));
            (
                "SomeFinalizersRemain",
                "Some content in the namespace has finalizers remaining: ".to_owned(),
                parts.collect(),
                ", ",
            )
        }
        _ => return None,
    };
    let mut parts: Vec<String> = parts;
    parts.sort();
    (!parts.is_empty()).then(|| (reason, begin + &parts.join(separator)))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(left: &[Left], expected: Expect) {
        let now = Timestamp::from_second(0).expect("in range");
        let first = with_conditions(&NamespaceStatus::default(), left, now);
        let later = with_conditions(&first, left, Timestamp::from_second(60).expect("in range"));
        assert_eq!(first, later, "what stays keeps its time");
        let said: Vec<_> =
            first.conditions.into_iter().flatten().filter(|condition| condition.status == "True").collect();
        let lines = said.iter().map(|condition| {
            format!(
                "{}: {}: {}",
                condition.type_,
                condition.reason.as_deref().unwrap(),
                condition.message.as_deref().unwrap()
            )
        });
        expected.assert_eq(&lines.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_namespace_says_what_holds_it() {
        let pods = Left { resource: "pods.".into(), count: 2, ..Left::default() };
        let held = Left {
            resource: "deployments.apps".into(),
            count: 1,
            finalizers: [("a/b".to_owned(), 1)].into(),
            error: None,
        };
        let refused = Left { resource: "secrets.".into(), error: Some("no".into()), ..Left::default() };
        check(&[], expect![""]);
        check(
            std::slice::from_ref(&pods),
            expect![
                "NamespaceContentRemaining: SomeResourcesRemain: Some resources are remaining: pods. has 2 resource instances"
            ],
        );
        check(
            &[pods, held, refused],
            expect![[r#"
            NamespaceDeletionContentFailure: ContentDeletionFailed: Failed to delete all resource types, 1 remaining: no
            NamespaceContentRemaining: SomeResourcesRemain: Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances
            NamespaceFinalizersRemaining: SomeFinalizersRemain: Some content in the namespace has finalizers remaining: a/b in 1 resource instances"#]],
        );
    }
}
