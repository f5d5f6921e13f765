//! OpenAPI v2 out of v3: the same paths and types in the older words, for clients that ask `/openapi/v2`. What v2 cannot
//! say is left out as upstream leaves it out, so that kubectl refuses nothing that is allowed. `wire` writes protobuf.
//!
//! A document is put together from [`Part`]s: built-in kinds are one, made once; custom kinds are another.

mod schema;
mod wire;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::RELEASE;

/// Paths and definitions that are not yet a document.
#[derive(Default)]
pub struct Part {
    pub paths: Map<String, Value>,
    pub definitions: Map<String, Value>,
}

/// One part, written: members of JSON objects without the braces around them, or fields of messages.
#[derive(Default)]
pub struct Written {
    paths: Vec<u8>,
    definitions: Vec<u8>,
}

impl Part {
    /// Takes in a document of version 3. Definitions of these names are known already.
    pub fn add(&mut self, document: Value, known: &BTreeSet<String>) {
        let Value::Object(mut document) = document else { return };
        if let Some(Value::Object(paths)) = document.remove("paths") {
            self.paths.extend(paths.into_iter().map(|(path, item)| (path, path_item(item))));
        }
        let Some(Value::Object(schemas)) = document.get_mut("components").map(|all| all["schemas"].take()) else {
            return;
        };
        for (name, schema) in schemas {
            if !known.contains(&name) && !self.definitions.contains_key(&name) {
                self.definitions.insert(name, schema::definition(schema));
            }
        }
    }

    pub fn json(&self) -> Written {
        Written { paths: members(&self.paths), definitions: members(&self.definitions) }
    }

    pub fn protobuf(&self) -> Written {
        Written { paths: wire::paths(&self.paths), definitions: wire::definitions(&self.definitions) }
    }
}

impl Written {
    /// All that is written, to be hashed.
    pub fn bytes(&self) -> [&[u8]; 2] {
        [&self.paths, &self.definitions]
    }
}

fn members(object: &Map<String, Value>) -> Vec<u8> {
    let text = serde_json::to_vec(object).expect("a JSON value can be written to memory");
    text[1..text.len() - 1].to_vec()
}

/// The whole document as JSON.
pub fn json_document(parts: &[&Written]) -> Vec<u8> {
    let head = head();
    let joined = |of: fn(&Written) -> &Vec<u8>| -> Vec<u8> {
        let some: Vec<&[u8]> = parts.iter().map(|part| of(part).as_slice()).filter(|part| !part.is_empty()).collect();
        some.join(&b',')
    };
    let mut out = serde_json::to_vec(&head).expect("a JSON value can be written to memory");
    out.pop();
    out.extend_from_slice(b",\"paths\":{");
    out.extend(joined(|part| &part.paths));
    out.extend_from_slice(b"},\"definitions\":{");
    out.extend(joined(|part| &part.definitions));
    out.extend_from_slice(b"}}");
    out
}

/// The whole document as `openapi.v2.Document`.
pub fn protobuf_document(parts: &[&Written]) -> Vec<u8> {
    let mut out = wire::head(&head());
    for part in parts {
        wire::put_part(&mut out, &part.paths, &part.definitions);
    }
    out
}

fn head() -> Value {
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": RELEASE },
        "securityDefinitions": { "BearerToken": {
            "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication",
        } },
        "security": [{ "BearerToken": [] }],
    })
}

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

fn path_item(item: Value) -> Value {
    let Value::Object(item) = item else { return item };
    let member = |(name, value): (String, Value)| match name.as_str() {
        "parameters" => (name, parameters(value)),
        method if METHODS.contains(&method) => (name, operation(value)),
        _ => (name, value),
    };
    Value::Object(item.into_iter().map(member).collect())
}

/// The schema of a parameter lies in it.
fn parameters(list: Value) -> Value {
    let Value::Array(list) = list else { return list };
    let parameter = |mut parameter: Value| {
        let schema = parameter.as_object_mut().and_then(|parameter| parameter.remove("schema"));
        if let (Some(Value::Object(schema)), Some(parameter)) = (schema, parameter.as_object_mut()) {
            parameter.extend(schema);
        }
        parameter
    };
    list.into_iter().map(parameter).collect()
}

fn operation(operation: Value) -> Value {
    const PRODUCES: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
    const STREAMED: [&str; 2] = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
    let Value::Object(mut operation) = operation else { return operation };
    let mut all = parameters(operation.remove("parameters").unwrap_or_default());
    let body = operation.remove("requestBody");
    let mut consumes = json!(["*/*"]);
    if let Some(body) = &body {
        let content = body["content"].as_object().into_iter().flatten();
        let mut types: Vec<&str> = content.clone().map(|(name, _)| name.as_str()).collect();
        if types.len() > 1 {
            types.sort_unstable();
            consumes = json!(types);
        }
        let schema = content.map(|(_, media)| media["schema"].clone()).next().unwrap_or_default();
        let mut parameter = json!({ "in": "body", "name": "body", "schema": schema::definition(schema) });
        if body["required"] == true {
            parameter["required"] = true.into();
        }
        match all.as_array_mut() {
            Some(all) => all.push(parameter),
            None => all = json!([parameter]),
        }
    }
    let lists = operation.get("x-kubernetes-action").is_some_and(|action| action == "list");
    let produces: Vec<&str> = PRODUCES.into_iter().chain(if lists { STREAMED.to_vec() } else { Vec::new() }).collect();
    let responses = operation.remove("responses").unwrap_or_default();
    operation.insert("responses".to_owned(), self::responses(responses));
    operation.insert("schemes".to_owned(), json!(["https"]));
    operation.insert("consumes".to_owned(), consumes);
    operation.insert("produces".to_owned(), json!(produces));
    if all.as_array().is_some_and(|all| !all.is_empty()) {
        operation.insert("parameters".to_owned(), all);
    }
    Value::Object(operation)
}

fn responses(responses: Value) -> Value {
    let Value::Object(responses) = responses else { return responses };
    let mut all: Map<String, Value> =
        responses.into_iter().map(|(code, response)| (code, self::response(response))).collect();
    all.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
    Value::Object(all)
}

fn response(response: Value) -> Value {
    let schema =
        response["content"].as_object().and_then(|content| content.values().next()).map(|media| &media["schema"]);
    let mut made = json!({ "description": response["description"] });
    if let Some(schema) = schema {
        made["schema"] = schema::definition(schema.clone());
    }
    made
}

#[cfg(test)]
mod tests;
