//! Drives a number of requests, or a time of them, with a fixed number in flight.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::measured::Latencies;

/// Runs `request(0..count)` with `in_flight` at once; latencies and wall time. The first failure ends it.
pub async fn drive<F, Fut>(count: usize, in_flight: usize, request: F) -> anyhow::Result<(Latencies, Duration)>
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    let (next, request) = (Arc::new(AtomicUsize::new(0)), Arc::new(request));
    let started = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (next, request) = (next.clone(), request.clone());
        lanes.spawn(async move {
            let mut mine = Latencies::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return anyhow::Ok(mine);
                }
                let started = Instant::now();
                request(index).await?;
                mine.record(started.elapsed());
            }
        });
    }
    let mut all = Latencies::new();
    while let Some(lane) = lanes.join_next().await {
        all.merge(&lane??);
    }
    Ok((all, started.elapsed()))
}

/// The body of a request that must succeed.
pub async fn send(request: reqwest::RequestBuilder) -> anyhow::Result<Vec<u8>> {
    let response = request.send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    anyhow::ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body[..body.len().min(400)]));
    Ok(body.to_vec())
}
