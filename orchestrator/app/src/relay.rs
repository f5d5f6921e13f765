//! The way from the API to an agent in this process: the agent's own router, called as a service. (An agent on another
//! machine will hold the same door open over the connection that it dials.)

use std::collections::HashMap;
use std::sync::OnceLock;

use amphipod_agent::Simulator;
use amphipod_agent::simulated::Asked;
use amphipod_server::seams::{Relay, RelayError};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use parking_lot::RwLock;
use tower::ServiceExt as _;

#[derive(Default)]
pub struct LocalRelay {
    agents: RwLock<HashMap<String, Router>>,
    simulated: OnceLock<(Simulator, Router)>,
}

impl LocalRelay {
    /// From now on requests for this node go to this router.
    pub fn register(&self, node: &str, agent: Router) {
        self.agents.write().insert(node.to_owned(), agent);
    }

    /// And those for nodes that it simulates to this simulator.
    pub fn simulate(&self, simulator: Simulator) {
        let router = simulator.router();
        // There is one simulator in a program.
        let _ = self.simulated.set((simulator, router));
    }

    fn simulated(&self, node: &str) -> Option<Router> {
        self.simulated.get().filter(|(simulator, _)| simulator.has(node)).map(|(_, router)| router.clone())
    }
}

#[async_trait]
impl Relay for LocalRelay {
    async fn request(&self, node: &str, mut request: http::Request<Body>) -> Result<http::Response<Body>, RelayError> {
        let agent = self.agents.read().get(node).cloned();
        let agent = agent.or_else(|| {
            let simulator = self.simulated(node)?;
            request.extensions_mut().insert(Asked(node.to_owned()));
            Some(simulator)
        });
        let agent = agent.ok_or_else(|| RelayError(format!("no connection to node {node:?}")))?;
        agent.oneshot(request).await.map_err(|never| match never {})
    }
}
