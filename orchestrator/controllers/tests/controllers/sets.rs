//! StatefulSets, DaemonSets, disruption budgets and claims of volumes. `play_nodes` plays
//! scheduler and agent: it binds pods, runs those whose image is `ok`, and lets ended pods go.

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE};

impl Cluster {
    async fn shows<K>(&self, name: &str, see: impl Fn(&DynamicObject) -> Value, wanted: Value)
    where
        K: kube::Resource<DynamicType = ()>,
    {
        self.shows_in::<K>("d", name, see, wanted).await;
    }

    /// Waits until what `see` makes of an object is as wanted.
    async fn shows_in<K>(&self, namespace: &str, name: &str, see: impl Fn(&DynamicObject) -> Value, wanted: Value)
    where
        K: kube::Resource<DynamicType = ()>,
    {
        self.until::<K>(namespace, name, |state| state.map_or(Value::Null, &see) == wanted).await;
    }

    async fn settled(&self, name: &str, replicas: i32, revision: i64) {
        let see = |set: &DynamicObject| {
            let status = &set.data["status"];
            let number = |field: &str| status[field].as_i64().unwrap_or(0);
            json!([
                number("updatedReplicas"),
                number("availableReplicas"),
                number("replicas"),
                status["currentRevision"] == status["updateRevision"],
                status["observedGeneration"] == json!(set.metadata.generation)
            ])
        };
        self.shows::<StatefulSet>(name, see, json!([replicas, replicas, replicas, true, true])).await;
        let newest = self.list::<ControllerRevision>().await.iter().map(|one| one.data["revision"].as_i64()).max();
        assert_eq!(newest.flatten(), Some(revision));
    }

    /// `name image revision-number` of each pod, in order of creation.
    async fn pods(&self) -> Vec<(String, String)> {
        let mut pods = self.list::<Pod>().await;
        pods.sort_by_key(|pod| pod.name_any());
        let image = |pod: &DynamicObject| pod.data["spec"]["containers"][0]["image"].as_str().unwrap_or("").to_owned();
        pods.iter().map(|pod| (pod.name_any(), image(pod))).collect()
    }
}

async fn cluster() -> Cluster {
    Cluster::start(|client| Box::pin(play_nodes(client))).await
}

/// Binds, runs and ends every pod as soon as it is seen.
async fn play_nodes(client: kube::Client) {
    let resource = ApiResource::erase::<Pod>(&());
    let pods: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let mut events = std::pin::pin!(watcher::watcher(pods, watcher::Config::default()));
    while let Some(event) = events.next().await {
        let (Ok(watcher::Event::Apply(pod)) | Ok(watcher::Event::InitApply(pod))) = event else { continue };
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let (name, spec) = (pod.name_any(), &pod.data["spec"]);
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = api.delete(&name, &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await;
            continue;
        }
        let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let named = required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].as_str();
        if spec["nodeName"].is_null() {
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                "target": {"kind": "Node", "name": named.unwrap_or("n")}});
            let _: kube::Result<Value> =
                api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
        }
        let is_ok = spec["containers"][0]["image"].as_str().is_some_and(|image| image.starts_with("ok"));
        if is_ok && pod.data["status"]["phase"] == "Pending" {
            let now = jiff::Timestamp::now().to_string();
            let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": now}]);
            let patch = json!({"status": {"phase": "Running", "conditions": ready}});
            let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        }
    }
}

