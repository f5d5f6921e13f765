//! APIServices of custom kinds: one for each group and version that a definition serves, kept and taken away with it.
//! Those of built-in kinds are bootstrap objects. Source: kube-aggregator's autoregister, crdregistration.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::discovery::Priority;
use crate::kinds::json::{items, text};

pub const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Of every custom kind: behind those of the program, before none.
pub const PRIORITY: Priority = Priority { group: 1_000, version: 100 };

/// Group and version.
pub type GroupVersion = (String, String);

/// One write.
#[derive(Debug, PartialEq)]
pub enum Step {
    Create(Value),
    Replace(Value),
    Delete { name: String, uid: String },
}

/// What a definition serves.
pub fn served(definition: &Value) -> BTreeSet<GroupVersion> {
    let group = text(&definition["spec"]["group"]);
    let versions = items(&definition["spec"]["versions"]).iter().filter(|version| version["served"] == true);
    versions.map(|version| (group.to_owned(), text(&version["name"]).to_owned())).collect()
}

/// What makes the APIServices (by name) fit what is served. Those that people made are left alone.
pub fn plan<'a>(served: impl Iterator<Item = &'a GroupVersion>, present: &BTreeMap<String, Value>) -> Vec<Step> {
    let wanted: BTreeMap<String, Value> = served.map(|one| (name(one), service(one))).collect();
    let mut steps = Vec::new();
    for (name, object) in &wanted {
        match present.get(name) {
            None => steps.push(Step::Create(object.clone())),
            Some(found) if is_managed(found) && found["spec"] != object["spec"] => {
                let mut repaired = found.clone();
                repaired["spec"] = object["spec"].clone();
                steps.push(Step::Replace(repaired));
            }
            Some(_) => {}
        }
    }
    let surplus = present.iter().filter(|(name, found)| is_managed(found) && !wanted.contains_key(*name));
    steps.extend(
        surplus
            .map(|(name, found)| Step::Delete { name: name.clone(), uid: text(&found["metadata"]["uid"]).to_owned() }),
    );
    steps
}

fn is_managed(service: &Value) -> bool {
    service["metadata"]["labels"][MANAGED] == "true" && service["metadata"]["deletionTimestamp"].is_null()
}

fn name((group, version): &GroupVersion) -> String {
    format!("{version}.{group}")
}

fn service(one: &GroupVersion) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": { "name": name(one), "labels": { MANAGED: "true" } },
        "spec": {
            "group": one.0, "version": one.1,
            "groupPriorityMinimum": PRIORITY.group, "versionPriority": PRIORITY.version,
        },
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(served: &[(&str, &str)], present: &[Value], expect: Expect) {
        let served: Vec<GroupVersion> = served.iter().map(|(g, v)| ((*g).to_owned(), (*v).to_owned())).collect();
        let present = present.iter().map(|one| (text(&one["metadata"]["name"]).to_owned(), one.clone())).collect();
        let shown = plan(served.iter(), &present).into_iter().map(|step| match step {
            Step::Create(object) => format!("create {}", text(&object["metadata"]["name"])),
            Step::Replace(object) => {
                format!("replace {} {}", text(&object["metadata"]["name"]), object["spec"]["versionPriority"])
            }
            Step::Delete { name, .. } => format!("delete {name}"),
        });
        expect.assert_eq(&shown.collect::<Vec<_>>().join(", "));
    }

    #[test]
    fn services_come_and_go_with_what_is_served() {
        let one = ("example.com".to_owned(), "v1".to_owned());
        check(&[("example.com", "v1"), ("example.com", "v2")], &[service(&one)], expect!["create v2.example.com"]);
        check(&[], &[service(&one)], expect!["delete v1.example.com"]);
        let mut changed = service(&one);
        changed["spec"]["versionPriority"] = 7.into();
        check(&[("example.com", "v1")], &[changed.clone()], expect!["replace v1.example.com 100"]);
        changed["metadata"]["labels"] = Value::Null;
        check(&[("example.com", "v1")], &[changed.clone()], expect![""]);
        check(&[], &[changed], expect![""]);
    }
}
