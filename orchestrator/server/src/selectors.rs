//! Label and field selectors, evaluated on the store's clear metadata: no object is decoded to be filtered.

mod labels;

use amphipod_store::Object;

use crate::kinds::Kind;
use crate::reply::Status;
use crate::route::Query;
use crate::twins;

/// What a list or watch asks for; empty matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldTerm>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTerm {
    field: String,
    value: String,
    equal: bool,
}

impl Selector {
    pub fn of(query: &Query, kind: &Kind) -> Result<Self, Status> {
        let labels = query.get("labelSelector").map_or(Ok(Vec::new()), labels::parse);
        let labels = labels.map_err(Status::bad_request)?;
        let fields = query.get("fieldSelector").map_or(Ok(Vec::new()), |text| parse_fields(text, kind))?;
        Ok(Self { labels, fields })
    }

    /// A selector of labels as `status.selector` and `matchLabels` texts have it.
    pub fn labels(text: &str) -> Result<Self, String> {
        Ok(Self { labels: labels::parse(text)?, fields: Vec::new() })
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, object: &Object) -> bool {
        self.matches_with(object, &[])
    }

    /// The same, where some fields are known better than by the object's metadata.
    pub fn matches_with(&self, object: &Object, fields: &[(String, String)]) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(object.meta.label(&requirement.key)))
            && self.fields.iter().all(|term| term.matches(object, fields))
    }

    /// Whether it asks for fields that not every object has.
    pub fn asks_fields(&self) -> bool {
        self.fields.iter().any(|term| !matches!(term.field.as_str(), "metadata.name" | "metadata.namespace"))
    }

    pub fn matches_labels(&self, labels: &[(String, String)]) -> bool {
        let find = |key: &str| labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        self.labels.iter().all(|requirement| requirement.matches(find(&requirement.key)))
    }

    /// The same, for one object only.
    pub fn and_name(mut self, name: &str) -> Self {
        let term = FieldTerm { field: "metadata.name".to_owned(), value: name.to_owned(), equal: true };
        self.fields.push(term);
        self
    }

    /// The name, when the selector asks for exactly one.
    pub fn single_name(&self) -> Option<&str> {
        let term = self.fields.iter().find(|term| term.equal && term.field == "metadata.name")?;
        Some(&term.value)
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|unwanted| unwanted != value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Greater(bound) => number().is_some_and(|number| number > *bound),
            Test::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl FieldTerm {
    fn matches(&self, object: &Object, known: &[(String, String)]) -> bool {
        let value = match self.field.as_str() {
            "metadata.name" => object.key.name(),
            "metadata.namespace" => object.key.namespace(),
            field => match known.iter().find(|(label, _)| label == field) {
                Some((_, value)) => value,
                None => object.meta.field(field).unwrap_or_default(),
            },
        };
        (value == self.value) == self.equal
    }
}

fn parse_fields(text: &str, kind: &Kind) -> Result<Vec<FieldTerm>, Status> {
    let mut terms = Vec::new();
    for term in split_terms(text) {
        let (field, value, equal) = if let Some((field, value)) = term.split_once("!=") {
            (field, value, false)
        } else if let Some((field, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (field, value, true)
        } else {
            return Err(Status::bad_request(format!("invalid selector: '{text}'; can't understand '{term}'")));
        };
        let known = matches!(field, "metadata.name" | "metadata.namespace") || kind.field_labels.contains(&field);
        if !known {
            return Err(Status::bad_request(format!("field label not supported: {field}")));
        }
        let field = twins::hub_label(kind, field);
        terms.push(FieldTerm { field, value: unescaped(value), equal });
    }
    Ok(terms)
}

/// Commas part terms unless a backslash stands before them.
fn split_terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        let last = terms.len() - 1;
        match c {
            ',' if !escaped => terms.push(String::new()),
            c => terms[last].push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    terms.retain(|term| !term.is_empty());
    terms
}

fn unescaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, labels: &[(&str, &str)], expected: bool) {
        let labels: Vec<_> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(Selector::labels(selector).unwrap().matches_labels(&labels), expected, "{selector} on {labels:?}");
    }

    #[test]
    fn every_form_of_label_selector() {
        let web = &[("app", "web"), ("n", "5")];
        check("", web, true);
        check("app=web", web, true);
        check("app == web", web, true);
        check("app!=web", web, false);
        check("gone!=web", web, true);
        check("app in (api, web),n", web, true);
        check("app notin (api,web)", web, false);
        check("!gone", web, true);
        check("!app", web, false);
        check("n>4,n<6", web, true);
        check("n in (,5)", web, true);
        check("n in ()", web, false);
        check("app=", &[("app", "")], true);
        check("in in (in),in=in", &[("in", "in")], true);
        check("example.com/x", &[("example.com/x", "")], true);
    }

    /// Every text of up to five of the words that selectors are made of.
    #[test]
    fn no_text_makes_the_parsers_panic() {
        const WORDS: [&str; 12] = ["a", "=", "!=", "==", " in ", "notin", "(", ")", ",", "!", ">9", "\u{e9}"];
        let pods = crate::kinds::KINDS.iter().find(|kind| kind.kind == "Pod").unwrap();
        for mut number in 0..WORDS.len().pow(5) {
            let mut text = String::new();
            while number > 0 {
                text.push_str(WORDS[number % WORDS.len()]);
                number /= WORDS.len();
            }
            if let Ok(selector) = Selector::labels(&text) {
                selector.matches_labels(&[("a".to_owned(), "a".to_owned())]);
            }
            let _ = parse_fields(&text, pods);
        }
    }
}
