//! Reads what an autoscaler measures: metrics.k8s.io for resources, custom.metrics.k8s.io and external.metrics.k8s.io
//! where an APIService serves them. Errors are the text that conditions and events show, in upstream's words.

use std::time::Duration;

use amphipod_api::quantity;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{CrossVersionObjectReference, MetricIdentifier};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use super::replicas::{Sample, Samples};
use crate::replica_set::reason;

const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io/v1beta1";
/// Of a sample that does not say.
const WINDOW: Duration = Duration::from_secs(60);

/// What the pods of a selector, or one container of each, use of a resource.
pub async fn resource(
    client: &kube::Client,
    (namespace, selector): (&str, &str),
    resource: &str,
    container: Option<&str>,
) -> Result<Samples, String> {
    let kind = ApiResource {
        group: "metrics.k8s.io".to_owned(),
        version: "v1beta1".to_owned(),
        api_version: "metrics.k8s.io/v1beta1".to_owned(),
        kind: "PodMetrics".to_owned(),
        plural: "pods".to_owned(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let listed = api.list(&ListParams::default().labels(selector)).await;
    let listed =
        listed.map_err(|error| format!("unable to fetch metrics from resource metrics API: {}", reason(&error)))?;
    if listed.items.is_empty() {
        return Err("no metrics returned from resource metrics API".to_owned());
    }
    let sample = |pod: &DynamicObject| Some((pod.name_any(), pod_sample(&pod.data, resource, container)?));
    Ok(listed.items.iter().filter_map(sample).collect())
}

/// `None`: not all that counts has figures.
fn pod_sample(pod: &Value, resource: &str, container: Option<&str>) -> Option<Sample> {
    let containers = pod["containers"].as_array()?;
    let counted = containers.iter().filter(|one| container.is_none_or(|wanted| one["name"] == wanted));
    let amounts = counted.map(|one| quantity::milli(one["usage"][resource].as_str()?));
    let amounts: Vec<i64> = amounts.collect::<Option<_>>()?;
    let milli = amounts.into_iter().reduce(i64::saturating_add)?;
    Some(Sample { milli, at: time(pod), window: window(&pod["window"]) })
}

fn time(metric: &Value) -> Timestamp {
    metric["timestamp"].as_str().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Go's text, or seconds.
fn window(value: &Value) -> Duration {
    let written = || value.as_str()?.parse::<SignedDuration>().ok().and_then(|window| Duration::try_from(window).ok());
    value.as_u64().map(Duration::from_secs).or_else(written).unwrap_or(WINDOW)
}

/// A metric of each pod of a selector.
pub async fn pods(
    client: &kube::Client,
    (namespace, selector): (&str, &str),
    metric: &MetricIdentifier,
) -> Result<Samples, String> {
    let query = [("labelSelector", selector.to_owned()), ("metricLabelSelector", metric_selector(metric))];
    let path = format!("namespaces/{namespace}/pods/*/{}", metric.name);
    let items = custom(client, &path, &query).await?;
    let sample = |item: &Value| {
        let milli = quantity::milli(item["value"].as_str()?)?;
        let written = if item["windowSeconds"].is_null() { &item["window"] } else { &item["windowSeconds"] };
        let sample = Sample { milli, at: time(item), window: window(written) };
        Some((item["describedObject"]["name"].as_str()?.to_owned(), sample))
    };
    Ok(items.iter().filter_map(sample).collect())
}

/// A metric of one object; `resource` is its plural and group.
pub async fn object(
    client: &kube::Client,
    namespace: &str,
    (object, resource): (&CrossVersionObjectReference, &str),
    metric: &MetricIdentifier,
) -> Result<i64, String> {
    let path = match object.kind.as_str() {
        // Nobody looks beyond the own namespace.
        "Namespace" => format!("namespaces/{namespace}/metrics/{}", metric.name),
        _ => format!("namespaces/{namespace}/{resource}/{}/{}", object.name, metric.name),
    };
    let items = custom(client, &path, &[("metricLabelSelector", metric_selector(metric))]).await?;
    let value = items.first().and_then(|item| quantity::milli(item["value"].as_str()?));
    value.ok_or_else(|| "unable to fetch metrics from custom metrics API: the value is no quantity".to_owned())
}

/// The sum of a metric that is of nothing in the cluster.
pub async fn external(client: &kube::Client, namespace: &str, metric: &MetricIdentifier) -> Result<i64, String> {
    let path = format!("/apis/{EXTERNAL}/namespaces/{namespace}/{}", metric.name);
    let answer = get(client, &path, &[("labelSelector", metric_selector(metric))]).await;
    let answer =
        answer.map_err(|error| format!("unable to fetch metrics from external metrics API: {}", reason(&error)));
    let items = answer.map(|mut answer| answer["items"].take())?;
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return Err("no metrics returned from external metrics API".to_owned());
    }
    let values = items.iter().filter_map(|item| quantity::milli(item["value"].as_str()?));
    Ok(values.fold(0, i64::saturating_add))
}

async fn custom(client: &kube::Client, path: &str, query: &[(&str, String)]) -> Result<Vec<Value>, String> {
    let unable = |error: String| format!("unable to fetch metrics from custom metrics API: {error}");
    let group = get(client, &format!("/apis/{CUSTOM}"), &[]).await;
    let group = group.map_err(|_| unable(format!("no custom metrics API ({CUSTOM}) registered")))?;
    let version = group["preferredVersion"]["version"].as_str().unwrap_or("v1beta2").to_owned();
    let answer = get(client, &format!("/apis/{CUSTOM}/{version}/{path}"), query).await;
    match answer.map_err(|error| unable(reason(&error)))?["items"].take() {
        Value::Array(items) if !items.is_empty() => Ok(items),
        _ => Err("no metrics returned from custom metrics API".to_owned()),
    }
}

async fn get(client: &kube::Client, path: &str, query: &[(&str, String)]) -> kube::Result<Value> {
    let said = query.iter().filter(|(_, value)| !value.is_empty());
    let parameters = form_urlencoded::Serializer::new(String::new()).extend_pairs(said).finish();
    let request = http::Request::get(format!("{path}?{parameters}")).body(Vec::new());
    client.request(request.map_err(kube::Error::HttpError)?).await
}

fn metric_selector(metric: &MetricIdentifier) -> String {
    metric.selector.as_ref().map(written).unwrap_or_default()
}

/// As queries write it.
fn written(selector: &LabelSelector) -> String {
    let pairs = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let terms = selector.match_expressions.iter().flatten().map(|term| {
        let (key, values) = (&term.key, term.values.as_deref().unwrap_or_default().join(","));
        match term.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    });
    pairs.chain(terms).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pods_sample_is_the_sum_of_its_containers() {
        let pod = json!({
            "timestamp": "1970-01-01T00:01:40Z", "window": "1m0.5s",
            "containers": [
                { "name": "a", "usage": { "cpu": "1500000n", "memory": "1Ki" } },
                { "name": "b", "usage": { "cpu": "2" } },
            ],
        });
        let sample = |resource, container| pod_sample(&pod, resource, container).map(|sample| sample.milli);
        assert_eq!(sample("cpu", None), Some(2_002));
        assert_eq!(sample("cpu", Some("b")), Some(2_000));
        assert_eq!(sample("memory", Some("a")), Some(1_024_000));
        assert_eq!(sample("memory", None), None, "one container has no figure");
        assert_eq!(sample("cpu", Some("c")), None);
        let whole = pod_sample(&pod, "cpu", None).unwrap();
        assert_eq!((whole.at.as_second(), whole.window), (100, Duration::from_millis(60_500)));
        assert_eq!([json!(30), json!("10s"), json!(null)].map(|value| window(&value).as_secs()), [30, 10, 60]);
    }
}
