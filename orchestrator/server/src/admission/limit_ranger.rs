//! LimitRanger: containers get their namespace's usual amounts; least, most and ratio are held for containers, pods and
//! claims. A change is checked only where it changes an amount. Source: plugin/pkg/admission/limitranger.

use amphipod_api::quantity::Quantity;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::kinds::json::{child, entries, is_set, items, items_mut, present, set, text};
use crate::kinds::pod_resources::{Amounts, Side, amounts, of_spec};
use crate::kinds::pod_spec::qos_class;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const RANGES: &str = "limitranges";
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

pub struct LimitRanger;

#[async_trait]
impl Admit for LimitRanger {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if !concerns(request) || request.kind.plural != "pods" {
            return Ok(());
        }
        let ranges = ranges(request);
        let is_new = request.operation == Operation::Create;
        if let Some(pod) = request.object.as_mut() {
            ranges.iter().for_each(|range| fill(pod, range));
            if is_new {
                pod["status"]["qosClass"] = qos_class(&pod["spec"]).into();
            }
        }
        Ok(())
    }

    async fn confirm(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if !concerns(request) {
            return Ok(());
        }
        let Some(object) = request.object.as_ref() else { return Ok(()) };
        for range in ranges(request) {
            let complaints = match request.kind.plural {
                "pods" => of_pod(&range, object, request.old),
                _ => of_claim(&range, object, request.old),
            };
            if !complaints.is_empty() {
                return Err(Status::forbidden(request.kind, request.name, &aggregate(complaints)));
            }
        }
        Ok(())
    }
}

/// Containers never change but by a resize; claims may grow.
fn concerns(request: &AdmissionRequest<'_>) -> bool {
    if !request.kind.group.is_empty() || request.cluster.count(RANGES, Some(request.namespace)) == 0 {
        return false;
    }
    if request.old.is_some_and(|old| is_set(&old["metadata"]["deletionTimestamp"])) {
        return false;
    }
    matches!(
        (request.kind.plural, request.operation, request.subresource),
        ("pods", Operation::Create, "")
            | ("pods", Operation::Update, "resize")
            | ("persistentvolumeclaims", Operation::Create | Operation::Update, "")
    )
}

fn ranges(request: &AdmissionRequest<'_>) -> Vec<Value> {
    request.cluster.list(RANGES, Some(request.namespace))
}

/// Amounts that containers lack, and an annotation that tells which.
fn fill(pod: &mut Value, range: &Value) {
    let (mut requests, mut limits) = (json!({}), json!({}));
    for limit in items(&range["spec"]["limits"]).iter().filter(|limit| limit["type"] == "Container") {
        entries(&limit["defaultRequest"]).for_each(|(name, amount)| set(&mut requests, name, amount.clone()));
        entries(&limit["default"]).for_each(|(name, amount)| set(&mut limits, name, amount.clone()));
    }
    let mut told = Vec::new();
    let Some(spec) = present(pod, "spec") else { return };
    for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
        for container in items_mut(spec, list) {
            let name = text(&container["name"]).to_owned();
            for (side, usual, verb) in [(Side::Requests, &requests, "request"), (Side::Limits, &limits, "limit")] {
                let added = fill_side(container, side, usual);
                if !added.is_empty() {
                    told.push(format!("{} {verb} for {word} {name}", added.join(", ")));
                }
            }
        }
    }
    if !told.is_empty()
        && let Some(annotations) = child(&mut pod["metadata"], "annotations")
    {
        set(annotations, ANNOTATION, format!("LimitRanger plugin set: {}", told.join("; ")).into());
    }
}

/// The names of what was added.
fn fill_side(container: &mut Value, side: Side, usual: &Value) -> Vec<String> {
    let missing: Vec<(String, Value)> = entries(usual)
        .filter(|(name, _)| container["resources"][side.field()].get(name.as_str()).is_none())
        .map(|(name, amount)| (name.clone(), amount.clone()))
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let Some(list) = child(container, "resources").and_then(|resources| child(resources, side.field())) else {
        return Vec::new();
    };
    missing.iter().for_each(|(name, amount)| set(list, name, amount.clone()));
    missing.into_iter().map(|(name, _)| name).collect()
}

/// Both sides of one thing that is limited, before and after.
struct Asked {
    requests: Amounts,
    limits: Amounts,
    /// Requests and limits as they are stored.
    old: Option<(Amounts, Amounts)>,
}

impl Asked {
    fn changes(&self, resource: &str) -> bool {
        let Some((requests, limits)) = &self.old else { return true };
        self.requests.get(resource) != requests.get(resource) || self.limits.get(resource) != limits.get(resource)
    }
}

