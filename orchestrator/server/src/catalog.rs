//! What is served at this moment, as one picture that a request takes without a lock: the registry and what is told of
//! it by discovery and OpenAPI. Custom kinds come and go by making the next picture and swapping it in.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::discovery::Documents;
use crate::openapi::OpenApi;
use crate::registry::{Entry, Registry};

/// One picture. Whoever holds it sees kinds, discovery and OpenAPI that agree.
pub struct Catalog {
    pub registry: Arc<Registry>,
    pub documents: Documents,
    pub openapi: OpenApi,
}

impl Catalog {
    pub fn new(built_in: Registry) -> Self {
        let registry = Arc::new(built_in);
        Self { documents: Documents::new(&registry), openapi: OpenApi::new(registry.clone()), registry }
    }

    /// The same with other custom kinds.
    fn with_custom(&self, custom: Vec<Arc<Entry>>) -> Self {
        let registry = Arc::new(self.registry.with_custom(custom));
        Self { documents: Documents::new(&registry), openapi: self.openapi.next(registry.clone()), registry }
    }
}

/// The picture of the moment. One writer replaces it.
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
    pub fn set_custom(&self, custom: Vec<Arc<Entry>>) {
        self.0.store(Arc::new(self.0.load().with_custom(custom)));
    }
}
