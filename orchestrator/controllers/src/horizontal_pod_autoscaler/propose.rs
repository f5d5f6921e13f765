//! What each metric of an autoscaler proposes, and which proposal wins: the highest. One that cannot be read only matters
//! when it could have been higher.

use amphipod_api::quantity::{self, Quantity};
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, MetricIdentifier, MetricSpec, MetricStatus, MetricTarget,
    MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;

use super::Autoscalers;
use super::measure;
use super::replicas::{self, Proposal, Workload};
use super::target::{self, Target};
use crate::disruption::printed;

/// What is measured of the workload.
pub struct Question<'a> {
    pub namespace: &'a str,
    pub target: &'a Target,
    pub workload: Workload<'a>,
}

/// One metric's answer.
struct Answer {
    replicas: i32,
    /// As `rescaleReason` and conditions name it.
    name: String,
    status: MetricStatus,
}

/// Why a metric has no answer.
struct Failure {
    /// Of the event and the condition: `FailedGetResourceMetric`.
    reason: &'static str,
    /// Of the event and the condition.
    message: String,
    /// What is said of all metrics together.
    whole: String,
}

/// All metrics together.
pub struct Proposed {
    /// `None`: nothing may be concluded.
    pub replicas: Option<i32>,
    pub metric: String,
    pub statuses: Vec<MetricStatus>,
    /// Reason and message of each metric that failed.
    pub failures: Vec<(&'static str, String)>,
    /// What went wrong in all.
    pub error: Option<String>,
}

impl Autoscalers {
    pub async fn propose(&self, question: &Question<'_>, metrics: &[MetricSpec]) -> Proposed {
        let mut proposed =
            Proposed { replicas: None, metric: String::new(), statuses: Vec::new(), failures: Vec::new(), error: None };
        let mut first = None;
        for metric in metrics {
            match self.answer(question, metric).await {
                Ok(answer) => {
                    if proposed.replicas.is_none_or(|replicas| answer.replicas > replicas) {
                        (proposed.replicas, proposed.metric) = (Some(answer.replicas), answer.name);
                    }
                    proposed.statuses.push(answer.status);
                }
                Err(failure) => {
                    first.get_or_insert(failure.whole);
                    proposed.failures.push((failure.reason, failure.message));
                    // Its place stays, so that the others keep theirs.
                    proposed.statuses.push(MetricStatus::default());
                }
            }
        }
        if let Some(first) = first {
            let (failed, all) = (proposed.failures.len(), metrics.len());
            let message = format!("invalid metrics ({failed} invalid out of {all}), first error is: {first}");
            proposed.error = Some(message);
            let current = question.workload.replicas;
            // What is not known might have kept the workload as large as it is.
            proposed.replicas = proposed.replicas.filter(|replicas| failed < all && *replicas >= current);
        }
        proposed
    }

