//! What a schema does not name goes, unless it says to keep it. `apiVersion`, `kind` and `metadata` of an object and of
//! an embedded one are no matter of the schema.

use serde_json::Value;

use super::{Additional, Structural};

/// Fields that every object has.
const RESOURCE: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Structural {
    /// Drops unknown fields from a whole object; their paths come back as strict decoding names them, at most 100.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        prune(object, Some(self), true, &mut String::new(), &mut unknown);
        unknown
    }
}

const UNKNOWN_MAX: usize = 100;

fn prune(
    value: &mut Value,
    schema: Option<&Structural>,
    is_resource: bool,
    path: &mut String,
    unknown: &mut Vec<String>,
) {
    match value {
        Value::Object(members) => {
            let keeps = schema.is_some_and(|schema| schema.preserve || matches!(schema.additional, Additional::Any));
            let names: Vec<String> = members.keys().cloned().collect();
            for name in names {
                if is_resource && RESOURCE.contains(&name.as_str()) {
                    continue;
                }
                let length = path.len();
                if length > 0 {
                    path.push('.');
                }
                path.push_str(&name);
                let below = schema.and_then(|schema| schema.member(&name));
                if below.is_none() && !keeps {
                    if unknown.len() < UNKNOWN_MAX {
                        unknown.push(format!("unknown field \"{path}\""));
                    }
                    members.remove(&name);
                } else if let (Some(member), Some(below)) = (members.get_mut(&name), below) {
                    prune(member, Some(below), below.embedded, path, unknown);
                }
                path.truncate(length);
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.and_then(|schema| schema.items.as_deref()) else { return };
            for (index, item) in list.iter_mut().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{index}]"));
                prune(item, Some(items), items.embedded, path, unknown);
                path.truncate(length);
            }
        }
        _ => {}
    }
}
