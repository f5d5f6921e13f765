//! A claim that names no storage class gets the default one. Of several defaults the newest counts.

use async_trait::async_trait;
use serde_json::Value;

use super::writes;
use crate::kinds::json::{is_set, present, set, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Cluster, Operation};

const CLASSES: &str = "storage.k8s.io/storageclasses";
/// What a class is marked with to be the default, now and before.
const MARKS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub struct DefaultStorageClass;

#[async_trait]
impl Admit for DefaultStorageClass {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if !writes(request, Operation::Create, "persistentvolumeclaims") {
            return Ok(());
        }
        let Some(claim) = request.object.as_mut().filter(|claim| !names_a_class(claim)) else { return Ok(()) };
        if let (Some(class), Some(spec)) = (default_of(request.cluster, CLASSES, &MARKS), present(claim, "spec")) {
            set(spec, "storageClassName", class.into());
        }
        Ok(())
    }
}

/// The empty name is a choice too: no class at all.
fn names_a_class(claim: &Value) -> bool {
    claim["metadata"]["annotations"].get(CLASS_ANNOTATION).is_some() || is_set(&claim["spec"]["storageClassName"])
}

/// The name of the newest class with such a mark; of equally old ones the first by name.
pub(super) fn default_of(cluster: &Cluster, storage: &str, marks: &[&str]) -> Option<String> {
    if cluster.count(storage, None) == 0 {
        return None;
    }
    newest(&cluster.list(storage, None), marks)
}

fn newest(classes: &[Value], marks: &[&str]) -> Option<String> {
    let is_default = |class: &&Value| marks.iter().any(|mark| class["metadata"]["annotations"][*mark] == "true");
    let age = |class: &&Value| {
        let metadata = &class["metadata"];
        (std::cmp::Reverse(text(&metadata["creationTimestamp"]).to_owned()), text(&metadata["name"]).to_owned())
    };
    let class = classes.iter().filter(is_default).min_by_key(age)?;
    Some(text(&class["metadata"]["name"]).to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_default_counts() {
        let class = |name: &str, mark: &str, made: &str| {
            let annotations = json!({ mark: "true" });
            json!({ "metadata": { "name": name, "annotations": annotations, "creationTimestamp": made } })
        };
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        let mut classes = vec![class("a", MARKS[0], old), class("z", MARKS[1], new), class("y", MARKS[0], new)];
        assert_eq!(newest(&classes, &MARKS).as_deref(), Some("y"));
        classes.truncate(1);
        assert_eq!(newest(&classes, &MARKS).as_deref(), Some("a"));
        assert_eq!(newest(&[class("b", "other", old)], &MARKS), None);
    }

    #[test]
    fn a_named_class_stays_even_if_it_is_none() {
        assert!(names_a_class(&json!({ "spec": { "storageClassName": "" } })));
        assert!(names_a_class(&json!({ "metadata": { "annotations": { CLASS_ANNOTATION: "x" } } })));
        assert!(!names_a_class(&json!({ "spec": {} })));
    }
}
