//! The pod that a Job makes: its template with the tracking finalizer and, where the Job has indexes, the index as
//! annotation, label, host name and environment.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use kube::ResourceExt;

use super::member::{FINALIZER, INDEX, INDEX_FAILURES, INDEX_IGNORED_FAILURES, index_failures};
use super::plan::Place;
use super::policies::judge;
use crate::pods::from_template;

const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// Longer prefixes are cut by the API before it adds its letters.
const PREFIX_MAX: usize = 58;

pub fn pod(job: &Job, spec: &JobSpec, place: &Place) -> Pod {
    let mut pod = from_template(&spec.template, job);
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    let Some(index) = place.index else { return pod };
    let name = job.name_any();
    pod.metadata.generate_name = Some(prefix(&name, index));
    pod.metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index.to_string());
    if spec.backoff_limit_per_index.is_some() {
        let (counted, ignored) = place.replaces.as_deref().map_or((0, 0), |replaced| failures(spec, replaced));
        annotations.insert(INDEX_FAILURES.to_owned(), counted.to_string());
        if ignored > 0 {
            annotations.insert(INDEX_IGNORED_FAILURES.to_owned(), ignored.to_string());
        }
    }
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(format!("{name}-{index}"));
        spec.init_containers.iter_mut().flatten().chain(&mut spec.containers).for_each(tell_index);
    }
    pod
}

fn prefix(job: &str, index: usize) -> String {
    let end = format!("-{index}-");
    let kept = job.len().min(PREFIX_MAX - end.len());
    format!("{}{end}", &job[..kept])
}

/// What counted and what was ignored, the replaced pod's own failure included.
fn failures(spec: &JobSpec, replaced: &Pod) -> (i32, i32) {
    let (counted, ignored) = index_failures(replaced);
    if judge(spec, replaced).counts() {
        (counted.saturating_add(1), ignored)
    } else {
        (counted, ignored.saturating_add(1))
    }
}

fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    variables.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: Value, place: &Place, expected: Expect) {
        let job = json!({"metadata": {"name": "work", "namespace": "d", "uid": "u"}, "spec": spec});
        let job: Job = serde_json::from_value(job).unwrap();
        let made = pod(&job, job.spec.as_ref().unwrap(), place);
        let mut made = serde_json::to_value(made).unwrap();
        made["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        expected.assert_eq(&format!("{}\n{}", made["metadata"], made["spec"]));
    }

    #[test]
    fn a_pod_bears_what_counts_it() {
        let spec = json!({"template": {"metadata": {"labels": {"a": "b"}, "finalizers": ["x/y"]}, "spec": {"containers": [{"name": "c"}]}}});
        check(
            spec,
            &Place::default(),
            expect![[r#"
                {"finalizers":["x/y","batch.kubernetes.io/job-tracking"],"generateName":"work-","labels":{"a":"b"},"namespace":"d"}
                {"containers":[{"name":"c"}]}"#]],
        );
    }

    #[test]
    fn an_index_is_told_four_times() {
        let spec = json!({"completionMode": "Indexed", "completions": 9, "backoffLimitPerIndex": 2, "template": {"spec": {
            "initContainers": [{"name": "i", "env": [{"name": "JOB_COMPLETION_INDEX", "value": "own"}]}],
            "containers": [{"name": "c"}]}}});
        let failed = json!({"metadata": {"annotations": {(INDEX_FAILURES): "1"}}});
        let replaces = Some(Arc::new(serde_json::from_value(failed).unwrap()));
        check(
            spec,
            &Place { index: Some(7), replaces },
            expect![[r#"
                {"annotations":{"batch.kubernetes.io/job-completion-index":"7","batch.kubernetes.io/job-index-failure-count":"2"},"finalizers":["batch.kubernetes.io/job-tracking"],"generateName":"work-7-","labels":{"batch.kubernetes.io/job-completion-index":"7"},"namespace":"d"}
                {"containers":[{"env":[{"name":"JOB_COMPLETION_INDEX","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['batch.kubernetes.io/job-completion-index']"}}}],"name":"c"}],"hostname":"work-7","initContainers":[{"env":[{"name":"JOB_COMPLETION_INDEX","value":"own"}],"name":"i"}]}"#]],
        );
    }

    #[test]
    fn a_long_name_leaves_room_for_the_index() {
        assert_eq!(prefix(&"a".repeat(70), 12), format!("{}-12-", "a".repeat(54)));
    }
}
