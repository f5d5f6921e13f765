//! Asks every node for its summary, again and again: often while somebody wants to know, seldom else.

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;
use tokio::time::Instant;

use super::{IDLE_PERIOD, INTEREST, PERIOD, SETTLING_PERIOD, Usage, summary};
use crate::server::Server;

/// Nodes asked at the same time.
const CONCURRENT: usize = 16;
/// How long a node may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// A summary of very many pods.
const SUMMARY_BYTES_MAX: usize = 256 << 20;
/// How long a question waits for figures that are not too old.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// Runs until dropped; without a way to nodes it has nothing to do.
pub async fn follow(server: Server) {
    let usage = server.usage.clone();
    let mut asked = usage.asked.subscribe();
    loop {
        let begun = Instant::now();
        pass(&server, &usage).await;
        usage.scraped.send_replace(Some(begun));
        loop {
            let interest = asked.borrow_and_update().elapsed() < INTEREST;
            let due = begun
                + match interest {
                    _ if usage.is_settling() => SETTLING_PERIOD,
                    true => PERIOD,
                    false => IDLE_PERIOD,
                };
            tokio::select! {
                () = tokio::time::sleep_until(due) => break,
                changed = asked.changed() => if changed.is_err() { return },
            }
        }
    }
}

async fn pass(server: &Server, usage: &Usage) {
    let Some(nodes) = server.catalog.registry().find("", "v1", "nodes").cloned() else { return };
    let listed = server.store.snapshot().list(nodes.id(), None, None, 0);
    let names: Vec<String> = listed.iter().map(|node| node.key.name().to_owned()).collect();
    drop(listed);
    futures::stream::iter(&names).for_each_concurrent(CONCURRENT, |name| ask(server, usage, name)).await;
    let names: std::collections::HashSet<&str> = names.iter().map(String::as_str).collect();
    usage.keep(|node| names.contains(node));
}

/// A node that does not answer keeps its last figures, which grow old.
async fn ask(server: &Server, usage: &Usage, node: &str) {
    let Some(relay) = &server.relay else { return };
    let mut request = http::Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/stats/summary");
    let answer = async {
        let response = relay.request(node, request).await.ok()?;
        let bytes = axum::body::to_bytes(response.into_body(), SUMMARY_BYTES_MAX).await.ok()?;
        summary::read(&bytes)
    };
    match tokio::time::timeout(TIME_MAX, answer).await {
        Ok(Some(figures)) => usage.absorb(node, figures),
        _ => tracing::debug!(node, "the node gave no summary"),
    }
}

impl Usage {
    /// Somebody wants to know: waits a little when what is known is older than it need be.
    pub(super) async fn wanted(&self) {
        if self.asked.receiver_count() == 0 {
            return;
        }
        let mut scraped = self.scraped.subscribe();
        self.asked.send_replace(Instant::now());
        let fresh = |scraped: &Option<Instant>| scraped.is_some_and(|at| at.elapsed() <= PERIOD + WAIT_MAX);
        // Older figures are better than none.
        let _ = tokio::time::timeout(WAIT_MAX, scraped.wait_for(fresh)).await;
    }
}
