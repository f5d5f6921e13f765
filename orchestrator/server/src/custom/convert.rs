//! Between the versions of a custom kind: by name alone, or by a webhook that its owner runs.

use std::time::Duration;

use serde_json::{Value, json};

use super::CustomKind;
use super::json_path::JsonPath;
use crate::kinds::json::{items, text};
use crate::reply::Status;
use crate::seams::Cluster;
use crate::webhook_client;

const WITHIN: Duration = Duration::from_secs(30);

/// How objects get from one version to another, and by which fields those of each version are selected.
pub struct Conversion {
    how: How,
    group: String,
    /// Versions with selectable fields: name, then labels and paths.
    selectable: Vec<(String, Vec<(String, JsonPath)>)>,
}

enum How {
    /// Nothing but the name changes.
    None,
    Webhook(Webhook),
}

struct Webhook {
    client: Value,
    kind: String,
    review_version: &'static str,
}

impl Conversion {
    pub fn of(definition: &Value) -> Self {
        let versions = items(&definition["spec"]["versions"]).iter();
        let selectable = versions.map(|version| (text(&version["name"]).to_owned(), selectable(version)));
        Self {
            how: How::of(definition),
            group: text(&definition["spec"]["group"]).to_owned(),
            selectable: selectable.filter(|(_, fields)| !fields.is_empty()).collect(),
        }
    }

