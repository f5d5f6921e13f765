//! Tells of each FlowSchema whether the priority level that it names exists: the condition `Dangling`.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaCondition, FlowSchemaStatus, PriorityLevelConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::Api;

use crate::context::{Context, follow, write_status};
use crate::queue::{Queue, Reconcile};

const WORKERS: usize = 2;
const DANGLING: &str = "Dangling";

struct FlowSchemas {
    context: Context,
    schemas: Informer<FlowSchema>,
    levels: Informer<PriorityLevelConfiguration>,
}

pub async fn run(context: Context) {
    let schemas = context.informers.of::<FlowSchema>();
    let levels = context.informers.of::<PriorityLevelConfiguration>();
    tokio::join!(schemas.synced(), levels.synced());
    let this = Arc::new(FlowSchemas { context, schemas: schemas.clone(), levels: levels.clone() });
    let queue = Queue::new("flow_schemas");
    let of_level = |level: &PriorityLevelConfiguration| {
        let name = level.name_any();
        let named = this.schemas.list().into_iter().filter(|schema| level_of(schema) == name);
        named.for_each(|schema| queue.add(schema.name_any()));
    };
    tokio::join!(
        follow(schemas, |schema| queue.add(schema.name_any())),
        follow(levels, of_level),
        queue.clone().work(WORKERS, this.clone()),
    );
}

impl Reconcile<String> for FlowSchemas {
    type Error = kube::Error;

    async fn reconcile(&self, name: &String) -> kube::Result<Option<Duration>> {
        let Some(schema) = self.schemas.get("", name) else { return Ok(None) };
        let before = schema.status.clone().unwrap_or_default();
        let level = level_of(&schema);
        let found = self.levels.get("", level).is_some();
        let after = told(&before, (level, found), Time(self.context.now()));
        let api: Api<FlowSchema> = Api::all(self.context.client.clone());
        write_status(&api, name, &before, &after).await?;
        Ok(None)
    }
}

fn level_of(schema: &FlowSchema) -> &str {
    &schema.spec.priority_level_configuration.name
}

/// Upstream's words; the time moves only with the verdict.
fn told(before: &FlowSchemaStatus, (level, found): (&str, bool), now: Time) -> FlowSchemaStatus {
    let (status, reason, rest) =
        if found { ("False", "Found", "and it exists") } else { ("True", "NotFound", "but there is no such object") };
    let mut conditions = before.conditions.clone().unwrap_or_default();
    let last = conditions.iter().position(|condition| condition.type_ == DANGLING);
    let last = last.map(|index| conditions.remove(index));
    let same = last.filter(|last| last.status.as_deref() == Some(status));
    conditions.push(FlowSchemaCondition {
        type_: DANGLING.into(),
        status: Some(status.into()),
        reason: Some(reason.into()),
        message: Some(format!(
            "This FlowSchema references the PriorityLevelConfiguration object named {level:?} {rest}"
        )),
        last_transition_time: same.and_then(|last| last.last_transition_time).or(Some(now)),
    });
    FlowSchemaStatus { conditions: Some(conditions) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_verdict_keeps_its_time_until_it_changes() {
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        let first = told(&FlowSchemaStatus::default(), ("exempt", true), at(1));
        let again = told(&first, ("exempt", true), at(2));
        assert_eq!(first, again);
        let lost = told(&again, ("exempt", false), at(3)).conditions.unwrap();
        let lost: Vec<_> = lost.iter().map(|one| (one.reason.as_deref(), one.last_transition_time.clone())).collect();
        assert_eq!(lost, [(Some("NotFound"), Some(at(3)))]);
    }
}
