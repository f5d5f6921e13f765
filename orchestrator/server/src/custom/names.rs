//! Whether a definition gets the names it asks for: within a group each name means one thing, and who had it first keeps
//! it. Pure: from all definitions to what their statuses should say.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::kinds::custom_resource_definition::{APPROVAL, condition, is_approval, is_protected};
use crate::kinds::json::{is_empty, items, set, text};

/// All definitions by name.
pub type Definitions = BTreeMap<String, Value>;

/// The definition with the status it should have; `None` when it has it already. `time` is RFC 3339.
pub fn settled(name: &str, all: &Definitions, time: &str) -> Option<Value> {
    let definition = all.get(name)?;
    let mut new = definition.clone();
    let (accepted, verdict) = accepted_names(definition, all);
    set(&mut new["status"], "acceptedNames", accepted);
    put_condition(&mut new, verdict, time);
    let is_accepted = condition(&new, "NamesAccepted").is_some_and(|verdict| verdict["status"] == "True");
    let was = condition(definition, "Established").map(|established| established["status"] == "True");
    // Once established it stays so, whatever becomes of its names.
    let established = if is_accepted || was == Some(true) {
        json!({ "type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "the initial names have been accepted" })
    } else {
        json!({ "type": "Established", "status": "False", "reason": "NotAccepted", "message": "not all names are accepted" })
    };
    put_condition(&mut new, established, time);
    if let Some(approval) = approval(definition) {
        put_condition(&mut new, approval, time);
    }
    (new != *definition).then_some(new)
}

/// Sets a condition; its time moves only with its status.
pub fn put_condition(definition: &mut Value, mut wanted: Value, time: &str) {
    let list = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let at = list.iter().position(|condition| condition["type"] == wanted["type"]);
    let since = at.map(|at| &list[at]).filter(|before| before["status"] == wanted["status"]);
    wanted["lastTransitionTime"] = since.map_or_else(|| time.into(), |before| before["lastTransitionTime"].clone());
    let mut list = list;
    match at {
        Some(at) => list[at] = wanted,
        None => list.push(wanted),
    }
    set(&mut definition["status"], "conditions", list.into());
}

fn accepted_names(definition: &Value, all: &Definitions) -> (Value, Value) {
    let (wanted, have) = (&definition["spec"]["names"], &definition["status"]["acceptedNames"]);
    let taken = taken(definition, all);
    let mut accepted = have.clone();
    let mut refusals: Vec<(&'static str, String)> = Vec::new();
    let mut take = |field: &'static str, reason: &'static str, space: &HashMap<String, String>| {
        let name = text(&wanted[field]);
        match space.get(name) {
            Some(_) if !name.is_empty() => refusals.push((reason, format!("{name:?} is already in use"))),
            _ => set_or_drop(&mut accepted, field, wanted[field].clone()),
        }
    };
    take("plural", "PluralConflict", &taken.resources);
    take("singular", "SingularConflict", &taken.resources);
    take("kind", "KindConflict", &taken.kinds);
    take("listKind", "ListKindConflict", &taken.kinds);
    let short: Vec<&str> = items(&wanted["shortNames"]).iter().map(text).collect();
    let clashes: Vec<String> = short
        .iter()
        .filter(|name| taken.resources.contains_key(**name))
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    if clashes.is_empty() {
        set_or_drop(&mut accepted, "shortNames", wanted["shortNames"].clone());
    } else {
        refusals.push(("ShortNamesConflict", joined(&clashes)));
    }
    set_or_drop(&mut accepted, "categories", wanted["categories"].clone());
    let verdict = match refusals.last() {
        None => {
            json!({ "type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found" })
        }
        Some((reason, message)) => {
            json!({ "type": "NamesAccepted", "status": "False", "reason": reason, "message": message })
        }
    };
    (accepted, verdict)
}

fn joined(texts: &[String]) -> String {
    if let [one] = texts { one.clone() } else { format!("[{}]", texts.join(", ")) }
}

fn set_or_drop(names: &mut Value, field: &str, value: Value) {
    if is_empty(&value) {
        if let Some(names) = names.as_object_mut() {
            names.remove(field);
        }
    } else {
        set(names, field, value);
    }
}

/// Names that others of the group have.
#[derive(Default)]
struct Taken {
    resources: HashMap<String, String>,
    kinds: HashMap<String, String>,
}

fn taken(definition: &Value, all: &Definitions) -> Taken {
    let mut taken = Taken::default();
    let own = &definition["metadata"]["name"];
    let others = all.iter().filter(|(_, other)| {
        other["spec"]["group"] == definition["spec"]["group"] && other["metadata"]["name"] != *own
    });
    for (name, other) in others {
        let names = &other["status"]["acceptedNames"];
        let resources = ["plural", "singular"].into_iter().map(|field| text(&names[field]));
        for word in resources.chain(items(&names["shortNames"]).iter().map(text)).filter(|word| !word.is_empty()) {
            taken.resources.insert(word.to_owned(), name.clone());
        }
        for word in ["kind", "listKind"].into_iter().map(|field| text(&names[field])).filter(|word| !word.is_empty()) {
            taken.kinds.insert(word.to_owned(), name.clone());
        }
    }
    taken
}

fn approval(definition: &Value) -> Option<Value> {
    if !is_protected(text(&definition["spec"]["group"])) {
        return None;
    }
    let said = text(&definition["metadata"]["annotations"][APPROVAL]);
    let (status, reason, message) = match said {
        "" => (
            "False",
            "MissingAnnotation",
            format!(
                "protected groups must have approval annotation \"{APPROVAL}\", see https://github.com/kubernetes/enhancements/pull/1111"
            ),
        ),
        said if said.starts_with("unapproved") => ("False", "UnapprovedAnnotation", format!("not approved: {said:?}")),
        said if is_approval(said) => ("True", "ApprovedAnnotation", format!("approved in {said}")),
        said => (
            "False",
            "InvalidAnnotation",
            format!(
                "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111: {said:?}"
            ),
        ),
    };
    let kind = "KubernetesAPIApprovalPolicyConformant";
    Some(json!({ "type": kind, "status": status, "reason": reason, "message": message }))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        json!({
            "metadata": { "name": format!("{plural}.example.com") },
            "spec": {
                "group": "example.com",
                "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"), "shortNames": short },
            },
            "status": { "acceptedNames": { "plural": "", "kind": "" }, "conditions": [] },
        })
    }

    fn check(definitions: Vec<Value>, name: &str, expected: Expect) {
        let all: Definitions =
            definitions.into_iter().map(|one| (text(&one["metadata"]["name"]).to_owned(), one)).collect();
        let new = settled(&format!("{name}.example.com"), &all, "T").expect("something changes");
        let said: Vec<String> = items(&new["status"]["conditions"])
            .iter()
            .map(|one| {
                format!(
                    "{}={} {}: {}",
                    text(&one["type"]),
                    text(&one["status"]),
                    text(&one["reason"]),
                    text(&one["message"])
                )
            })
            .collect();
        expected.assert_eq(&format!("{}\n{}", new["status"]["acceptedNames"], said.join("\n")));
    }

    #[test]
    fn free_names_are_accepted() {
        check(
            vec![definition("widgets", "Widget", &["w"])],
            "widgets",
            expect![[r#"
                {"kind":"Widget","listKind":"WidgetList","plural":"widgets","shortNames":["w"],"singular":"widget"}
                NamesAccepted=True NoConflicts: no conflicts found
                Established=True InitialNamesAccepted: the initial names have been accepted"#]],
        );
    }

    #[test]
    fn a_kind_in_use_is_refused_and_nothing_is_established() {
        let mut first = definition("gadgets", "Widget", &[]);
        first["status"]["acceptedNames"] = first["spec"]["names"].clone();
        check(
            vec![first, definition("widgets", "Widget", &["w"])],
            "widgets",
            expect![[r#"
                {"kind":"","plural":"widgets","shortNames":["w"]}
                NamesAccepted=False ListKindConflict: "WidgetList" is already in use
                Established=False NotAccepted: not all names are accepted"#]],
        );
    }

    #[test]
    fn what_is_settled_stays() {
        let all: Definitions = [("widgets.example.com".to_owned(), definition("widgets", "Widget", &[]))].into();
        let settled_once = settled("widgets.example.com", &all, "T").expect("something changes");
        let all: Definitions = [("widgets.example.com".to_owned(), settled_once)].into();
        assert!(settled("widgets.example.com", &all, "U").is_none());
    }
}