    /// Selectable fields of an object in all versions, `version:label` each, sorted.
    pub async fn selectable_values(&self, cluster: &Cluster, object: &Value) -> Result<Vec<(String, String)>, Status> {
        let mut found = Vec::new();
        for (version, fields) in &self.selectable {
            let wanted = format!("{}/{version}", self.group);
            let converted = self.convert(cluster, vec![object.clone()], &wanted).await?;
            found.extend(fields.iter().map(|field| valued(version, field, &converted[0])));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Those of them that nobody has to be asked for: all, unless a webhook converts; then those of its own version.
    pub fn known_values(&self, object: &Value) -> Vec<(String, String)> {
        let stored = text(&object["apiVersion"]).rsplit('/').next().unwrap_or_default();
        let known = self.selectable.iter().filter(|(version, _)| matches!(self.how, How::None) || version == stored);
        let values = known.flat_map(|(version, fields)| fields.iter().map(move |field| valued(version, field, object)));
        values.collect()
    }

    /// Objects of any versions as those of `wanted`, which is `group/version`. In their order.
    pub async fn convert(
        &self,
        cluster: &Cluster,
        mut objects: Vec<Value>,
        wanted: &str,
    ) -> Result<Vec<Value>, Status> {
        let differs = |object: &Value| text(&object["apiVersion"]) != wanted;
        match &self.how {
            How::None => {
                objects.iter_mut().for_each(|object| object["apiVersion"] = wanted.into());
                Ok(objects)
            }
            How::Webhook(webhook) => {
                let at: Vec<usize> = (0..objects.len()).filter(|at| differs(&objects[*at])).collect();
                if at.is_empty() {
                    return Ok(objects);
                }
                let asked: Vec<Value> = at.iter().map(|at| objects[*at].clone()).collect();
                let converted = webhook.ask(cluster, &asked, wanted).await?;
                for (at, converted) in at.into_iter().zip(converted) {
                    objects[at] = converted;
                }
                Ok(objects)
            }
        }
    }
}

fn valued(version: &str, (label, path): &(String, JsonPath), object: &Value) -> (String, String) {
    let value = match path.first(object) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    (format!("{version}:{label}"), value)
}

fn selectable(version: &Value) -> Vec<(String, JsonPath)> {
    let field = |field: &Value| {
        let source = text(&field["jsonPath"]);
        Some((source.trim_start_matches('.').to_owned(), JsonPath::parse(source).ok()?))
    };
    items(&version["selectableFields"]).iter().filter_map(field).collect()
}

impl How {
    fn of(definition: &Value) -> Self {
        let conversion = &definition["spec"]["conversion"];
        if conversion["strategy"] != "Webhook" {
            return Self::None;
        }
        let webhook = &conversion["webhook"];
        let v1 = items(&webhook["conversionReviewVersions"]).iter().any(|version| version == "v1");
        Self::Webhook(Webhook {
            client: webhook["clientConfig"].clone(),
            kind: text(&definition["spec"]["names"]["kind"]).to_owned(),
            review_version: if v1 { "apiextensions.k8s.io/v1" } else { "apiextensions.k8s.io/v1beta1" },
        })
    }
}

impl Webhook {
    async fn ask(&self, cluster: &Cluster, objects: &[Value], wanted: &str) -> Result<Vec<Value>, Status> {
        let from = text(&objects[0]["apiVersion"]);
        let failed =
            |why: String| Status::internal(format!("conversion webhook for {from}, Kind={} failed: {why}", self.kind));
        let uid = uuid::Uuid::new_v4().to_string();
        let review = json!({
            "apiVersion": self.review_version, "kind": "ConversionReview",
            "request": { "uid": uid, "desiredAPIVersion": wanted, "objects": objects },
        });
        let answer = webhook_client::post(cluster, &self.client, &review, WITHIN).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let response = &answer["response"];
        if answer["kind"] != "ConversionReview" || !response.is_object() {
            return Err(failed("invalid response: expected a ConversionReview with a response".to_owned()));
        }
        if response["uid"] != uid.as_str() {
            return Err(failed(format!("expected response.uid={uid:?}, got {:?}", text(&response["uid"]))));
        }
        if text(&response["result"]["status"]) != "Success" {
            let message = text(&response["result"]["message"]);
            let shown = if message.is_empty() { "conversion request failed" } else { message };
            return Err(failed(shown.to_owned()));
        }
        let converted = items(&response["convertedObjects"]).to_vec();
        if converted.len() != objects.len() {
            let why = format!("returned {} objects, expected {}", converted.len(), objects.len());
            return Err(failed(format!("invalid converted object: {why}")));
        }
        objects.iter().zip(converted).map(|(before, after)| self.checked(before, after, wanted)).collect()
    }

    /// A webhook may change what it likes but which object it is.
    fn checked(&self, before: &Value, mut after: Value, wanted: &str) -> Result<Value, Status> {
        let refuse = |why: &str| {
            let from = text(&before["apiVersion"]);
            Status::internal(format!(
                "conversion webhook for {from}, Kind={} returned invalid converted object: {why}",
                self.kind
            ))
        };
        if text(&after["apiVersion"]) != wanted {
            return Err(refuse(&format!(
                "invalid groupVersion (received {} expected {wanted})",
                text(&after["apiVersion"])
            )));
        }
        if after["kind"] != before["kind"] {
            return Err(refuse(&format!(
                "invalid kind (received {} expected {})",
                text(&after["kind"]),
                text(&before["kind"])
            )));
        }
        for field in ["name", "namespace", "uid"] {
            if after["metadata"][field] != before["metadata"][field] {
                return Err(refuse(&format!("metadata.{field} must not be changed")));
            }
        }
        // Labels and annotations are the webhook's to change, all else of metadata is not.
        let mut metadata = before["metadata"].clone();
        for field in ["labels", "annotations"] {
            match after["metadata"].get(field) {
                Some(value) if !value.is_null() => metadata[field] = value.clone(),
                _ => drop(metadata.as_object_mut().map(|metadata| metadata.remove(field))),
            }
        }
        after["metadata"] = metadata;
        Ok(after)
    }
}

impl CustomKind {
    /// `group/version`
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.kind.group, self.kind.version)
    }

    /// From what a client sent to what is stored.
    pub async fn to_stored(&self, cluster: &Cluster, value: Value, hub: &Self) -> Result<Value, Status> {
        let converted = self.conversion.convert(cluster, vec![value], &hub.api_version()).await?;
        let mut value = converted.into_iter().next().expect("as many come back as went");
        if hub.kind.version != self.kind.version {
            hub.schema.prune(&mut value);
            hub.schema.fill_defaults(&mut value);
        }
        Ok(value)
    }

    /// From what is stored to this version: defaults of the stored one first, so that objects older than a default
    /// have it too.
    pub async fn of_stored(&self, cluster: &Cluster, mut values: Vec<Value>, hub: &Self) -> Result<Vec<Value>, Status> {
        let stored = hub.api_version();
        for value in values.iter_mut().filter(|value| text(&value["apiVersion"]) == stored) {
            hub.schema.fill_defaults(value);
        }
        let mut values = self.conversion.convert(cluster, values, &self.api_version()).await?;
        values.iter_mut().for_each(|value| drop(self.schema.prune(value)));
        Ok(values)
    }
}
