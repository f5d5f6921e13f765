//! Which nodes a pod may run on by its node selector and required affinity: one rule for the scheduler and for whoever
//! makes a pod for each node.

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm};

use crate::selector::{Labels, requirement};

/// The one field of a node that can be selected.
const NAME: &str = "metadata.name";

/// What is asked of a node here.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub name: &'a str,
    pub labels: &'a Labels,
}

/// Whether `nodeSelector` and the affinity's required terms both accept the node.
pub fn accepts(selector: Option<&Labels>, affinity: Option<&NodeAffinity>, node: Candidate<'_>) -> bool {
    let selected = selector.into_iter().flatten().all(|(key, value)| node.labels.get(key) == Some(value));
    selected && required(affinity).is_none_or(|terms| terms.iter().any(|term| matches(term, node)))
}

/// All requirements of a term hold; an empty term matches nothing.
pub fn matches(term: &NodeSelectorTerm, node: Candidate<'_>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let holds = |one: &NodeSelectorRequirement, found: Option<&String>| {
        requirement(&one.operator, one.values.as_deref().unwrap_or_default(), found)
    };
    let name = node.name.to_owned();
    expressions.iter().all(|one| holds(one, node.labels.get(&one.key)))
        && fields.iter().all(|one| one.key == NAME && holds(one, Some(&name)))
}

/// The only node that every required term allows, where they name one.
pub fn named(affinity: Option<&NodeAffinity>) -> Option<&str> {
    let mut names = required(affinity)?.iter().map(name_in);
    let first = names.next()??;
    names.all(|name| name == Some(first)).then_some(first)
}

fn name_in(term: &NodeSelectorTerm) -> Option<&str> {
    let mut named = term.match_fields.iter().flatten().filter(|field| field.key == NAME && field.operator == "In");
    match named.next()?.values.as_deref()? {
        [only] => Some(only),
        _ => None,
    }
}

fn required(affinity: Option<&NodeAffinity>) -> Option<&[NodeSelectorTerm]> {
    let required = affinity?.required_during_scheduling_ignored_during_execution.as_ref()?;
    Some(&required.node_selector_terms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn affinity(terms: Value) -> NodeAffinity {
        let required = json!({ "nodeSelectorTerms": terms });
        serde_json::from_value(json!({ "requiredDuringSchedulingIgnoredDuringExecution": required })).unwrap()
    }

    fn by_name(names: &[&str]) -> Value {
        json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": names}]})
    }

    #[test]
    fn terms_are_alternatives_and_their_requirements_are_not() {
        let labels = Labels::from([("disk".to_owned(), "ssd".to_owned())]);
        let node = Candidate { name: "a", labels: &labels };
        let ssd = json!({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]});
        let hdd = json!({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["hdd"]}]});
        let both = json!({"matchExpressions": ssd["matchExpressions"], "matchFields": by_name(&["b"])["matchFields"]});
        for (terms, expected) in [
            (json!([ssd]), true),
            (json!([hdd]), false),
            (json!([hdd, ssd]), true),
            (json!([by_name(&["a"])]), true),
            (json!([by_name(&["b"])]), false),
            (json!([both]), false),
            (json!([{}]), false),
        ] {
            assert_eq!(accepts(None, Some(&affinity(terms.clone())), node), expected, "{terms}");
        }
        let wanted = Labels::from([("disk".to_owned(), "hdd".to_owned())]);
        assert!(accepts(None, None, node) && accepts(Some(&labels), None, node) && !accepts(Some(&wanted), None, node));
    }

    #[test]
    fn an_affinity_names_a_node_only_when_no_other_is_left() {
        let name = |terms: Value| named(Some(&affinity(terms))).map(str::to_owned);
        assert_eq!(name(json!([by_name(&["a"])])).as_deref(), Some("a"));
        assert_eq!(name(json!([by_name(&["a"]), by_name(&["a"])])).as_deref(), Some("a"));
        assert_eq!(name(json!([by_name(&["a"]), by_name(&["b"])])), None);
        assert_eq!(name(json!([by_name(&["a", "b"])])), None);
        assert_eq!(name(json!([])), None);
        assert_eq!(named(None), None);
    }
}
