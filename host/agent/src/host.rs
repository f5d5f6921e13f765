//! What the tasks of all pods share: the node's runtimes, images, network and the ways to the API.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use amphipod_api::{Informer, Informers};
use amphipod_net::Network;
use amphipod_runtime::{ContainerId, Image, ImageKind, Images, Runtime};
use k8s_openapi::api::core::v1::{Service, Taint};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore};

use crate::events::Events;
use crate::serve::Shown;

/// Images that are pulled at once.
pub const PULLS_MAX: usize = 16;

/// Which runtime runs what. With only `fake`, everything runs there.
#[derive(Clone, Default)]
pub struct Runtimes {
    pub wasm: Option<Arc<dyn Runtime>>,
    pub cri: Option<Arc<dyn Runtime>>,
    pub fake: Option<Arc<dyn Runtime>>,
}

impl Runtimes {
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Runtime>> {
        self.wasm.iter().chain(&self.cri).chain(&self.fake)
    }
}

pub struct Options {
    pub node_name: String,
    /// Added to those that every node has.
    pub labels: Vec<(String, String)>,
    pub taints: Vec<Taint>,
    pub pods_max: u32,
    pub client: kube::Client,
    pub informers: Informers,
    pub runtimes: Runtimes,
    pub images: Arc<dyn Images>,
    pub network: Arc<Network>,
    pub data_dir: PathBuf,
    pub events: Arc<dyn Events>,
    /// Where the node serves logs to foreign control planes; 0: nowhere.
    pub kubelet_port: u16,
}

type Serving = Vec<(Arc<dyn Runtime>, ContainerId)>;

/// A runtime's name and an image's digest, and whether it is ready to start.
type Prepared = HashMap<(&'static str, String), Arc<OnceCell<()>>>;

pub struct Host {
    pub options: Options,
    pub pulls: Semaphore,
    /// What the node has, by resource.
    pub resources: Value,
    services: Informer<Service>,
    prepared: Mutex<Prepared>,
    serving: Mutex<HashMap<Ipv4Addr, Serving>>,
    /// What `serve.rs` shows of each pod, by uid.
    pub shown: Mutex<HashMap<String, Arc<Shown>>>,
}

impl Host {
    pub fn new(options: Options) -> Arc<Self> {
        let host = Arc::new(Self {
            pulls: Semaphore::new(PULLS_MAX),
            resources: crate::node::resources(options.pods_max, &options.data_dir),
            services: options.informers.of(),
            prepared: Mutex::default(),
            serving: Mutex::default(),
            shown: Mutex::default(),
            options,
        });
        let weak = Arc::downgrade(&host);
        host.options.network.deliver_with(Arc::new(move |ip, port, socket| match weak.upgrade() {
            Some(host) => host.deliver(ip, port, socket),
            None => Err(socket),
        }));
        host
    }

    pub fn node_ip(&self) -> IpAddr {
        IpAddr::V4(self.options.network.options().node_ip)
    }

    pub fn runtime_for(&self, image: &Image) -> Option<Arc<dyn Runtime>> {
        let runtimes = &self.options.runtimes;
        let real = match image.kind {
            ImageKind::Wasm { .. } => &runtimes.wasm,
            ImageKind::Oci { .. } => &runtimes.cri,
        };
        let only_fake = runtimes.wasm.is_none() && runtimes.cri.is_none();
        real.clone().or_else(|| runtimes.fake.clone().filter(|_| only_fake))
    }

    /// The runtime that made this id.
    pub fn runtime_of(&self, id: &ContainerId) -> Option<Arc<dyn Runtime>> {
        let scheme = id.0.split("://").next()?;
        self.options.runtimes.all().find(|runtime| runtime.name() == scheme).cloned()
    }

    /// Makes an image ready once; those who come meanwhile wait for it.
    pub async fn prepare(&self, runtime: &Arc<dyn Runtime>, image: &Image) -> amphipod_runtime::Result<()> {
        let cell = self.prepared.lock().entry((runtime.name(), image.digest.clone())).or_default().clone();
        cell.get_or_try_init(|| runtime.prepare(image)).await.map(|_| ())
    }

    pub fn services_for(&self, namespace: &str) -> Vec<Arc<Service>> {
        let kubernetes = self.services.get("default", "kubernetes").filter(|_| namespace != "default");
        kubernetes.into_iter().chain(self.services.in_namespace(namespace)).collect()
    }

    /// Who takes connections to this address from now on.
    pub fn set_serving(&self, ip: IpAddr, serving: Serving) {
        let IpAddr::V4(ip) = ip else { return };
        let mut all = self.serving.lock();
        if serving.is_empty() {
            all.remove(&ip);
        } else {
            all.insert(ip, serving);
        }
    }

    fn deliver(&self, ip: Ipv4Addr, port: u16, socket: OwnedFd) -> Result<(), OwnedFd> {
        let serving = self.serving.lock().get(&ip).cloned().unwrap_or_default();
        serving
            .iter()
            .try_fold(socket, |socket, (runtime, id)| match runtime.deliver(id, port, socket) {
                Ok(()) => Err(()),
                Err(socket) => Ok(socket),
            })
            .map_or(Ok(()), Err)
    }
}
