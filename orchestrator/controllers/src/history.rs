//! The ControllerRevisions of a StatefulSet or a DaemonSet: each holds a template that its pods once had, as a patch that
//! brings it back (`kubectl rollout undo`). `plan` decides which is the newest; `History` reads and writes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::ObjectKey;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::claim::Claimer;
use crate::context::{Context, delete, found};
use crate::crew::Owner;
use crate::pods::{controlled_by, controller_of};

/// How long the informer may take to show what was written.
const SHOWN_MAX: Duration = Duration::from_secs(5);

const ORPHANS: &str = "orphans";

/// What is to be done so that the newest revision holds the owner's template.
#[derive(Debug)]
pub enum Step {
    Keep(Arc<ControllerRevision>),
    /// An older one holds it: it becomes the newest.
    Renumber(Arc<ControllerRevision>, i64),
    Create(i64),
}

/// `revisions` are the owner's, in any order.
pub fn plan(revisions: &[Arc<ControllerRevision>], data: &Value) -> Step {
    let holds = |revision: &&Arc<ControllerRevision>| data_of(revision) == data;
    let others = revisions.iter().filter(|revision| !holds(revision)).map(|revision| number(revision));
    let next = others.max().unwrap_or(0) + 1;
    match revisions.iter().filter(holds).max_by_key(|revision| (number(revision), Reverse(revision.name_any()))) {
        Some(newest) if number(newest) >= next => Step::Keep(newest.clone()),
        Some(older) => Step::Renumber(older.clone(), next),
        None => Step::Create(next),
    }
}

/// The oldest of what nobody needs, beyond the limit. `live` are names of revisions in use.
pub fn surplus(
    revisions: &[Arc<ControllerRevision>],
    live: &HashSet<String>,
    limit: i32,
) -> Vec<Arc<ControllerRevision>> {
    let mut idle: Vec<_> = revisions.iter().filter(|revision| !live.contains(&revision.name_any())).cloned().collect();
    idle.sort_by_key(|revision| (number(revision), revision.creation_timestamp(), revision.name_any()));
    let surplus = usize::try_from(limit).map_or(0, |limit| idle.len().saturating_sub(limit));
    idle.truncate(surplus);
    idle
}

/// Others that hold what this one does.
pub fn duplicates(revisions: &[Arc<ControllerRevision>], newest: &ControllerRevision) -> Vec<Arc<ControllerRevision>> {
    let is_other = |one: &&Arc<ControllerRevision>| one.uid() != newest.uid() && data_of(one) == data_of(newest);
    revisions.iter().filter(is_other).cloned().collect()
}

/// The patch that a revision holds.
pub fn snapshot(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).expect("Kubernetes types are plain JSON");
    template["$patch"] = "replace".into();
    json!({ "spec": { "template": template } })
}

/// The template that a revision holds.
pub fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = data_of(revision).get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Whom a change of a revision concerns, if that is of this kind.
pub fn owner_key(revision: &ControllerRevision, kind: &str) -> Option<ObjectKey> {
    let owner = controller_of(&revision.metadata).filter(|owner| owner.kind == kind)?;
    Some((revision.namespace().unwrap_or_default(), owner.name.clone()))
}

fn data_of(revision: &ControllerRevision) -> &Value {
    &revision.data.0
}

fn number(revision: &ControllerRevision) -> i64 {
    revision.revision.unwrap_or(0)
}

/// How a new revision is to be named.
pub struct Draft<'a> {
    pub template: &'a PodTemplateSpec,
    pub data: Value,
    pub hash: String,
    /// The label that bears the hash.
    pub label: &'static str,
}

/// A name is taken by other data.
pub struct Collision;

#[derive(Clone)]
pub struct History {
    context: Context,
    revisions: Informer<ControllerRevision>,
}

impl History {
    pub fn new(context: Context) -> Self {
        let revisions = context.informers.of::<ControllerRevision>();
        revisions.index(ORPHANS, |revision| match controller_of(&revision.metadata) {
            None => vec![revision.namespace().unwrap_or_default()],
            Some(_) => Vec::new(),
        });
        Self { context, revisions }
    }

    pub async fn synced(&self) {
        self.revisions.synced().await;
    }

    pub fn informer(&self) -> Informer<ControllerRevision> {
        self.revisions.clone()
    }

    /// The owner's revisions, after adopting orphans that it selects.
    pub async fn claimed<O: Owner>(
        &self,
        owner: &O,
        selector: &LabelSelector,
    ) -> kube::Result<Vec<Arc<ControllerRevision>>> {
        let mut candidates = self.revisions.owned_by(owner.meta().uid.as_deref().unwrap_or_default());
        candidates.extend(self.revisions.indexed(ORPHANS, &owner.namespace().unwrap_or_default()));
        Claimer { owner, selector }.claim(&self.context, candidates).await
    }

