//! The least server around the engine's own request handler: what a figure of ours is compared with. No limits, no
//! policy; what guests print goes to a file, as it does when `wasmtime serve` is started by a service manager.

use std::future::{Future, pending};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::http::{for_guest, plain};
use crate::logs::{Channel, Log};
use crate::{Error, HttpOptions, Options, Result, engine};

/// Serves the component of `wasm` on `listener` until the returned future is dropped.
///
/// # Errors
/// `Image` when it does not export `wasi:http/incoming-handler` 0.2, `Host` when accepting fails.
pub async fn reference_server(
    wasm: &Path,
    output: std::fs::File,
    listener: std::net::TcpListener,
    options: HttpOptions,
) -> Result<()> {
    let host = |error: io::Error| Error::Host(error.to_string());
    let handler = ProxyHandler::new(handler(wasm, Log::new(output), options)?);
    listener.set_nonblocking(true).map_err(host)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(host)?;
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, _) = listener.accept().await.map_err(host)?;
        // Only latency is lost without it.
        let _ = stream.set_nodelay(true);
        let handler = handler.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let handler = handler.clone();
                async move { Ok::<_, std::convert::Infallible>(answer(&handler, request).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                tracing::debug!("connection: {error}");
            }
        });
    }
}

async fn answer(
    handler: &ProxyHandler<Handler>,
    request: hyper::Request<hyper::body::Incoming>,
) -> http::Response<WasiBody> {
    let Some(request) = for_guest(request) else {
        return plain(http::StatusCode::BAD_REQUEST, "the Host header is no authority\n");
    };
    match handler.handle((), request).await {
        Ok(response) => response,
        Err(_) => plain(http::StatusCode::INTERNAL_SERVER_ERROR, "the guest failed\n"),
    }
}

fn handler(wasm: &Path, output: Log, options: HttpOptions) -> Result<Handler> {
    let image = |error: wasmtime::Error| Error::Image(format!("{error:#}"));
    let engine = engine::runner(&Options::default())?;
    let component = wasmtime::component::Component::from_file(&engine, wasm).map_err(image)?;
    let mut linker = wasmtime::component::Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(image)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).map_err(image)?;
    let pre = linker.instantiate_pre(&component).map_err(image)?;
    let pre = ProxyPre::P2(wasmtime_wasi_http::p2::bindings::ProxyPre::new(pre).map_err(image)?);
    Ok(Handler { engine, pre: Arc::new(pre), output, options })
}

struct Handler {
    engine: Engine,
    pre: Arc<ProxyPre<Plain>>,
    output: Log,
    options: HttpOptions,
}

impl HandlerState for Handler {
    type StoreData = Plain;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Plain, Expiration, Worker>> {
        let plain = Plain {
            wasi: WasiCtx::builder().stdout(self.output.stream(Channel::Stdout)).build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            hooks: NoOutgoing,
        };
        let mut store = Store::new(&self.engine, plain);
        store.set_epoch_deadline(u64::MAX / 2);
        let proxy = self.pre.instantiate_async(&mut store).await?;
        Ok(Instance {
            store,
            proxy,
            view: Plain::http,
            expiration: Expiration { idle: self.options.idle, timer: None },
            state: Worker { requests_max: self.options.p2_requests_per_instance },
        })
    }
}

struct Worker {
    requests_max: usize,
}

impl WorkerState for Worker {
    type StoreData = Plain;
    type RequestData = ();

    fn should_accept_request(&self, concurrent_count: usize, total_count: usize) -> ShouldAccept {
        match (concurrent_count, total_count) {
            (_, total) if total >= self.requests_max => ShouldAccept::Never,
            (0, _) => ShouldAccept::Yes,
            _ => ShouldAccept::No,
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Plain>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        Box::pin(pending())
    }

    fn drop(&self, _: Store<Plain>, _: wasmtime::Result<()>) {}
}

struct Expiration {
    idle: Duration,
    timer: Option<(Instant, Pin<Box<tokio::time::Sleep>>)>,
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, state: WorkerStatus, start: Instant) -> Poll<()> {
        if state != WorkerStatus::Idle {
            return Poll::Pending;
        }
        let end = start + self.idle;
        if self.timer.as_ref().is_none_or(|(since, _)| *since != start) {
            self.timer = Some((start, Box::pin(tokio::time::sleep_until(end.into()))));
        }
        let (_, timer) = self.timer.as_mut().expect("just set");
        timer.as_mut().poll(cx)
    }
}

struct Plain {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: NoOutgoing,
}

impl WasiView for Plain {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Plain {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

struct NoOutgoing;

type Io = Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>;

impl WasiHttpHooks for NoOutgoing {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), wasmtime_wasi_http::Error>> + Send> {
        Box::new(async { Err(wasmtime_wasi_http::Error::HttpRequestDenied) })
    }
}
