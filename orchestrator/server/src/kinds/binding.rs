//! Binding: a virtual kind that puts a pod on a node; also the body of `pods/binding`.

use super::json::{is_empty, text};
use super::{Kind, PLAIN, Problem};

pub static BINDING: Kind = Kind {
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    verbs: &["create"],
    schema: "io.k8s.api.core.v1.Binding",
    storage: "bindings",
    validate: |binding| {
        let target = &binding["target"];
        let mut problems = Vec::new();
        let kind = text(&target["kind"]);
        if !kind.is_empty() && kind != "Node" {
            problems.push(Problem::not_supported("target.kind", kind, &["Node", "<empty>"]));
        }
        if is_empty(&target["name"]) {
            problems.push(Problem::required("target.name", ""));
        }
        problems
    },
    ..PLAIN
};
