//! RuntimeClass: which handler runs a pod.

use super::json::text;
use super::problem::{immutable, invalid_each};
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Scope, UpdateRules, descriptions, metadata, names, pod_spec};

pub static RUNTIME_CLASS: Kind = Kind {
    group: "node.k8s.io",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    scope: Scope::Cluster,
    schema: "io.k8s.api.node.v1.RuntimeClass",
    storage: "node.k8s.io/runtimeclasses",
    update: UpdateRules { unconditional: false, creates: true, generation: false },
    validate: |class| {
        let mut problems = metadata::validate(class, Scope::Cluster, names::subdomain);
        let handler = text(&class["handler"]);
        problems.extend(invalid_each("handler", handler, names::label(handler)));
        problems.extend(pod_spec::validate_tolerations(&class["scheduling"]["tolerations"], "scheduling.tolerations"));
        problems
    },
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("handler", &new["handler"], &old["handler"]));
        problems
    },
    columns: &[NAME, string("Handler", descriptions::RUNTIME_CLASS_HANDLER), AGE],
    row: |class, now| vec![name(class), class["handler"].clone(), age(class, now)],
    ..PLAIN
};