fn set(more: Value) -> Value {
    let mut spec = json!({
        "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template("ok:1"),
    });
    for (field, value) in more.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": "db"}, "spec": spec})
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn names(pods: &[(String, String)]) -> Vec<String> {
    pods.iter().map(|(name, image)| format!("{name} {image}")).collect()
}

#[tokio::test]
async fn a_stateful_set_grows_rolls_out_and_goes_back() {
    let mut cluster = cluster().await;
    cluster.create::<StatefulSet>("d", set(json!({}))).await;
    cluster.settled("db", 3, 1).await;
    assert_eq!(names(&cluster.pods().await), ["db-0 ok:1", "db-1 ok:1", "db-2 ok:1"]);
    cluster.told("SuccessfulCreate create Pod db-2 in StatefulSet db successful").await;
    cluster.patch::<StatefulSet>("db", json!({"spec": {"template": template("ok:2")}})).await;
    cluster.settled("db", 3, 2).await;
    assert_eq!(names(&cluster.pods().await), ["db-0 ok:2", "db-1 ok:2", "db-2 ok:2"]);
    cluster.restart_controllers().await;
    cluster.patch::<StatefulSet>("db", json!({"spec": {"template": template("ok:1"), "replicas": 2}})).await;
    cluster.settled("db", 2, 3).await;
    assert_eq!(names(&cluster.pods().await), ["db-0 ok:1", "db-1 ok:1"]);
    assert_eq!(cluster.list::<ControllerRevision>().await.len(), 2);
    cluster.told("SuccessfulDelete delete Pod db-2 in StatefulSet db successful").await;
}

#[tokio::test]
async fn a_partition_keeps_the_first_pods_as_they_were() {
    let cluster = cluster().await;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    cluster.create::<StatefulSet>("d", set(json!({"updateStrategy": strategy}))).await;
    cluster.settled("db", 3, 1).await;
    cluster.patch::<StatefulSet>("db", json!({"spec": {"template": template("ok:2")}})).await;
    let counted =
        |set: &DynamicObject| json!([set.data["status"]["currentReplicas"], set.data["status"]["updatedReplicas"]]);
    cluster.shows::<StatefulSet>("db", counted, json!([2, 1])).await;
    let before = cluster.api::<Pod>("d").get("db-0").await.expect("it runs").uid();
    cluster.api::<Pod>("d").delete("db-0", &DeleteParams::default()).await.expect("deleted");
    let is_new = |pod: &DynamicObject| json!(pod.uid() != before && pod.data["status"]["phase"] == "Running");
    cluster.shows::<Pod>("db-0", is_new, json!(true)).await;
    cluster.shows::<StatefulSet>("db", counted, json!([2, 1])).await;
    assert_eq!(names(&cluster.pods().await), ["db-0 ok:1", "db-1 ok:1", "db-2 ok:2"]);
}

#[tokio::test]
async fn an_ordered_set_waits_for_its_first_pod_a_parallel_one_does_not() {
    let cluster = cluster().await;
    cluster.create::<StatefulSet>("d", set(json!({"template": template("broken")}))).await;
    let counted = |set: &DynamicObject| set.data["status"]["replicas"].clone();
    cluster.shows::<StatefulSet>("db", counted, json!(1)).await;
    let mut parallel =
        set(json!({"template": template("broken"), "podManagementPolicy": "Parallel", "ordinals": {"start": 4}}));
    parallel["metadata"]["name"] = "wide".into();
    cluster.create::<StatefulSet>("d", parallel).await;
    cluster.shows::<StatefulSet>("wide", counted, json!(3)).await;
    let all = names(&cluster.pods().await);
    assert_eq!(all, ["db-0 broken", "wide-4 broken", "wide-5 broken", "wide-6 broken"]);
    let failed = Patch::Merge(json!({"status": {"phase": "Failed"}}));
    let before = cluster.api::<Pod>("d").get("db-0").await.expect("it is there").uid();
    cluster.api::<Pod>("d").patch_status("db-0", &PatchParams::default(), &failed).await.expect("patched");
    cluster.shows::<Pod>("db-0", |pod| json!(pod.uid() != before), json!(true)).await;
}

#[tokio::test]
async fn claims_live_and_end_as_the_policy_says() {
    let cluster = cluster().await;
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Mi"}}}});
    let policy = json!({"whenDeleted": "Retain", "whenScaled": "Delete"});
    let more = json!({"volumeClaimTemplates": [claim], "persistentVolumeClaimRetentionPolicy": policy, "replicas": 2});
    cluster.create::<StatefulSet>("d", set(more)).await;
    cluster.settled("db", 2, 1).await;
    cluster.told("SuccessfulCreate create Claim data-db-1 Pod db-1 in StatefulSet db success").await;
    let pod = cluster.api::<Pod>("d").get("db-1").await.expect("it runs");
    assert_eq!(pod.data["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-db-1");
    cluster.patch::<StatefulSet>("db", json!({"spec": {"replicas": 1}})).await;
    cluster.settled("db", 1, 1).await;
    cluster.shows::<PersistentVolumeClaim>("data-db-1", |_| json!("there"), Value::Null).await;
    cluster.patch::<StatefulSet>("db", json!({"spec": {"replicas": 2}})).await;
    cluster.settled("db", 2, 1).await;
    let claims: Vec<_> = cluster.list::<PersistentVolumeClaim>().await.iter().map(|one| one.name_any()).collect();
    assert_eq!(claims, ["data-db-0", "data-db-1"]);
}

/// A node that is ready.
async fn node(cluster: &Cluster, name: &str, more: Value) {
    cluster.create::<Node>("", json!({"metadata": {"name": name, "labels": {"role": "work"}}, "spec": more})).await;
    let now = jiff::Timestamp::now().to_string();
    let ready = json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}]);
    let patch = Patch::Strategic(json!({"status": {"conditions": ready}}));
    cluster.api::<Node>("").patch_status(name, &PatchParams::default(), &patch).await.expect("patched");
}

