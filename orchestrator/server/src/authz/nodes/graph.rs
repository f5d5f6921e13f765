//! Which node has to do with which object. Pods make the edges: what a pod uses, the node that it is bound to may read.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::kinds::json::{items, text};

const MIRROR: &str = "kubernetes.io/config.mirror";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    Secret,
    ConfigMap,
    ServiceAccount,
    Claim,
    ResourceClaim,
    Pod,
    Volume,
    Attachment,
    Slice,
}

/// An object that a node may ask for. The namespace is empty for cluster-scoped ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Thing {
    pub what: What,
    pub namespace: String,
    pub name: String,
}

impl Thing {
    pub fn new(what: What, namespace: &str, name: &str) -> Self {
        Self { what, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// A pod by namespace and name.
type PodName = (String, String);

struct Pod {
    uid: String,
    node: String,
    uses: Vec<Thing>,
}

struct Volume {
    claim: Thing,
    secrets: Vec<Thing>,
}

#[derive(Default)]
pub struct Graph {
    pods: HashMap<PodName, Pod>,
    /// For each thing, how many pods of each node use it.
    nodes: HashMap<Thing, HashMap<String, usize>>,
    volumes: HashMap<String, Volume>,
    /// The volumes whose driver needs a secret.
    volumes_of_secret: HashMap<Thing, HashSet<String>>,
    /// Volume attachments and resource slices, which name their node themselves.
    own: HashMap<Thing, String>,
}

impl Graph {
    pub fn relates(&self, node: &str, thing: &Thing) -> bool {
        let used = |thing: &Thing| self.nodes.get(thing).is_some_and(|nodes| nodes.contains_key(node));
        let volume = |name: &str| self.volumes.get(name).is_some_and(|volume| used(&volume.claim));
        match thing.what {
            What::Volume => volume(&thing.name),
            What::Attachment | What::Slice => self.own.get(thing).is_some_and(|owner| owner == node),
            What::Secret => {
                let volumes = self.volumes_of_secret.get(thing);
                used(thing) || volumes.is_some_and(|volumes| volumes.iter().any(|name| volume(name)))
            }
            _ => used(thing),
        }
    }

    /// This pod's edges are known and cannot have changed, unless it got ephemeral containers or claims.
    pub fn knows(&self, (namespace, name): (&str, &str), uid: &str, node: &str) -> bool {
        let pod = self.pods.get(&(namespace.to_owned(), name.to_owned()));
        pod.is_some_and(|pod| pod.uid == uid && pod.node == node)
    }

    pub fn put_pod(&mut self, pod: &Value) {
        let (namespace, name) = (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
        self.remove_pod(namespace, name);
        let node = text(&pod["spec"]["nodeName"]);
        if node.is_empty() {
            return;
        }
        let mut uses = vec![Thing::new(What::Pod, namespace, name)];
        // A node makes mirror pods itself: they give it nothing.
        if pod["metadata"]["annotations"].get(MIRROR).is_none() {
            uses.extend(used_by(pod));
        }
        for thing in &uses {
            *self.nodes.entry(thing.clone()).or_default().entry(node.to_owned()).or_default() += 1;
        }
        let uid = text(&pod["metadata"]["uid"]).to_owned();
        self.pods.insert((namespace.to_owned(), name.to_owned()), Pod { uid, node: node.to_owned(), uses });
    }

    pub fn remove_pod(&mut self, namespace: &str, name: &str) {
        let Some(pod) = self.pods.remove(&(namespace.to_owned(), name.to_owned())) else { return };
        for thing in &pod.uses {
            let Some(nodes) = self.nodes.get_mut(thing) else { continue };
            if let Some(count) = nodes.get_mut(&pod.node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(&pod.node);
                }
            }
            if nodes.is_empty() {
                self.nodes.remove(thing);
            }
        }
    }

    pub fn put_volume(&mut self, volume: &Value) {
        let name = text(&volume["metadata"]["name"]);
        self.remove_volume(name);
        let bound = &volume["spec"]["claimRef"];
        if bound.is_null() {
            return;
        }
        let claim = Thing::new(What::Claim, text(&bound["namespace"]), text(&bound["name"]));
        let secrets = secrets_of_volume(&volume["spec"], text(&bound["namespace"]));
        for secret in &secrets {
            self.volumes_of_secret.entry(secret.clone()).or_default().insert(name.to_owned());
        }
        self.volumes.insert(name.to_owned(), Volume { claim, secrets });
    }

    pub fn remove_volume(&mut self, name: &str) {
        let Some(volume) = self.volumes.remove(name) else { return };
        for secret in &volume.secrets {
            if let Some(volumes) = self.volumes_of_secret.get_mut(secret) {
                volumes.remove(name);
                if volumes.is_empty() {
                    self.volumes_of_secret.remove(secret);
                }
            }
        }
    }

    /// A volume attachment or resource slice and the node it names; an empty one is nobody's.
    pub fn put_own(&mut self, thing: Thing, node: &str) {
        match node {
            "" => self.own.remove(&thing),
            node => self.own.insert(thing, node.to_owned()),
        };
    }

    pub fn remove_own(&mut self, thing: &Thing) {
        self.own.remove(thing);
    }

    /// Forgets all of one resource, before it is listed again.
    pub fn clear(&mut self, what: What) {
        match what {
            What::Pod => {
                self.pods.clear();
                self.nodes.clear();
            }
            What::Volume => {
                self.volumes.clear();
                self.volumes_of_secret.clear();
            }
            other => self.own.retain(|thing, _| thing.what != other),
        }
    }
}

/// Everything that a pod's specification names.
pub fn used_by(pod: &Value) -> Vec<Thing> {
    let (namespace, spec) = (text(&pod["metadata"]["namespace"]), &pod["spec"]);
    let mut found: HashSet<Thing> = HashSet::new();
    let mut add = |what, name: &Value| {
        let name = text(name);
        if !name.is_empty() {
            found.insert(Thing::new(what, namespace, name));
        }
    };
    add(What::ServiceAccount, &spec["serviceAccountName"]);
    items(&spec["imagePullSecrets"]).iter().for_each(|secret| add(What::Secret, &secret["name"]));
    for container in ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|list| items(&spec[*list]))
    {
        for source in items(&container["envFrom"]) {
            add(What::Secret, &source["secretRef"]["name"]);
            add(What::ConfigMap, &source["configMapRef"]["name"]);
        }
        for variable in items(&container["env"]) {
            add(What::Secret, &variable["valueFrom"]["secretKeyRef"]["name"]);
            add(What::ConfigMap, &variable["valueFrom"]["configMapKeyRef"]["name"]);
        }
    }
    for volume in items(&spec["volumes"]) {
        add(What::ConfigMap, &volume["configMap"]["name"]);
        add(What::Secret, &volume["secret"]["secretName"]);
        add(What::Secret, &volume["azureFile"]["secretName"]);
        add(What::Secret, &volume["csi"]["nodePublishSecretRef"]["name"]);
        for driver in ["cephfs", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"] {
            add(What::Secret, &volume[driver]["secretRef"]["name"]);
        }
        for source in items(&volume["projected"]["sources"]) {
            add(What::Secret, &source["secret"]["name"]);
            add(What::ConfigMap, &source["configMap"]["name"]);
        }
        add(What::Claim, &volume["persistentVolumeClaim"]["claimName"]);
        if volume["ephemeral"].is_object() {
            let claim = format!("{}-{}", text(&pod["metadata"]["name"]), text(&volume["name"]));
            add(What::Claim, &claim.into());
        }
    }
    items(&spec["resourceClaims"]).iter().for_each(|claim| add(What::ResourceClaim, &claim["resourceClaimName"]));
    let statuses = &pod["status"]["resourceClaimStatuses"];
    items(statuses).iter().for_each(|claim| add(What::ResourceClaim, &claim["resourceClaimName"]));
    found.into_iter().collect()
}

/// The secrets of a volume's driver: in the namespace that it names, else in the claim's.
fn secrets_of_volume(spec: &Value, of_claim: &str) -> Vec<Thing> {
    let csi = [
        "nodePublishSecretRef",
        "nodeStageSecretRef",
        "nodeExpandSecretRef",
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
    ];
    let mut found: Vec<(&Value, &str)> = csi.iter().map(|field| (&spec["csi"][*field], "name")).collect();
    found.push((&spec["azureFile"], "secretName"));
    found.extend(
        ["cephfs", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"].map(|d| (&spec[d]["secretRef"], "name")),
    );
    let thing = |(reference, field): (&Value, &str)| {
        let namespace = match text(&reference["namespace"]) {
            "" if field == "secretName" => text(&reference["secretNamespace"]),
            namespace => namespace,
        };
        let namespace = if namespace.is_empty() { of_claim } else { namespace };
        let name = text(&reference[field]);
        (!name.is_empty()).then(|| Thing::new(What::Secret, namespace, name))
    };
    found.into_iter().filter_map(thing).collect()
}