fn of_pod(range: &Value, pod: &Value, old: Option<&Value>) -> Vec<String> {
    let mut complaints = Vec::new();
    for limit in items(&range["spec"]["limits"]) {
        match text(&limit["type"]) {
            "Container" => {
                for list in ["containers", "initContainers"] {
                    for container in items(&pod["spec"][list]) {
                        let before = old.map(|old| items(&old["spec"][list]));
                        let before = before.and_then(|all| all.iter().find(|one| one["name"] == container["name"]));
                        complaints.extend(complaints_of(limit, &of_container(container, before)));
                    }
                }
            }
            "Pod" => {
                let both = |pod: &Value| (of_spec(&pod["spec"], Side::Requests), of_spec(&pod["spec"], Side::Limits));
                let (requests, limits) = both(pod);
                complaints.extend(complaints_of(limit, &Asked { requests, limits, old: old.map(both) }));
            }
            _ => {}
        }
    }
    complaints
}

fn of_container(container: &Value, before: Option<&Value>) -> Asked {
    let both = |one: &Value| (amounts(&one["resources"]["requests"]), amounts(&one["resources"]["limits"]));
    let (requests, limits) = both(container);
    Asked { requests, limits, old: before.map(both) }
}

/// A claim has no limits: its request is held against both bounds.
fn of_claim(range: &Value, claim: &Value, old: Option<&Value>) -> Vec<String> {
    let requests = |claim: &Value| amounts(&claim["spec"]["resources"]["requests"]);
    let asked = Asked {
        requests: requests(claim),
        limits: Amounts::new(),
        old: old.map(|old| (requests(old), Amounts::new())),
    };
    let mut complaints = Vec::new();
    for limit in items(&range["spec"]["limits"]).iter().filter(|limit| limit["type"] == "PersistentVolumeClaim") {
        complaints.extend(held("min", limit, &asked).filter_map(|bound| too_little(&bound)));
        complaints.extend(held("max", limit, &asked).filter_map(|bound| {
            let Some(request) = bound.request else { return Some(bound.says("maximum", ".  No request is specified")) };
            (request > bound.amount).then(|| bound.says("maximum", &format!(", but request is {request}")))
        }));
    }
    complaints
}

fn complaints_of(limit: &Value, asked: &Asked) -> Vec<String> {
    let mut complaints: Vec<String> = held("min", limit, asked).filter_map(|bound| too_little(&bound)).collect();
    complaints.extend(held("max", limit, asked).filter_map(|bound| too_much(&bound)));
    complaints.extend(held("maxLimitRequestRatio", limit, asked).filter_map(|bound| too_far(&bound)));
    complaints
}

/// One amount of a range beside what is asked.
struct Bound<'a> {
    kind: &'a str,
    resource: String,
    amount: Quantity,
    request: Option<Quantity>,
    limit: Option<Quantity>,
}

impl Bound<'_> {
    fn says(&self, word: &str, tail: &str) -> String {
        format!("{word} {} usage per {} is {}{tail}", self.resource, self.kind, self.amount)
    }
}

/// The amounts of one list of a range that are checked.
fn held<'a>(list: &str, limit: &'a Value, asked: &'a Asked) -> impl Iterator<Item = Bound<'a>> {
    let bounds = amounts(&limit[list]).into_iter().filter(|(resource, _)| asked.changes(resource));
    bounds.map(|(resource, amount)| Bound {
        kind: text(&limit["type"]),
        amount,
        request: asked.requests.get(&resource).copied(),
        limit: asked.limits.get(&resource).copied(),
        resource,
    })
}

fn too_little(bound: &Bound<'_>) -> Option<String> {
    let Some(request) = bound.request else { return Some(bound.says("minimum", ".  No request is specified")) };
    if request < bound.amount {
        return Some(bound.says("minimum", &format!(", but request is {request}")));
    }
    let limit = bound.limit.filter(|limit| *limit < bound.amount)?;
    Some(bound.says("minimum", &format!(", but limit is {limit}")))
}

fn too_much(bound: &Bound<'_>) -> Option<String> {
    let Some(limit) = bound.limit else { return Some(bound.says("maximum", ".  No limit is specified")) };
    if limit > bound.amount {
        return Some(bound.says("maximum", &format!(", but limit is {limit}")));
    }
    let request = bound.request.filter(|request| *request > bound.amount)?;
    Some(bound.says("maximum", &format!(", but request is {request}")))
}

fn too_far(bound: &Bound<'_>) -> Option<String> {
    let says = |tail: String| {
        let Bound { resource, kind, amount, .. } = bound;
        Some(format!("{resource} max limit to request ratio per {kind} is {amount}, but {tail}"))
    };
    let some = |side: Option<Quantity>| side.map(Quantity::milli).filter(|milli| *milli != 0).map(i128::from);
    let Some(request) = some(bound.request) else { return says("no request is specified or request is 0".to_owned()) };
    let Some(limit) = some(bound.limit) else { return says("no limit is specified or limit is 0".to_owned()) };
    if limit * 1_000 <= request * i128::from(bound.amount.milli()) {
        return None;
    }
    says(format!("provided ratio is {:.6}", limit as f64 / request as f64))
}

