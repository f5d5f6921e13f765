//! What kubectl 1.37 looks for in the documents.

use super::*;

const ALL: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

fn deployments() -> Value {
    let kind = OpenApiKind {
        kind: "Deployment",
        plural: "deployments",
        namespaced: true,
        verbs: ALL.to_vec(),
        schema: KindSchema::Table(table().by_kind("apps/v1", "Deployment").unwrap()),
        subresources: vec![
            OpenApiSubresource {
                name: "status",
                api_version: "apps/v1",
                kind: "Deployment",
                verbs: vec!["get", "update", "patch"],
            },
            OpenApiSubresource {
                name: "scale",
                api_version: "autoscaling/v1",
                kind: "Scale",
                verbs: vec!["get", "update", "patch"],
            },
        ],
    };
    group_version_document("apps/v1", &[kind])
}

/// Every `$ref` of a document has its schema.
fn assert_closed(document: &Value) {
    fn refs<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| match value.as_str() {
                Some(target) if key == "$ref" => found.push(target),
                _ => refs(value, found),
            }),
            Value::Array(list) => list.iter().for_each(|value| refs(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    refs(document, &mut found);
    for target in found {
        let name = target.strip_prefix("#/components/schemas/").unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name} has no schema");
    }
}

#[test]
fn a_patch_says_what_it_takes() {
    let document = deployments();
    assert_closed(&document);
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-action"], "patch");
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    let parameters: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().filter_map(|parameter| parameter["name"].as_str()).collect();
    assert_eq!(parameters, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    let content = patch["requestBody"]["content"].as_object().unwrap();
    assert!(content.contains_key("application/strategic-merge-patch+json"));
    assert!(content.contains_key("application/apply-patch+yaml"));
    let scale = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"];
    assert_eq!(scale["x-kubernetes-group-version-kind"]["kind"], "Scale");
    assert!(document["paths"].get("/apis/apps/v1/deployments").is_some());
}

#[test]
fn schemas_carry_merge_keys_and_kinds() {
    let document = deployments();
    let schemas = &document["components"]["schemas"];
    let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    let spec = &deployment["properties"]["spec"];
    assert_eq!(spec["allOf"], json!([{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]));
    assert_eq!(spec["default"], json!({}));
    assert!(spec["description"].as_str().is_some_and(|text| !text.is_empty()));
    let pod = &schemas["io.k8s.api.core.v1.PodSpec"];
    assert_eq!(pod["properties"]["containers"]["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(pod["properties"]["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(pod["required"], json!(["containers"]));
    let ports = &schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    assert_eq!(ports["x-kubernetes-list-type"], "map");
}

#[test]
fn custom_kinds_are_published_with_what_every_object_has() {
    let schema =
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": {"type": "integer"}}}}});
    let kind = OpenApiKind {
        kind: "Widget",
        plural: "widgets",
        namespaced: false,
        verbs: ALL.to_vec(),
        schema: KindSchema::Custom(&schema),
        subresources: vec![],
    };
    let document = group_version_document("example.com/v1", &[kind]);
    assert_closed(&document);
    let widget = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(widget["properties"]["spec"]["properties"]["x"]["type"], "integer");
    for (field, begin) in [("apiVersion", "APIVersion defines"), ("kind", "Kind is"), ("metadata", "Standard object's")]
    {
        assert!(widget["properties"][field]["description"].as_str().unwrap().starts_with(begin), "{widget}");
    }
    let list = &document["components"]["schemas"]["com.example.v1.WidgetList"];
    assert!(list["properties"]["items"]["description"].as_str().unwrap().starts_with("List of widgets."), "{list}");
    let patch = &document["paths"]["/apis/example.com/v1/widgets/{name}"]["patch"];
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_none());
}

#[test]
fn every_kind_of_the_table_has_a_closed_document() {
    for facts in table().kinds() {
        let kind = OpenApiKind {
            kind: facts.kind,
            plural: "things",
            namespaced: !facts.cluster_scoped,
            verbs: ALL.to_vec(),
            schema: KindSchema::Table(facts.ty),
            subresources: vec![],
        };
        assert_closed(&group_version_document(facts.api_version, &[kind]));
    }
}

#[test]
fn the_index_names_documents_by_hash() {
    assert_eq!(
        index([("v1", "A"), ("apps/v1", "B")]),
        json!({"paths": {
            "api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=A"},
            "apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=B"},
        }})
    );
}