    async fn answer(&self, question: &Question<'_>, metric: &MetricSpec) -> Result<Answer, Failure> {
        let failure = |reason, prefix: String| {
            move |message: String| Failure { reason, whole: format!("{prefix}: {message}"), message }
        };
        match metric.type_.as_str() {
            "Resource" => {
                let Some(source) = &metric.resource else { return Err(invalid(metric)) };
                let name = &source.name;
                let answer = self.resource(question, (name, None), &source.target).await;
                let prefix = format!("failed to get {name} resource metric value");
                let (proposal, metric) = answer.map_err(failure("FailedGetResourceMetric", prefix))?;
                let status = ResourceMetricStatus { name: name.clone(), current: shown(proposal) };
                let status =
                    MetricStatus { type_: "Resource".to_owned(), resource: Some(status), ..MetricStatus::default() };
                Ok(Answer { replicas: proposal.replicas, name: metric, status })
            }
            "ContainerResource" => {
                let Some(source) = &metric.container_resource else { return Err(invalid(metric)) };
                let (name, container) = (&source.name, &source.container);
                let answer = self.resource(question, (name, Some(container)), &source.target).await;
                let prefix = format!("failed to get {container} container metric value");
                let (proposal, metric) = answer.map_err(failure("FailedGetContainerResourceMetric", prefix))?;
                let (name, container) = (name.clone(), container.clone());
                let status = ContainerResourceMetricStatus { name, container, current: shown(proposal) };
                let type_ = "ContainerResource".to_owned();
                let status = MetricStatus { type_, container_resource: Some(status), ..MetricStatus::default() };
                Ok(Answer { replicas: proposal.replicas, name: metric, status })
            }
            "Pods" => {
                let answer = self.pods(question, metric).await;
                answer.map_err(failure("FailedGetPodsMetric", "failed to get pods metric value".to_owned()))
            }
            "Object" => {
                let answer = self.object(question, metric).await;
                answer.map_err(failure("FailedGetObjectMetric", "failed to get object metric value".to_owned()))
            }
            "External" => {
                let name = metric.external.as_ref().map_or("", |source| source.metric.name.as_str());
                let prefix = format!("failed to get {name} external metric value");
                self.external(question, metric).await.map_err(failure("FailedGetExternalMetric", prefix))
            }
            _ => Err(invalid(metric)),
        }
    }

    async fn resource(
        &self,
        question: &Question<'_>,
        (resource, container): (&str, Option<&str>),
        target: &MetricTarget,
    ) -> Result<(Proposal, String), String> {
        let place = (question.namespace, question.target.selector());
        let samples = measure::resource(&self.context.client, place, resource, container).await;
        let samples = samples.map_err(|error| format!("unable to get metrics for resource {resource}: {error}"));
        if let Some(average) = milli(target.average_value.as_ref()) {
            let proposal = samples.and_then(|all| replicas::by_average(question.workload, all, resource, average));
            let proposal = proposal.map_err(|error| format!("failed to get {resource} usage: {error}"))?;
            return Ok((proposal, format!("{resource} resource")));
        }
        let Some(percent) = target.average_utilization else {
            return Err("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".to_owned());
        };
        let asked = (resource, container);
        let proposal = samples.and_then(|all| replicas::by_utilization(question.workload, all, asked, percent));
        let proposal = proposal.map_err(|error| format!("failed to get {resource} utilization: {error}"))?;
        let of = if container.is_some() { "container resource" } else { "resource" };
        Ok((proposal, format!("{resource} {of} utilization (percentage of request)")))
    }

    async fn pods(&self, question: &Question<'_>, metric: &MetricSpec) -> Result<Answer, String> {
        let source = metric.pods.as_ref().ok_or("no pods metric source")?;
        let name = &source.metric.name;
        let target = milli(source.target.average_value.as_ref()).unwrap_or(1);
        let place = (question.namespace, question.target.selector());
        let samples = measure::pods(&self.context.client, place, &source.metric).await;
        let samples = samples.map_err(|error| format!("unable to get metric {name}: {error}"))?;
        let proposal = replicas::by_average(question.workload, samples, "", target)?;
        let status = PodsMetricStatus { metric: source.metric.clone(), current: average(proposal.milli) };
        let status = MetricStatus { type_: "Pods".to_owned(), pods: Some(status), ..MetricStatus::default() };
        Ok(Answer { replicas: proposal.replicas, name: format!("pods metric {name}"), status })
    }

