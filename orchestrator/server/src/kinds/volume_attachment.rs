//! VolumeAttachment: the wish to have a volume attached to a node, and how far it came.

use serde_json::{Value, json};

use super::json::{entries, is_set, set, text};
use super::persistent_volume::{validate_driver, validate_inline};
use super::problem::{immutable, invalid_each};
use super::table::{AGE, NAME, age, boolean, name, string};
use super::{Kind, PLAIN, Problem, STATUS, Scope, UpdateRules, keep_status, metadata, names};

const METADATA_BYTES_MAX: usize = 256 * 1024;
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
const ONE_SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

pub static VOLUME_ATTACHMENT: Kind = Kind {
    group: "storage.k8s.io",
    kind: "VolumeAttachment",
    plural: "volumeattachments",
    singular: "volumeattachment",
    scope: Scope::Cluster,
    subresources: &[STATUS],
    schema: "io.k8s.api.storage.v1.VolumeAttachment",
    storage: "storage.k8s.io/volumeattachments",
    update: UpdateRules { unconditional: false, creates: false, generation: false },
    prepare_create: |attachment| set(attachment, "status", json!({ "attached": false })),
    prepare_update: keep_status,
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("spec", &new["spec"], &old["spec"]));
        problems
    },
    columns: &[
        NAME,
        string("Attacher", "The driver that attaches the volume."),
        string("PV", "The persistent volume that is attached."),
        string("Node", "The node to which the volume is attached."),
        boolean("Attached", "Whether the volume is attached."),
        AGE,
    ],
    row: |attachment, now| {
        let spec = &attachment["spec"];
        vec![
            name(attachment),
            text(&spec["attacher"]).into(),
            text(&spec["source"]["persistentVolumeName"]).into(),
            text(&spec["nodeName"]).into(),
            (attachment["status"]["attached"] == true).into(),
            age(attachment, now),
        ]
    },
    ..PLAIN
};

fn validate(attachment: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(attachment, Scope::Cluster, names::subdomain);
    let (spec, status) = (&attachment["spec"], &attachment["status"]);
    let node = text(&spec["nodeName"]);
    problems.extend(validate_source(&spec["source"]));
    problems.extend(invalid_each("spec.nodeName", node, names::subdomain(node)));
    let details = entries(&status["attachmentMetadata"]);
    if details.map(|(key, value)| key.len() + text(value).len()).sum::<usize>() > METADATA_BYTES_MAX {
        problems.push(Problem::too_long("status.attachmentMetadata", METADATA_BYTES_MAX));
    }
    for field in ["attachError", "detachError"] {
        if text(&status[field]["message"]).len() > MESSAGE_BYTES_MAX {
            problems.push(Problem::too_long(format!("status.{field}.message"), METADATA_BYTES_MAX));
        }
    }
    problems.extend(validate_driver(text(&spec["attacher"]), "spec.attacher"));
    problems
}

fn validate_source(source: &Value) -> Vec<Problem> {
    let path = "spec.source";
    match (source["persistentVolumeName"].as_str(), is_set(&source["inlineVolumeSpec"])) {
        (None, false) => vec![Problem::required(path, ONE_SOURCE)],
        (Some(_), true) => vec![Problem::forbidden(path, ONE_SOURCE)],
        (Some(""), false) => {
            let detail = "must specify non empty persistentVolumeName";
            vec![Problem::required(format!("{path}.persistentVolumeName"), detail)]
        }
        (Some(volume), false) => {
            invalid_each(&format!("{path}.persistentVolumeName"), volume, names::subdomain(volume))
        }
        (None, true) => validate_inline(&source["inlineVolumeSpec"], &format!("{path}.inlineVolumeSpec")),
    }
}