fn daemons(more: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": "db"}}, "template": template("ok:1")});
    for (field, value) in more.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": "agent"}, "spec": spec})
}

async fn daemons_settled(cluster: &Cluster, count: i32) {
    let see = |set: &DynamicObject| {
        let number = |field: &str| set.data["status"][field].as_i64().unwrap_or(0);
        json!([
            number("desiredNumberScheduled"),
            number("updatedNumberScheduled"),
            number("numberAvailable"),
            number("numberMisscheduled"),
            set.data["status"]["observedGeneration"] == json!(set.metadata.generation)
        ])
    };
    cluster.shows::<DaemonSet>("agent", see, json!([count, count, count, 0, true])).await;
}

/// `node image` of each pod.
async fn placed(cluster: &Cluster) -> Vec<String> {
    let word = |pod: &DynamicObject| {
        let spec = &pod.data["spec"];
        format!(
            "{} {}",
            spec["nodeName"].as_str().unwrap_or("-"),
            spec["containers"][0]["image"].as_str().unwrap_or("")
        )
    };
    let mut all: Vec<_> = cluster.list::<Pod>().await.iter().map(word).collect();
    all.sort();
    all
}

#[tokio::test]
async fn each_node_has_one_daemon() {
    let cluster = cluster().await;
    for name in ["a", "b"] {
        node(&cluster, name, json!({})).await;
    }
    node(&cluster, "c", json!({"taints": [{"key": "k", "effect": "NoSchedule"}]})).await;
    cluster.create::<DaemonSet>("d", daemons(json!({}))).await;
    daemons_settled(&cluster, 2).await;
    assert_eq!(placed(&cluster).await, ["a ok:1", "b ok:1"]);
    node(&cluster, "e", json!({})).await;
    daemons_settled(&cluster, 3).await;
    cluster.patch::<DaemonSet>("agent", json!({"spec": {"template": template("ok:2")}})).await;
    daemons_settled(&cluster, 3).await;
    assert_eq!(placed(&cluster).await, ["a ok:2", "b ok:2", "e ok:2"]);
    let selector = json!({"spec": {"template": {"spec": {"nodeSelector": {"role": "play"}}}}});
    cluster.patch::<DaemonSet>("agent", selector).await;
    daemons_settled(&cluster, 0).await;
    assert!(placed(&cluster).await.is_empty());
    let revisions = cluster.list::<ControllerRevision>().await;
    let mut numbers: Vec<_> = revisions.iter().filter_map(|one| one.data["revision"].as_i64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    // What `kubectl rollout undo` sends: the patch that a revision holds.
    let first = revisions.iter().find(|one| one.data["revision"] == 1).expect("the first revision");
    let undo = Patch::Strategic(first.data["data"].clone());
    cluster.api::<DaemonSet>("d").patch("agent", &PatchParams::default(), &undo).await.expect("undone");
    daemons_settled(&cluster, 3).await;
    assert_eq!(placed(&cluster).await, ["a ok:1", "b ok:1", "e ok:1"]);
}

#[tokio::test]
async fn a_surge_has_the_new_daemon_first_and_failed_ones_are_replaced() {
    let cluster = cluster().await;
    node(&cluster, "a", json!({})).await;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    cluster.create::<DaemonSet>("d", daemons(json!({"updateStrategy": strategy}))).await;
    daemons_settled(&cluster, 1).await;
    cluster.patch::<DaemonSet>("agent", json!({"spec": {"template": template("broken")}})).await;
    // Which of a node's two pods counts as available is a matter of their names when they are of one second.
    let observed =
        |set: &DynamicObject| json!(set.metadata.generation == set.data["status"]["observedGeneration"].as_i64());
    cluster.shows::<DaemonSet>("agent", observed, json!(true)).await;
    let two = async {
        while placed(&cluster).await != ["a broken", "a ok:1"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, two).await.expect("old and new side by side");
    cluster.patch::<DaemonSet>("agent", json!({"spec": {"template": template("ok:2")}})).await;
    daemons_settled(&cluster, 1).await;
    assert_eq!(placed(&cluster).await, ["a ok:2"]);
    let pod = cluster.list::<Pod>().await.remove(0).name_any();
    let failed = Patch::Merge(json!({"status": {"phase": "Failed"}}));
    cluster.api::<Pod>("d").patch_status(&pod, &PatchParams::default(), &failed).await.expect("patched");
    cluster.shows::<Pod>(&pod, |_| json!("there"), Value::Null).await;
    let message = format!("FailedDaemonPod Found failed daemon pod d/{pod} on node a, will try to kill it");
    cluster.told(&message).await;
    daemons_settled(&cluster, 1).await;
}

#[tokio::test]
async fn a_budget_says_what_may_be_disrupted_and_eviction_takes_from_it() {
    let cluster = cluster().await;
    cluster.create::<StatefulSet>("d", set(json!({}))).await;
    cluster.settled("db", 3, 1).await;
    let selector = json!({"matchLabels": {"app": "db"}});
    let budget = json!({"metadata": {"name": "b"}, "spec": {"selector": selector, "maxUnavailable": "40%"}});
    cluster.create::<PodDisruptionBudget>("d", budget).await;
    let see = |budget: &DynamicObject| {
        let status = &budget.data["status"];
        let reason = status["conditions"][0]["reason"].clone();
        json!([
            status["expectedPods"],
            status["desiredHealthy"],
            status["currentHealthy"],
            status["disruptionsAllowed"],
            reason
        ])
    };
    cluster.shows::<PodDisruptionBudget>("b", see, json!([3, 1, 3, 2, "SufficientPods"])).await;
    cluster.patch::<PodDisruptionBudget>("b", json!({"spec": {"maxUnavailable": 0}})).await;
    cluster.shows::<PodDisruptionBudget>("b", see, json!([3, 3, 3, 0, "InsufficientPods"])).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "d");
    let refused = pods.evict("db-2", &Default::default()).await.expect_err("no disruption is allowed");
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
    let cause = &status.details.as_ref().expect("details").causes[0];
    let why = "The disruption budget b needs 3 healthy pods and has 3 currently";
    assert_eq!((cause.reason.as_str(), cause.message.as_str()), ("DisruptionBudget", why));
    cluster.patch::<PodDisruptionBudget>("b", json!({"spec": {"maxUnavailable": 1}})).await;
    cluster.shows::<PodDisruptionBudget>("b", see, json!([3, 2, 3, 1, "SufficientPods"])).await;
    let before = pods.get("db-2").await.expect("it runs").uid();
    pods.evict("db-2", &Default::default()).await.expect("one disruption is allowed");
    cluster.shows::<Pod>("db-2", |pod| json!(pod.uid() != before), json!(true)).await;
    cluster.shows::<PodDisruptionBudget>("b", see, json!([3, 2, 3, 1, "SufficientPods"])).await;
}

#[tokio::test]
async fn a_budget_of_pods_whose_controller_has_no_scale_allows_nothing() {
    let cluster = cluster().await;
    node(&cluster, "a", json!({})).await;
    cluster.create::<DaemonSet>("d", daemons(json!({}))).await;
    daemons_settled(&cluster, 1).await;
    let selector = json!({"matchLabels": {"app": "db"}});
    let budget = json!({"metadata": {"name": "b"}, "spec": {"selector": selector, "maxUnavailable": 1}});
    cluster.create::<PodDisruptionBudget>("d", budget).await;
    let see = |budget: &DynamicObject| {
        let condition = &budget.data["status"]["conditions"][0];
        json!([budget.data["status"]["disruptionsAllowed"], condition["reason"], condition["message"]])
    };
    let why = "daemonsets.apps does not implement the scale subresource";
    cluster.shows::<PodDisruptionBudget>("b", see, json!([0, "SyncFailed", why])).await;
}

#[tokio::test]
async fn a_claim_gets_the_smallest_volume_that_suits_and_gives_it_back() {
    let cluster = cluster().await;
    for (name, size) in [("big", "9Gi"), ("tiny", "1Mi"), ("fits", "2Gi")] {
        let spec = json!({"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}});
        cluster.create::<PersistentVolume>("", json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    let phase = |object: &DynamicObject| object.data["status"]["phase"].clone();
    for name in ["big", "tiny", "fits"] {
        cluster.shows_in::<PersistentVolume>("", name, phase, json!("Available")).await;
    }
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    cluster.create::<PersistentVolumeClaim>("d", json!({"metadata": {"name": "c"}, "spec": spec})).await;
    let bound = |claim: &DynamicObject| {
        let status = &claim.data["status"];
        json!([status["phase"], claim.data["spec"]["volumeName"], status["capacity"]["storage"]])
    };
    cluster.shows::<PersistentVolumeClaim>("c", bound, json!(["Bound", "fits", "2Gi"])).await;
    cluster.shows_in::<PersistentVolume>("", "fits", phase, json!("Bound")).await;
    cluster.api::<PersistentVolumeClaim>("d").delete("c", &DeleteParams::default()).await.expect("deleted");
    cluster.shows_in::<PersistentVolume>("", "fits", phase, json!("Released")).await;
    cluster.shows_in::<PersistentVolume>("", "big", phase, json!("Available")).await;
}