    async fn object(&self, question: &Question<'_>, metric: &MetricSpec) -> Result<Answer, String> {
        let source = metric.object.as_ref().ok_or("no object metric source")?;
        let (object, identifier) = (&source.described_object, &source.metric);
        let resource = target::served(&self.definitions, object).map_or_else(
            || object.kind.to_lowercase(),
            |served| format!("{}.{}", served.plural, served.group).trim_end_matches('.').to_owned(),
        );
        let place = question.namespace;
        let read = measure::object(&self.context.client, place, (object, &resource), identifier).await;
        let read = read.map_err(|error| {
            let (name, kind) = (&identifier.name, &object.kind);
            format!("unable to get metric {name}: {error} on {kind} {place}/{}", object.name)
        });
        let (target, workload) = (&source.target, question.workload);
        let (replicas, current, name) =
            if let Some(value) = milli(target.value.as_ref()).filter(|_| target.type_ == "Value") {
                let used = read?;
                let name = format!("{} metric {}", object.kind, identifier.name);
                (replicas::by_value(workload, used, value)?, self::value(used), name)
            } else if let Some(share) = milli(target.average_value.as_ref()).filter(|_| target.type_ == "AverageValue")
            {
                let used = read.map_err(|error| format!("failed to get {} object metric: {error}", identifier.name))?;
                let (replicas, each) =
                    replicas::by_shared_value(question.target.counted(), workload.tolerances, used, share);
                (replicas, average(each), shown_external(identifier))
            } else {
                return Err("invalid object metric source: neither a value target nor an average value target was set"
                    .to_owned());
            };
        let status = ObjectMetricStatus { described_object: object.clone(), metric: identifier.clone(), current };
        let status = MetricStatus { type_: "Object".to_owned(), object: Some(status), ..MetricStatus::default() };
        Ok(Answer { replicas, name, status })
    }

    async fn external(&self, question: &Question<'_>, metric: &MetricSpec) -> Result<Answer, String> {
        let source = metric.external.as_ref().ok_or("no external metric source")?;
        let (identifier, target, workload) = (&source.metric, &source.target, question.workload);
        let (namespace, metric) = (question.namespace, &identifier.name);
        let read = measure::external(&self.context.client, namespace, identifier).await;
        let selector = identifier.selector.as_ref().map_or("nil".to_owned(), printed);
        let read =
            read.map_err(|error| format!("unable to get external metric {namespace}/{metric}/{selector}: {error}"));
        let (replicas, current) = if let Some(share) = milli(target.average_value.as_ref()) {
            let used = read.map_err(|error| format!("failed to get {metric} external metric: {error}"))?;
            let (replicas, each) =
                replicas::by_shared_value(question.target.counted(), workload.tolerances, used, share);
            (replicas, average(each))
        } else if let Some(value) = milli(target.value.as_ref()) {
            let unable = |error| format!("failed to get external metric {metric}: {error}");
            let used = read.map_err(unable)?;
            (replicas::by_value(workload, used, value).map_err(unable)?, self::value(used))
        } else {
            return Err(
                "invalid external metric source: neither a value target nor an average value target was set".to_owned()
            );
        };
        let status = ExternalMetricStatus { metric: identifier.clone(), current };
        let status = MetricStatus { type_: "External".to_owned(), external: Some(status), ..MetricStatus::default() };
        Ok(Answer { replicas, name: shown_external(identifier), status })
    }
}

fn invalid(metric: &MetricSpec) -> Failure {
    let message = format!("unknown metric source type {:?}", metric.type_);
    Failure { reason: "InvalidMetricSourceType", whole: message.clone(), message }
}

fn milli(amount: Option<&Written>) -> Option<i64> {
    quantity::milli(&amount?.0)
}

fn written(milli: i64) -> Option<Written> {
    Some(Written(Quantity::from_milli(milli).to_string()))
}

fn shown(proposal: Proposal) -> MetricValueStatus {
    MetricValueStatus { average_utilization: proposal.utilization, ..average(proposal.milli) }
}

fn average(milli: i64) -> MetricValueStatus {
    MetricValueStatus { average_value: written(milli), ..MetricValueStatus::default() }
}

fn value(milli: i64) -> MetricValueStatus {
    MetricValueStatus { value: written(milli), ..MetricValueStatus::default() }
}

fn shown_external(metric: &MetricIdentifier) -> String {
    let selector = metric.selector.as_ref().map_or("nil".to_owned(), printed);
    format!("external metric {}({selector})", metric.name)
}