/// Several complaints in brackets, none twice.
fn aggregate(complaints: Vec<String>) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for complaint in complaints {
        if !distinct.contains(&complaint) {
            distinct.push(complaint);
        }
    }
    match distinct.as_slice() {
        [only] => only.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn range(limits: Value) -> Value {
        json!({ "spec": { "limits": [limits] } })
    }

    fn container(requests: Value, limits: Value) -> Value {
        json!({ "name": "c", "resources": { "requests": requests, "limits": limits } })
    }

    fn pod(container: Value) -> Value {
        json!({ "metadata": {}, "spec": { "containers": [container] } })
    }

    #[test]
    fn containers_get_the_usual_amounts_and_the_pod_says_so() {
        let range = range(json!({
            "type": "Container", "default": { "cpu": "1", "memory": "1Gi" }, "defaultRequest": { "cpu": "500m" },
        }));
        let mut pod = json!({ "metadata": {}, "spec": {
            "containers": [{ "name": "a" }, { "name": "b", "resources": { "limits": { "cpu": "2" } } }],
            "initContainers": [{ "name": "i" }],
        } });
        fill(&mut pod, &range);
        expect![[r#"LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; cpu request for container b; memory limit for container b; cpu request for init container i; cpu, memory limit for init container i"#]]
            .assert_eq(text(&pod["metadata"]["annotations"][ANNOTATION]));
        expect![[r#"{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"cpu":"500m"}}"#]]
            .assert_eq(&pod["spec"]["containers"][1]["resources"].to_string());
        let before = pod.clone();
        fill(&mut pod, &range);
        assert_eq!(pod, before, "nothing is missing any more");
    }

    fn check(limits: Value, pod: &Value, old: Option<&Value>, expect: Expect) {
        expect.assert_eq(&aggregate(of_pod(&range(limits), pod, old)));
    }

    #[test]
    fn amounts_lie_between_least_and_most() {
        let small = pod(container(json!({ "cpu": "50m" }), json!({ "cpu": "3" })));
        let limits = json!({ "type": "Container", "min": { "cpu": "100m", "memory": "1Mi" }, "max": { "cpu": "2" } });
        check(
            limits,
            &small,
            None,
            expect![
                "[minimum cpu usage per Container is 100m, but request is 50m, minimum memory usage per Container is 1Mi.  No request is specified, maximum cpu usage per Container is 2, but limit is 3]"
            ],
        );
        let unlimited = pod(container(json!({ "cpu": "1" }), json!({})));
        check(
            json!({ "type": "Pod", "max": { "cpu": "2" } }),
            &unlimited,
            None,
            expect!["maximum cpu usage per Pod is 2.  No limit is specified"],
        );
        let fits = pod(container(json!({ "cpu": "1" }), json!({ "cpu": "2000m" })));
        check(json!({ "type": "Pod", "max": { "cpu": "2" }, "min": { "cpu": "1" } }), &fits, None, expect!["[]"]);
    }

    #[test]
    fn limits_are_not_far_above_requests() {
        let limits = json!({ "type": "Container", "maxLimitRequestRatio": { "cpu": "1500m" } });
        let wide = pod(container(json!({ "cpu": "100m" }), json!({ "cpu": "250m" })));
        check(
            limits.clone(),
            &wide,
            None,
            expect!["cpu max limit to request ratio per Container is 1500m, but provided ratio is 2.500000"],
        );
        let zero = pod(container(json!({ "cpu": "0" }), json!({ "cpu": "250m" })));
        check(
            limits.clone(),
            &zero,
            None,
            expect![
                "cpu max limit to request ratio per Container is 1500m, but no request is specified or request is 0"
            ],
        );
        let exact = pod(container(json!({ "cpu": "100m" }), json!({ "cpu": "150m" })));
        check(limits, &exact, None, expect!["[]"]);
    }

    #[test]
    fn a_change_is_checked_only_where_it_changes_something() {
        let large = pod(container(json!({ "cpu": "5", "memory": "1Gi" }), json!({ "cpu": "5", "memory": "1Gi" })));
        let grown = pod(container(json!({ "cpu": "5", "memory": "2Gi" }), json!({ "cpu": "5", "memory": "2Gi" })));
        let limits = json!({ "type": "Container", "max": { "cpu": "2", "memory": "1Gi" } });
        check(limits, &grown, Some(&large), expect!["maximum memory usage per Container is 1Gi, but limit is 2Gi"]);
    }

    #[test]
    fn claims_are_held_by_their_request() {
        let range =
            range(json!({ "type": "PersistentVolumeClaim", "min": { "storage": "1Gi" }, "max": { "storage": "2Gi" } }));
        let claim = |storage: &str| json!({ "spec": { "resources": { "requests": { "storage": storage } } } });
        let show = |claim: &Value, old: Option<&Value>| aggregate(of_claim(&range, claim, old));
        expect!["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"]
            .assert_eq(&show(&claim("500Mi"), None));
        expect!["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]
            .assert_eq(&show(&claim("3Gi"), None));
        expect!["[]"].assert_eq(&show(&claim("3Gi"), Some(&claim("3Gi"))));
        expect!["[minimum storage usage per PersistentVolumeClaim is 1Gi.  No request is specified, maximum storage usage per PersistentVolumeClaim is 2Gi.  No request is specified]"].assert_eq(&show(&json!({}), None));
    }
}