    /// The newest revision, made or renumbered where that must be. It is among the claimed from now on.
    pub async fn newest<O: Owner>(
        &self,
        owner: &O,
        revisions: &mut Vec<Arc<ControllerRevision>>,
        draft: Draft<'_>,
    ) -> kube::Result<Result<Arc<ControllerRevision>, Collision>> {
        let newest = match plan(revisions, &draft.data) {
            Step::Keep(newest) => return Ok(Ok(newest)),
            Step::Renumber(older, number) => Arc::new(self.renumber(&older, number).await?),
            Step::Create(number) => match self.create(owner, draft, number).await? {
                Ok(created) => Arc::new(created),
                Err(collision) => return Ok(Err(collision)),
            },
        };
        self.shown(&newest).await;
        revisions.retain(|revision| revision.uid() != newest.uid());
        revisions.push(newest.clone());
        Ok(Ok(newest))
    }

    async fn renumber(&self, revision: &ControllerRevision, number: i64) -> kube::Result<ControllerRevision> {
        let api: Api<ControllerRevision> = self.context.namespaced(&revision.namespace().unwrap_or_default());
        let patch = json!({ "metadata": { "uid": revision.uid() }, "revision": number });
        api.patch(&revision.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await
    }

    async fn create<O: Owner>(
        &self,
        owner: &O,
        draft: Draft<'_>,
        number: i64,
    ) -> kube::Result<Result<ControllerRevision, Collision>> {
        let mut labels: BTreeMap<_, _> =
            draft.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        labels.insert(draft.label.into(), draft.hash.clone());
        let prefix: String = owner.name_any().chars().take(223).collect();
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{prefix}-{}", draft.hash)),
                namespace: owner.namespace(),
                labels: Some(labels),
                annotations: owner.meta().annotations.clone(),
                owner_references: Some(vec![controlled_by(owner)]),
                ..ObjectMeta::default()
            },
            data: RawExtension(draft.data),
            revision: Some(number),
        };
        let api: Api<ControllerRevision> = self.context.namespaced(&owner.namespace().unwrap_or_default());
        match api.create(&PostParams::default(), &revision).await {
            Ok(created) => Ok(Ok(created)),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let Some(live) = found(api.get(&revision.name_any()).await)? else { return Ok(Err(Collision)) };
                Ok(if data_of(&live) == data_of(&revision) { Ok(live) } else { Err(Collision) })
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the informer shows what was written, so that the next number is counted from it. Gives up after a
    /// while: the next pass then meets the same name again.
    async fn shown(&self, written: &ControllerRevision) {
        let (namespace, name) = (written.namespace().unwrap_or_default(), written.name_any());
        let is_shown = || self.revisions.get(&namespace, &name).is_some_and(|seen| seen.revision == written.revision);
        let mut changes = self.revisions.subscribe();
        let waiting = async { while !is_shown() && changes.next().await.is_some() {} };
        let _ = tokio::time::timeout(SHOWN_MAX, waiting).await;
    }

    pub async fn delete(&self, surplus: Vec<Arc<ControllerRevision>>) -> kube::Result<()> {
        for revision in surplus {
            let api: Api<ControllerRevision> = self.context.namespaced(&revision.namespace().unwrap_or_default());
            delete(&api, &revision.name_any(), revision.uid()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Words are `name:number:data`.
    fn revisions(words: &str) -> Vec<Arc<ControllerRevision>> {
        let revision = |word: &str| {
            let [name, number, data] = word.split(':').collect::<Vec<_>>()[..] else { panic!("three parts") };
            let mut revision = ControllerRevision { revision: number.parse().ok(), ..Default::default() };
            revision.metadata.name = Some(name.into());
            revision.data = RawExtension(json!(data));
            Arc::new(revision)
        };
        words.split_whitespace().map(revision).collect()
    }

    fn check(words: &str, data: &str, expected: Expect) {
        expected.assert_eq(&match plan(&revisions(words), &json!(data)) {
            Step::Keep(revision) => format!("keep {}", revision.name_any()),
            Step::Renumber(revision, number) => format!("{} is {number}", revision.name_any()),
            Step::Create(number) => format!("create {number}"),
        });
    }

    #[test]
    fn the_newest_revision_holds_the_template() {
        check("", "x", expect!["create 1"]);
        check("a:1:x", "x", expect!["keep a"]);
        check("a:1:x b:2:y", "z", expect!["create 3"]);
        check("a:1:x b:2:y", "y", expect!["keep b"]);
        check("a:1:x b:2:y", "x", expect!["a is 3"]);
        check("a:1:x b:2:x c:3:y", "x", expect!["b is 4"]);
    }

    #[test]
    fn the_oldest_idle_revisions_go() {
        let all = revisions("a:1:x b:2:y c:3:z d:4:w");
        let live = HashSet::from(["a".to_owned(), "d".to_owned()]);
        let names = |limit| surplus(&all, &live, limit).iter().map(|one| one.name_any()).collect::<Vec<_>>();
        assert_eq!(names(2), Vec::<String>::new());
        assert_eq!(names(1), ["b"]);
        assert_eq!(names(0), ["b", "c"]);
    }

    #[test]
    fn a_template_comes_back_from_its_snapshot() {
        let template: PodTemplateSpec =
            serde_json::from_value(json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}})).unwrap();
        let data = snapshot(&template);
        assert_eq!(data["spec"]["template"]["$patch"], "replace");
        let revision = ControllerRevision { data: RawExtension(data), ..Default::default() };
        assert_eq!(template_of(&revision), Some(template));
    }
}
