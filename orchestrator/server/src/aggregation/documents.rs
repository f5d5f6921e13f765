//! What a remote server says that it serves: an APIResourceList, turned into what aggregated discovery shows.

use serde_json::{Value, json};

use crate::kinds::json::{is_empty, items, text};

/// The resources of a group and version, subresources within them.
pub fn resources(list: &Value, (group, version): (&str, &str)) -> Vec<Value> {
    let (children, parents): (Vec<&Value>, Vec<&Value>) =
        items(&list["resources"]).iter().partition(|one| text(&one["name"]).contains('/'));
    let mut resources: Vec<Value> = parents.iter().map(|one| resource(one, (group, version))).collect();
    for child in children {
        let (parent, name) = text(&child["name"]).split_once('/').unwrap_or_default();
        let at = resources.iter().position(|one| one["resource"] == parent).unwrap_or_else(|| {
            resources.push(json!({ "resource": parent, "scope": scope(child) }));
            resources.len() - 1
        });
        let mut subresource = json!({ "subresource": name, "verbs": verbs(child) });
        if let Some(kind) = response_kind(child, (group, version)) {
            subresource["responseKind"] = kind;
        }
        match resources[at]["subresources"].as_array_mut() {
            Some(all) => all.push(subresource),
            None => resources[at]["subresources"] = json!([subresource]),
        }
    }
    resources
}

fn resource(one: &Value, group_version: (&str, &str)) -> Value {
    let mut resource = json!({
        "resource": one["name"], "scope": scope(one), "singularResource": text(&one["singularName"]),
        "verbs": verbs(one),
    });
    if let Some(kind) = response_kind(one, group_version) {
        resource["responseKind"] = kind;
    }
    for list in ["shortNames", "categories"] {
        if !is_empty(&one[list]) {
            resource[list] = one[list].clone();
        }
    }
    resource
}

fn scope(one: &Value) -> &'static str {
    if one["namespaced"] == true { "Namespaced" } else { "Cluster" }
}

fn verbs(one: &Value) -> Value {
    items(&one["verbs"]).into()
}

/// A kind of another group says so itself.
fn response_kind(one: &Value, (group, version): (&str, &str)) -> Option<Value> {
    let own = |field: &str, usual: &str| match text(&one[field]) {
        "" => usual.to_owned(),
        other => other.to_owned(),
    };
    let is_elsewhere = !is_empty(&one["version"]);
    let group = if is_elsewhere { text(&one["group"]).to_owned() } else { own("group", group) };
    let kind = json!({ "group": group, "version": own("version", version), "kind": one["kind"] });
    (!is_empty(&one["kind"])).then_some(kind)
}

/// Where an OpenAPI v3 index says the document of this version lies.
pub fn address(index: &Value, (group, version): (&str, &str)) -> Option<String> {
    let address = &index["paths"][format!("apis/{group}/{version}")]["serverRelativeURL"];
    address.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn subresources_go_into_their_resource() {
        let list = json!({ "resources": [
            { "name": "flunders/status", "namespaced": true, "kind": "Flunder", "verbs": ["get"] },
            { "name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["list"], "shortNames": ["fl"] },
            { "name": "flunders/scale", "namespaced": true, "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get"] },
            { "name": "lone/log", "namespaced": false, "kind": "", "verbs": ["get"] },
        ] });
        let shown: Vec<String> = resources(&list, ("wardle.example.com", "v1")).iter().map(Value::to_string).collect();
        expect![[r#"
            {"resource":"flunders","responseKind":{"group":"wardle.example.com","kind":"Flunder","version":"v1"},"scope":"Namespaced","shortNames":["fl"],"singularResource":"flunder","subresources":[{"responseKind":{"group":"wardle.example.com","kind":"Flunder","version":"v1"},"subresource":"status","verbs":["get"]},{"responseKind":{"group":"autoscaling","kind":"Scale","version":"v1"},"subresource":"scale","verbs":["get"]}],"verbs":["list"]}
            {"resource":"lone","scope":"Cluster","subresources":[{"subresource":"log","verbs":["get"]}]}"#]]
        .assert_eq(&shown.join("\n"));
    }
}
