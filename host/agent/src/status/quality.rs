//! The pod's quality of service class, by the rules of the API server.

use amphipod_api::quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec};

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn quality_of_service(spec: &PodSpec) -> &'static str {
    let containers: Vec<&Container> = spec.containers.iter().chain(spec.init_containers.iter().flatten()).collect();
    let amount = |container: &Container, limits: bool, name: &str| {
        let resources = container.resources.as_ref()?;
        let amounts = if limits { resources.limits.as_ref() } else { resources.requests.as_ref() };
        quantity::milli(&amounts?.get(name)?.0).filter(|milli| *milli > 0)
    };
    let names = ["cpu", "memory"];
    let any =
        containers.iter().any(|c| names.iter().any(|name| amount(c, true, name).or(amount(c, false, name)).is_some()));
    let equal = |container: &&Container, name: &str| {
        let limit = amount(container, true, name);
        limit.is_some() && amount(container, false, name).is_none_or(|request| Some(request) == limit)
    };
    match () {
        () if !any => "BestEffort",
        () if containers.iter().all(|container| names.iter().all(|name| equal(container, name))) => "Guaranteed",
        () => "Burstable",
    }
}
