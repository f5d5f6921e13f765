//! The instances of one HTTP container. A request goes to an idle instance or to a new one; an instance serves one
//! request at a time, as many as [`HttpOptions`] allow, and is dropped when it was idle too long or failed.

use std::future::{pending, poll_fn};
use std::sync::{Arc, Weak};

use futures::channel::oneshot;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use wasmtime::AsContextMut;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::handler::{Prepared, Proxy, ProxyPre, Request, Response};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::HttpOptions;
use crate::Program;
use crate::cpu::Metered;
use crate::guest::{Blueprint, Guest};

/// One request and who waits for its response.
struct Job {
    request: Request,
    answer: Answer,
    /// Held until the instance is done with the request, its body included.
    _slot: OwnedSemaphorePermit,
}

pub(crate) struct Instances {
    program: Arc<Program>,
    blueprint: Arc<Blueprint>,
    options: HttpOptions,
    slots: Arc<Semaphore>,
    /// The most recently used last: it is warm.
    idle: Mutex<Vec<oneshot::Sender<Job>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Instances {
    pub(crate) fn new(program: Arc<Program>, blueprint: Arc<Blueprint>, options: HttpOptions) -> Arc<Self> {
        Arc::new(Self {
            program,
            blueprint,
            slots: Arc::new(Semaphore::new(options.requests_max)),
            options,
            idle: Mutex::default(),
            tasks: Mutex::default(),
        })
    }

    /// # Errors
    /// What the guest answered or trapped with.
    pub(crate) async fn handle(self: &Arc<Self>, request: Request) -> Result<Response, wasmtime::Error> {
        let slot = self.slots.clone().acquire_owned().await.expect("never closed");
        let (answer, answered) = oneshot::channel();
        let mut job = Job { request, answer, _slot: slot };
        while let Some(idle) = self.take_idle() {
            match idle.send(job) {
                Ok(()) => return answered.await.map_err(|_| wasmtime::format_err!("the instance ended"))?,
                Err(refused) => job = refused,
            }
        }
        self.spawn(job);
        answered.await.map_err(|_| wasmtime::format_err!("the instance ended"))?
    }

    fn take_idle(&self) -> Option<oneshot::Sender<Job>> {
        self.idle.lock().pop()
    }

    fn spawn(self: &Arc<Self>, job: Job) {
        let (meter, host) = (self.blueprint.meter.clone(), self.blueprint.host.clone());
        // Weak: the tasks live in the set of this very object.
        let run = run(Arc::downgrade(self), self.program.clone(), self.blueprint.clone(), job);
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(Metered::new(run, meter, host));
    }

    /// Ends all instances.
    pub(crate) fn end(&self) {
        self.tasks.lock().abort_all();
    }

    /// The next request for an instance that has just become idle; `None`: enough waited.
    async fn next(&self) -> Option<Job> {
        let (sender, receiver) = oneshot::channel();
        self.idle.lock().push(sender);
        let waited = tokio::time::timeout(self.options.idle, receiver).await;
        if waited.is_err() {
            self.idle.lock().retain(|sender| !sender.is_canceled());
        }
        waited.ok()?.ok()
    }
}

async fn run(instances: Weak<Instances>, program: Arc<Program>, blueprint: Arc<Blueprint>, job: Job) {
    let Some(pre) = &program.server else { return };
    blueprint.meter.allowed().await;
    let made = async {
        let mut store = blueprint.component_store();
        let proxy = pre.instantiate_async(&mut store).await?;
        wasmtime::error::Ok((store, proxy))
    };
    let (mut store, proxy) = match made.await {
        Ok(made) => made,
        Err(error) => {
            let _ = job.answer.send(Err(error));
            return;
        }
    };
    let reuse = match pre {
        ProxyPre::P2(_) => instances.upgrade().map_or(1, |instances| instances.options.p2_requests_per_instance),
        ProxyPre::P3(_) => instances.upgrade().map_or(1, |instances| instances.options.p3_requests_per_instance),
    };
    let proxy = &proxy;
    let meter = &blueprint.meter;
    // A trap has reached the client's connection and the log by then.
    let _ = store
        .run_concurrent(async |accessor: &Accessor<Guest>| {
            let mut next = Some(job);
            for served in 1.. {
                let Some(job) = next.take() else { break };
                meter.allowed().await;
                if served >= reuse {
                    serve_last(accessor, proxy, job).await;
                    break;
                }
                if !serve(accessor, proxy, job).await {
                    break;
                }
                let Some(instances) = instances.upgrade() else { break };
                next = instances.next().await;
            }
        })
        .await;
}

/// Runs one request; false when the instance must not be used again.
async fn serve(accessor: &Accessor<Guest>, proxy: &Proxy, job: Job) -> bool {
    let (answer, answered) = oneshot::channel();
    let Job { request, answer: client, _slot } = job;
    // A task of its own: while the guest blocks in a host function nothing inside the store's loop is polled, and the
    // guest may block until its answer is read. It ends when the answer is given or dropped.
    let forward = tokio::spawn(async move {
        let result = answered.await.unwrap_or_else(|_| Err(wasmtime::format_err!("the guest did not answer")));
        let fine = result.is_ok();
        let _ = client.send(result);
        fine
    });
    let ran = served(accessor, proxy, request, answer).await;
    let fine = forward.await.unwrap_or(false);
    if fine && ran {
        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
    }
    fine && ran
}

/// Runs the last request of an instance, after which nobody asks how it went.
async fn serve_last(accessor: &Accessor<Guest>, proxy: &Proxy, job: Job) {
    let Job { request, answer, _slot } = job;
    served(accessor, proxy, request, answer).await;
}

type Answer = oneshot::Sender<Result<Response, wasmtime::Error>>;

async fn served(accessor: &Accessor<Guest>, proxy: &Proxy, request: Request, answer: Answer) -> bool {
    let prepared = accessor.with(|mut store| {
        Prepared::new(store.as_context_mut(), proxy, request, view as fn(&mut Guest) -> WasiHttpCtxView<'_>, answer)
    });
    match prepared {
        Ok(prepared) => prepared.run(accessor, pending()).await.is_ok(),
        Err(error) => {
            tracing::warn!("a request was not begun: {error:#}");
            false
        }
    }
}

fn view(guest: &mut Guest) -> WasiHttpCtxView<'_> {
    guest.http()
}
