//! What CONNECT asks of admission: streams and proxies have no object of their own, so their parameters are shown as the
//! options object that they are. Source: core/v1's PodExecOptions and its relatives, and their defaults.

use serde_json::{Map, Value};

use crate::call::Call;
use crate::reply::Status;
use crate::seams::{Operation, api_version};
use crate::write;

/// Parameters that are true or false; the two outputs are wanted unless somebody says otherwise.
const FLAGS: &[(&str, bool)] = &[("stdin", false), ("stdout", true), ("stderr", true), ("tty", false)];

/// Asks the plug-ins whether this may be connected to. `path` is what a proxied request goes on to.
pub async fn admit(call: &Call, path: &str) -> Result<(), Status> {
    let served = call.kind().subresources.iter().find(|one| one.name == call.subresource());
    let Some((group, version, kind)) = served.and_then(|one| one.kind) else { return Ok(()) };
    let mut options = options(call, path);
    options.insert("apiVersion".to_owned(), api_version(group, version).into());
    options.insert("kind".to_owned(), kind.into());
    write::admit_body(call, Operation::Connect, Value::Object(options), false).await.map(drop)
}

fn options(call: &Call, path: &str) -> Map<String, Value> {
    let query = call.query();
    let mut options = Map::new();
    let mut put = |name: &str, value: Value| drop(options.insert(name.to_owned(), value));
    if call.subresource() == "proxy" {
        if !path.is_empty() {
            put("path", path.into());
        }
        return options;
    }
    if call.subresource() == "portforward" {
        let ports: Vec<i64> = query.all("ports").flat_map(|list| list.split(',')).filter_map(number).collect();
        put("ports", ports.into());
        return options;
    }
    for (name, usual) in FLAGS {
        if query.get(name).map_or(*usual, |given| !matches!(given, "false" | "0")) {
            put(name, true.into());
        }
    }
    if let Some(container) = query.get("container") {
        put("container", container.into());
    }
    let command: Vec<&str> = query.all("command").collect();
    if !command.is_empty() {
        put("command", command.into());
    }
    options
}

fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}
