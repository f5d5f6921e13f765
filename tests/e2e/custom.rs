//! Custom kinds with the real kubectl: defined, waited for, explained, printed by their columns, scaled, applied, judged by
//! their rules, cleaned up with their owners, and gone with their definition.

use crate::cluster::Cluster;

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { plural: widgets, kind: Widget, shortNames: [wd], categories: [all] }
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: { specReplicasPath: .spec.size, statusReplicasPath: .status.ready }
    additionalPrinterColumns:
    - { name: Size, type: integer, jsonPath: .spec.size }
    - { name: Color, type: string, jsonPath: .spec.color }
    schema:
      openAPIV3Schema:
        type: object
        description: A thing of parts.
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: { type: integer, minimum: 1, description: How many parts. }
              color: { type: string, default: red }
            x-kubernetes-validations:
            - { rule: "self.color != 'blue' || self.size < 10", message: blue ones stay small }
          status:
            type: object
            properties: { ready: { type: integer } }
"#;

const WIDGET: &str = "
apiVersion: example.com/v1
kind: Widget
metadata: { name: a }
spec: { size: 3 }
";

fn with_widgets() -> Cluster {
    let cluster = Cluster::start();
    cluster.apply(DEFINITION);
    cluster.kubectl("wait crd/widgets.example.com --for=condition=established --timeout=30s");
    cluster
}

#[test]
fn kubectl_uses_a_custom_kind_like_any_other() {
    let cluster = with_widgets();
    assert_eq!(cluster.apply(WIDGET).trim(), "widget.example.com/a created");
    let shown = cluster.kubectl("get wd");
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [["NAME", "SIZE", "COLOR"], ["a", "3", "red"]], "{shown}");
    assert!(cluster.kubectl("get all").contains("widget.example.com/a"));
    assert!(cluster.kubectl("explain widget.spec.size").contains("How many parts."));
    assert!(cluster.kubectl("api-resources --api-group=example.com").contains("widgets"));

    cluster.kubectl("scale widget/a --replicas=5");
    assert_eq!(cluster.kubectl("get widget a -o jsonpath={.spec.size}"), "5");
    let applied = WIDGET.replace("size: 3", "size: 6, color: blue");
    let output = cluster.kubectl_in("apply --server-side --force-conflicts -f -", &applied);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(cluster.kubectl("get widget a -o jsonpath={.spec.color}"), "blue");

    let output = cluster.kubectl_in("apply -f -", &applied.replace("size: 6", "size: 60"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("blue ones stay small"), "{said}");
    let output = cluster.kubectl_in("apply -f -", &WIDGET.replace("size: 3", "size: 3, odd: 1"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(r#"unknown field "spec.odd""#), "{said}");
}

#[test]
fn custom_objects_go_with_their_owner_their_namespace_and_their_definition() {
    let cluster = with_widgets();
    cluster.apply(WIDGET);
    let uid = cluster.kubectl("get widget a -o jsonpath={.metadata.uid}");
    let owned = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: owned, ownerReferences: [{{apiVersion: example.com/v1, kind: Widget, name: a, uid: {uid}}}]}}}}"
    );
    cluster.apply(&owned);
    cluster.kubectl("delete widget a");
    cluster.kubectl("wait configmap/owned --for=delete --timeout=30s");

    cluster.kubectl("create namespace other");
    let output = cluster.kubectl_in("apply -n other -f -", WIDGET);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cluster.kubectl("delete namespace other --timeout=60s");

    cluster.apply(WIDGET);
    cluster.kubectl("delete crd widgets.example.com --timeout=30s");
    let output = cluster.try_kubectl(&["get", "widgets"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Which of the two depends on what kubectl remembers of discovery.
    let gone = [r#"the server doesn't have a resource type "widgets""#, "could not find the requested resource"];
    assert!(gone.iter().any(|text| said.contains(text)), "{said}");
}

#[test]
fn policies_hold_for_kubectl() {
    let cluster = Cluster::start();
    cluster.apply(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: small }
spec:
  matchConstraints:
    resourceRules:
    - { apiGroups: [apps], apiVersions: [v1], resources: [deployments], operations: [CREATE, UPDATE] }
  validations:
  - { expression: object.spec.replicas <= 3, message: three are enough }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: small }
spec: { policyName: small, validationActions: [Deny] }
",
    );
    let create = |replicas: &str| {
        cluster.try_kubectl(&[
            "create",
            "deployment",
            &format!("web-{replicas}"),
            "--image=none",
            &format!("--replicas={replicas}"),
        ])
    };
    let output = create("4");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = "ValidatingAdmissionPolicy 'small' with binding 'small' denied request: three are enough";
    assert!(!output.status.success() && said.contains(expected), "{said}");
    assert!(create("2").status.success());
}
