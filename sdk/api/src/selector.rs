//! Label selectors as Kubernetes matches them: an absent selector matches nothing, an empty one everything.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

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

/// A selector as `status.selector` of a scale and queries write it: `a=b,c!=d,e in (f,g),h,!i`.
///
/// # Errors
/// The term that is none.
pub fn parse(text: &str) -> Result<LabelSelector, String> {
    let (mut terms, mut depth) = (vec![String::new()], 0_usize);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (c, depth) {
            (',', 0) => terms.push(String::new()),
            _ => terms.last_mut().expect("there is always one").push(c),
        }
    }
    let terms = terms.iter().map(|term| term.trim()).filter(|term| !term.is_empty());
    let terms = terms.map(|term| parse_term(term).ok_or_else(|| format!("unable to parse requirement: {term}")));
    Ok(LabelSelector { match_expressions: Some(terms.collect::<Result<_, _>>()?), match_labels: None })
}

fn parse_term(term: &str) -> Option<LabelSelectorRequirement> {
    let made = |key: &str, operator: &str, values: Vec<String>| {
        let (key, operator) = (key.trim().to_owned(), operator.to_owned());
        let is_key = !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || "=!(),".contains(c));
        is_key.then_some(LabelSelectorRequirement { key, operator, values: Some(values) })
    };
    if let Some((head, list)) = term.strip_suffix(')').and_then(|term| term.split_once('(')) {
        let values = list.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, word) = head.trim().rsplit_once(char::is_whitespace)?;
        return match word {
            "in" => made(key, "In", values),
            "notin" => made(key, "NotIn", values),
            _ => None,
        };
    }
    if let Some((key, value)) = term.split_once("!=") {
        return made(key, "NotIn", vec![value.trim().to_owned()]);
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return made(key, "In", vec![value.trim().to_owned()]);
    }
    match term.strip_prefix('!') {
        Some(key) => made(key, "DoesNotExist", Vec::new()),
        None => made(term, "Exists", Vec::new()),
    }
}

fn compared(values: &[String], found: Option<&String>) -> Option<(i64, i64)> {
    Some((found?.parse().ok()?, values.first()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_selector_is_read() {
        let check = |selector: &str, labels: &str| {
            let pairs = labels.split(' ').filter_map(|pair| pair.split_once('='));
            let labels: Labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            parse(selector).map(|selector| matches(&selector, Some(&labels)))
        };
        assert_eq!(check("", "a=b"), Ok(true));
        assert_eq!(check("a=b,c!=d", "a=b"), Ok(true));
        assert_eq!(check("a==b , c notin (d, e)", "a=b c=e"), Ok(false));
        assert_eq!(check("x.y/a in (b,c),!d,e", "x.y/a=c e=1"), Ok(true));
        assert_eq!(check("!a", "a=b"), Ok(false));
        assert!(check("a near (b)", "").is_err() && check("a b", "").is_err() && check("=b", "").is_err());
    }

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
