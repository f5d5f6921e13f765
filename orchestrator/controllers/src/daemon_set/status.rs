//! Counts a set's daemons into its status.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};

use super::plan::Places;
use crate::context::nonzero;

pub fn status(set: &DaemonSet, places: &Places) -> DaemonSetStatus {
    let before = set.status.clone().unwrap_or_default();
    // Of several daemons on a node the eldest counts.
    let eldest = |daemons: &[super::plan::Daemon]| daemons.iter().min_by_key(|daemon| daemon.seniority()).cloned();
    let desired = places.values().filter(|place| place.fit.should_run);
    let current: Vec<_> = desired.clone().filter_map(|place| eldest(&place.daemons)).collect();
    let is_elsewhere = |place: &&super::plan::Place| place.exists && !place.fit.should_run && !place.daemons.is_empty();
    let count = |count: usize| nonzero(count).unwrap_or(0);
    let available = current.iter().filter(|daemon| daemon.available).count();
    let desired = desired.count();
    DaemonSetStatus {
        desired_number_scheduled: count(desired),
        current_number_scheduled: count(current.len()),
        number_misscheduled: count(places.values().filter(is_elsewhere).count()),
        number_ready: count(current.iter().filter(|daemon| daemon.ready).count()),
        number_available: nonzero(available),
        number_unavailable: nonzero(desired - available),
        updated_number_scheduled: nonzero(current.iter().filter(|daemon| daemon.updated).count()),
        observed_generation: set.metadata.generation,
        collision_count: before.collision_count,
        conditions: before.conditions,
    }
}
