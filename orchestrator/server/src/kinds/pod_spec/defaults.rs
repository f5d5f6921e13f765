//! What a pod spec gets when the client left it out (`SetDefaults_PodSpec` and its kin).

use serde_json::{Value, json};

use crate::kinds::json::{child, fill, fill_text, is_empty, is_set, items_mut, map, present, scalar, set, text};

const MODE: i64 = 0o644;

/// For Pods and templates.
pub fn fill_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    fill_text(spec, "dnsPolicy", "ClusterFirst");
    fill_text(spec, "restartPolicy", "Always");
    fill_text(spec, "schedulerName", "default-scheduler");
    fill(spec, "securityContext", json!({}));
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill_service_account(spec);
    for list in ["initContainers", "containers"] {
        items_mut(spec, list).for_each(fill_container);
    }
    items_mut(spec, "ephemeralContainers").for_each(fill_container);
    items_mut(spec, "volumes").for_each(fill_volume);
}

/// For Pods only: what templates leave to the pods made from them.
pub fn fill_pod(spec: &mut Value) {
    fill(spec, "enableServiceLinks", true);
    let host_network = spec["hostNetwork"] == true;
    for list in ["initContainers", "containers"] {
        for container in items_mut(spec, list) {
            request_limits(container);
            if host_network {
                for port in items_mut(container, "ports") {
                    if port["hostPort"].as_i64().unwrap_or(0) == 0 {
                        let number = port["containerPort"].clone();
                        set(port, "hostPort", number);
                    }
                }
            }
        }
    }
}

/// The policy of an image without one: pull again only what may have moved.
pub fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or_default();
    let tagged = last.split_once(':').is_some_and(|(_, tag)| tag != "latest");
    if image.contains('@') || tagged { "IfNotPresent" } else { "Always" }
}

/// The deprecated twin of the field shows the same name.
fn fill_service_account(spec: &mut Value) {
    if is_empty(&spec["serviceAccountName"]) && !is_empty(&spec["serviceAccount"]) {
        let name = spec["serviceAccount"].clone();
        set(spec, "serviceAccountName", name);
    }
    if !is_empty(&spec["serviceAccountName"]) {
        let name = spec["serviceAccountName"].clone();
        set(spec, "serviceAccount", name);
    }
}

fn fill_container(container: &mut Value) {
    let policy = pull_policy(text(&container["image"]));
    fill_text(container, "imagePullPolicy", policy);
    fill_text(container, "terminationMessagePath", "/dev/termination-log");
    fill_text(container, "terminationMessagePolicy", "File");
    fill(container, "resources", json!({}));
    items_mut(container, "ports").for_each(|port| fill_text(port, "protocol", "TCP"));
    for variable in items_mut(container, "env") {
        if let Some(source) = present(variable, "valueFrom") {
            fill_field_ref(source);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = present(container, probe) {
            fill_probe(probe);
        }
    }
    if let Some(lifecycle) = present(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = present(lifecycle, hook) {
                fill_handler(hook);
            }
        }
    }
}

fn fill_probe(probe: &mut Value) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe[field] == 0 {
            set(probe, field, Value::Null);
        }
        fill(probe, field, value);
    }
    fill_handler(probe);
}

fn fill_handler(handler: &mut Value) {
    if let Some(get) = present(handler, "httpGet") {
        fill_text(get, "path", "/");
        fill_text(get, "scheme", "HTTP");
    }
    if let Some(grpc) = present(handler, "grpc") {
        fill(grpc, "service", "");
    }
}

fn fill_field_ref(source: &mut Value) {
    if let Some(reference) = present(source, "fieldRef") {
        fill_text(reference, "apiVersion", "v1");
    }
}

fn fill_volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|fields| !fields.iter().any(|(key, value)| key != "name" && is_set(value))) {
        set(volume, "emptyDir", json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = present(volume, source) {
            fill(source, "defaultMode", MODE);
            items_mut(source, "items").for_each(fill_field_ref);
            items_mut(source, "sources").for_each(fill_projection);
        }
    }
    if let Some(path) = present(volume, "hostPath") {
        fill(path, "type", "");
    }
    if let Some(image) = present(volume, "image") {
        let policy = pull_policy(text(&image["reference"]));
        fill_text(image, "pullPolicy", policy);
    }
    let claim = present(volume, "ephemeral").and_then(|source| present(source, "volumeClaimTemplate"));
    if let Some(spec) = claim.and_then(|claim| child(claim, "spec")) {
        fill_text(spec, "volumeMode", "Filesystem");
    }
}

fn fill_projection(source: &mut Value) {
    if let Some(token) = present(source, "serviceAccountToken") {
        fill(token, "expirationSeconds", 3600);
    }
    if let Some(api) = present(source, "downwardAPI") {
        items_mut(api, "items").for_each(fill_field_ref);
    }
}

/// A limit without a request is also the request.
fn request_limits(container: &mut Value) {
    let Some(resources) = present(container, "resources") else { return };
    let limits = map(&resources["limits"]);
    if limits.is_empty() {
        return;
    }
    if let Some(requests) = child(resources, "requests") {
        for (name, quantity) in limits {
            fill(requests, &name, scalar(&quantity));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn only_moving_tags_are_pulled_always() {
        for image in ["a", "a:latest", "localhost:5000/a", "localhost:5000/a:latest"] {
            assert_eq!(pull_policy(image), "Always", "{image}");
        }
        for image in ["a:1", "localhost:5000/a:1", "a@sha256:00", "a:latest@sha256:00"] {
            assert_eq!(pull_policy(image), "IfNotPresent", "{image}");
        }
    }
}
