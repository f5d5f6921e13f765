//! ComponentStatus: how the control plane's parts are, the old way to ask. Nothing of it is stored.

use serde_json::{Value, json};

use super::json::{items, text};
use super::table::{NAME, name, string};
use super::{Kind, PLAIN, Scope};

/// The parts that upstream shows, in its order. Here they are one program: it answers, so they are well.
pub const COMPONENTS: [&str; 3] = ["scheduler", "controller-manager", "etcd-0"];

pub static COMPONENT_STATUS: Kind = Kind {
    kind: "ComponentStatus",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    scope: Scope::Cluster,
    verbs: &["get", "list"],
    schema: "io.k8s.api.core.v1.ComponentStatus",
    storage: "componentstatuses",
    columns: &[
        NAME,
        string("Status", "Status of the component conditions"),
        string("Message", "Message of the component conditions"),
        string("Error", "Error of the component conditions"),
    ],
    row,
    ..PLAIN
};

/// The object of a part that is well.
pub fn healthy(component: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ComponentStatus", "metadata": { "name": component },
        "conditions": [{ "type": "Healthy", "status": "True", "message": "ok" }],
    })
}

fn row(status: &Value, _now: i64) -> Vec<Value> {
    let health = items(&status["conditions"]).iter().find(|condition| condition["type"] == "Healthy");
    let (word, message, error) = match health {
        None => ("Unknown", "", ""),
        Some(health) => {
            let word = if health["status"] == "True" { "Healthy" } else { "Unhealthy" };
            (word, text(&health["message"]), text(&health["error"]))
        }
    };
    vec![name(status), word.into(), message.into(), error.into()]
}
