//! Label selectors as Kubernetes matches them: an absent selector matches nothing, an empty one everything.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels as objects carry them.
pub type Labels = BTreeMap<String, String>;

/// Whether labels fulfil `matchLabels` and `matchExpressions`. An unknown operator matches nothing.
pub fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let none = Labels::new();
    let labels = labels.unwrap_or(&none);
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|term| {
            let values = term.values.as_deref().unwrap_or_default();
            requirement(&term.operator, values, labels.get(&term.key))
        })
}

/// Whether all pairs are among the labels; the plain selector of Services and ReplicationControllers.
pub fn matches_pairs(selector: &Labels, labels: Option<&Labels>) -> bool {
    selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// One requirement of a label or node selector against the value found, if any.
pub fn requirement(operator: &str, values: &[String], found: Option<&String>) -> bool {
    match operator {
        "In" => found.is_some_and(|value| values.contains(value)),
        "NotIn" => found.is_none_or(|value| !values.contains(value)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compared(values, found).is_some_and(|(found, wanted)| found > wanted),
        "Lt" => compared(values, found).is_some_and(|(found, wanted)| found < wanted),
        _ => false,
    }
}

fn compared(values: &[String], found: Option<&String>) -> Option<(i64, i64)> {
    Some((found?.parse().ok()?, values.first()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_match_as_upstream_does() {
        let values = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let cases = [
            ("In", "a,b", Some("b"), true),
            ("In", "a,b", None, false),
            ("NotIn", "a", None, true),
            ("NotIn", "a", Some("a"), false),
            ("Exists", "", Some(""), true),
            ("DoesNotExist", "", Some(""), false),
            ("Gt", "3", Some("10"), true),
            ("Lt", "3", Some("10"), false),
            ("Gt", "3", Some("x"), false),
            ("Odd", "3", Some("3"), false),
        ];
        for (operator, wanted, found, expected) in cases {
            let found = found.map(str::to_owned);
            assert_eq!(
                requirement(operator, &values(wanted), found.as_ref()),
                expected,
                "{operator} {wanted} {found:?}"
            );
        }
    }
}
