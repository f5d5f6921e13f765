//! PodSecurity: a namespace's labels say which level of the Pod Security Standards its pods are held to, and which ones
//! only warn. The checks are in `checks.rs` and its folder. Defaults are upstream's: privileged, nobody is exempt.
//! Source: pod-security-admission.

mod checks;
mod policy;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use crate::kinds::json::{entries, is_set, items, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Cluster, Operation};
use checks::{Pod, Violation};
use policy::{Level, Policy, Standard};

/// So many pods of a namespace are looked at when its level changes.
const PODS_CHECKED_MAX: usize = 3_000;
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

pub struct PodSecurity;

#[async_trait]
impl Admit for PodSecurity {
    async fn admit(&self, _request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        Ok(())
    }

    async fn confirm(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        match (request.kind.group, request.kind.plural) {
            ("", "namespaces") => confirm_namespace(request),
            ("", "pods") => confirm_pod(request),
            _ if !request.subresource.is_empty() => Ok(()),
            (group, plural) => match template_path(group, plural) {
                Some(path) => {
                    warn_of_template(request, path);
                    Ok(())
                }
                None => Ok(()),
            },
        }
    }
}

/// Where a kind keeps the pods that it makes.
fn template_path(group: &str, plural: &str) -> Option<&'static str> {
    match (group, plural) {
        ("", "podtemplates") => Some("/template"),
        ("", "replicationcontrollers") => Some("/spec/template"),
        ("apps", "daemonsets" | "deployments" | "replicasets" | "statefulsets") => Some("/spec/template"),
        ("batch", "jobs") => Some("/spec/template"),
        ("batch", "cronjobs") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

fn confirm_pod(request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
    let Some(pod) = request.object.as_ref() else { return Ok(()) };
    if !matches!(request.subresource, "" | "ephemeralcontainers" | "resize") {
        return Ok(());
    }
    let Some(policy) = policy_of(request) else { return Ok(()) };
    if request.old.is_some_and(|old| !is_significant(pod, old)) {
        return Ok(());
    }
    let pod = Pod::of(pod);
    if let Some(why) = violations(policy.enforce, &pod) {
        return Err(Status::forbidden(request.kind, request.name, &format!("violates {why}")));
    }
    request.warnings.extend(violations(policy.warn, &pod).map(|why| format!("would violate {why}")));
    Ok(())
}

/// What makes pods is never refused, so that it can be written before its namespace is ready for it.
fn warn_of_template(request: &mut AdmissionRequest<'_>, path: &str) {
    let Some(policy) = policy_of(request) else { return };
    let template = request.object.as_ref().and_then(|object| object.pointer(path)).filter(|template| is_set(template));
    let why = template.and_then(|template| violations(policy.warn, &Pod::of(template)));
    request.warnings.extend(why.map(|why| format!("would violate {why}")));
}

/// `None`: the namespace asks for nothing.
fn policy_of(request: &AdmissionRequest<'_>) -> Option<Policy> {
    let key = request.cluster.key("namespaces", "", request.namespace)?;
    let namespace = request.cluster.snapshot.get(&key)?;
    let labels = namespace.meta.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let (policy, _) = Policy::of(labels);
    (policy != Policy::default()).then_some(policy)
}

/// `PodSecurity "restricted:latest": reason (detail), …`
fn violations(standard: Standard, pod: &Pod<'_>) -> Option<String> {
    let violations = checks::violations(standard, pod);
    let shown: Vec<String> = violations.iter().map(Violation::to_string).collect();
    (!shown.is_empty()).then(|| format!("PodSecurity \"{standard}\": {}", shown.join(", ")))
}

/// Nothing else of a pod that matters here can change.
fn is_significant(pod: &Value, old: &Value) -> bool {
    let annotation = |pod: &Value, name: &str| pod["metadata"]["annotations"].get(name).cloned();
    if annotation(pod, SECCOMP_POD) != annotation(old, SECCOMP_POD) {
        return true;
    }
    ["containers", "initContainers", "ephemeralContainers"].into_iter().any(|list| {
        let (new, old_list) = (items(&pod["spec"][list]), items(&old["spec"][list]));
        let is_new = |container: &Value| {
            let before = old_list.iter().find(|one| one["name"] == container["name"]);
            let seccomp = format!("{SECCOMP_CONTAINER}{}", text(&container["name"]));
            before.is_none_or(|before| before["image"] != container["image"])
                || annotation(pod, &seccomp) != annotation(old, &seccomp)
        };
        new.len() != old_list.len() || new.iter().any(is_new)
    })
}

/// Its labels must be readable; a stricter level tells which of its pods it would not let in any more.
fn confirm_namespace(request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
    let Some(namespace) = request.object.as_ref().filter(|_| request.subresource.is_empty()) else { return Ok(()) };
    let labels = |namespace: &Value| -> Vec<(String, String)> {
        entries(&namespace["metadata"]["labels"]).map(|(name, value)| (name.clone(), text(value).to_owned())).collect()
    };
    let read =
        |labels: &[(String, String)]| Policy::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let (policy, problems) = read(&labels(namespace));
    let Some(old) = request.old else {
        let kind = request.kind;
        return if problems.is_empty() { Ok(()) } else { Err(Status::invalid(kind, request.name, &problems)) };
    };
    let (before, old_problems) = read(&labels(old));
    if !problems.is_empty() && problems != old_problems {
        return Err(Status::invalid(request.kind, request.name, &problems));
    }
    let relaxed = policy.enforce.version == before.enforce.version && policy.enforce.level <= before.enforce.level;
    if policy.enforce == before.enforce || policy.enforce.level == Level::Privileged || relaxed {
        return Ok(());
    }
    let warnings = warnings_of_pods(request.cluster, request.name, policy.enforce);
    request.warnings.extend(warnings);
    Ok(())
}

fn warnings_of_pods(cluster: &Cluster, namespace: &str, standard: Standard) -> Vec<String> {
    let pods = cluster.list("pods", Some(namespace));
    // By the warning: the first pod that gives it, and how many do.
    let mut seen: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in pods.iter().take(PODS_CHECKED_MAX) {
        let violations = checks::violations(standard, &Pod::of(pod));
        if violations.is_empty() {
            continue;
        }
        let reasons: Vec<&str> = violations.iter().map(|violation| violation.reason).collect();
        let name = text(&pod["metadata"]["name"]).to_owned();
        seen.entry(reasons.join(", ")).or_insert((name, 0)).1 += 1;
    }
    let mut warnings = Vec::new();
    if pods.len() > PODS_CHECKED_MAX {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_CHECKED_MAX} of {} existing pods",
            pods.len()
        ));
    }
    if !seen.is_empty() {
        warnings.push(format!(
            "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{standard}\""
        ));
    }
    let mut told: Vec<String> = seen
        .into_iter()
        .map(|(warning, (name, count))| match count {
            1 => format!("{name}: {warning}"),
            2 => format!("{name} (and 1 other pod): {warning}"),
            _ => format!("{name} (and {} other pods): {warning}", count - 1),
        })
        .collect();
    told.sort();
    warnings.extend(told);
    warnings
}
