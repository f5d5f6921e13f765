//! PodTemplate: a template alone.

use super::json::present;
use super::table::{NAME, containers, name, string};
use super::{Kind, PLAIN, Scope, WITH_SPEC, labels, metadata, names, pod_spec};

pub static POD_TEMPLATE: Kind = Kind {
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    schema: "io.k8s.api.core.v1.PodTemplate",
    storage: "podtemplates",
    update: WITH_SPEC,
    defaults: |object| {
        if let Some(spec) = present(object, "template").and_then(|template| present(template, "spec")) {
            pod_spec::fill_spec(spec);
        }
    },
    validate: |object| {
        let mut problems = metadata::validate(object, Scope::Namespaced, names::subdomain);
        problems.extend(pod_spec::validate_template(&object["template"], "template"));
        problems
    },
    columns: &[
        NAME,
        string("Containers", "Names of each container in the template."),
        string("Images", "Images referenced by each container in the template."),
        string("Pod Labels", "The labels for the pod template."),
    ],
    row: |object, _now| {
        let [names, images] = containers(&object["template"]["spec"]);
        vec![name(object), names, images, labels::print(&object["template"]["metadata"]["labels"]).into()]
    },
    ..PLAIN
};
