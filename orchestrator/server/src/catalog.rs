//! What is served at this moment, as one picture that a request takes without a lock: the registry and what is told of
//! it by discovery and OpenAPI. Custom kinds and aggregated APIs come and go by making the next picture and swapping it
//! in.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::aggregation::Remotes;
use crate::discovery::Documents;
use crate::openapi::OpenApi;
use crate::registry::{Entry, Registry};

/// One picture. Whoever holds it sees kinds, discovery and OpenAPI that agree.
pub struct Catalog {
    pub registry: Arc<Registry>,
    /// What other servers answer for; they come before the registry.
    pub remotes: Remotes,
    pub documents: Documents,
    pub openapi: OpenApi,
}

impl Catalog {
    pub fn new(built_in: Registry) -> Self {
        let registry = Arc::new(built_in);
        let openapi = OpenApi::new(registry.clone());
        Self::of(registry, Remotes::default(), openapi)
    }

    fn of(registry: Arc<Registry>, remotes: Remotes, openapi: OpenApi) -> Self {
        Self { documents: Documents::new(&registry, &remotes), openapi, registry, remotes }
    }

    /// The same with other custom kinds.
    fn with_custom(&self, custom: Vec<Arc<Entry>>) -> Self {
        let registry = Arc::new(self.registry.with_custom(custom));
        Self::of(registry.clone(), self.remotes.clone(), self.openapi.next(registry))
    }

    /// The same with other aggregated APIs.
    fn with_remotes(&self, remotes: Remotes) -> Self {
        Self::of(self.registry.clone(), remotes, self.openapi.clone())
    }
}

/// The picture of the moment. Custom kinds and aggregated APIs each have one writer.
pub struct Current(ArcSwap<Catalog>);

impl Current {
    pub fn new(catalog: Catalog) -> Self {
        Self(ArcSwap::from_pointee(catalog))
    }

    /// For the length of a request; holding it longer keeps an old picture alive, no more.
    pub fn load(&self) -> arc_swap::Guard<Arc<Catalog>> {
        self.0.load()
    }

    pub fn registry(&self) -> Arc<Registry> {
        self.0.load().registry.clone()
    }

    /// Serves these custom kinds and no others from now on.
    pub fn set_custom(&self, custom: &[Arc<Entry>]) {
        self.0.rcu(|now| now.with_custom(custom.to_vec()));
    }

    /// Relays for these aggregated APIs and no others from now on.
    pub fn set_remotes(&self, remotes: Remotes) {
        self.0.rcu(|now| now.with_remotes(remotes.clone()));
    }
}
