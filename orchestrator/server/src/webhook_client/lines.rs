//! Connections to webhooks that stay open between calls: a handshake costs more than most answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::{ANSWER_BYTES_MAX, Target, Trust, connect};

/// Open and unused, to one target.
const IDLE_MAX: usize = 16;
const IDLE_TIME: Duration = Duration::from_secs(60);

/// Whom a line leads to, and who vouches for the other side.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Far {
    server_name: String,
    addresses: Vec<SocketAddr>,
    authorities: Vec<u8>,
}

struct Line {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

/// All lines of a server. They end with it.
#[derive(Default)]
pub struct Lines {
    idle: Mutex<HashMap<Far, Vec<Line>>>,
    drivers: Mutex<JoinSet<()>>,
}

impl Lines {
    /// Sends what `request` makes, over a line that is open already if there is one. The error is a text for the client.
    pub async fn send(
        &self,
        target: &Target,
        trust: &Trust,
        request: impl Fn() -> Result<Request<Full<Bytes>>, String>,
    ) -> Result<Response<Bytes>, String> {
        let far = Far {
            server_name: target.server_name.clone(),
            addresses: target.addresses.clone(),
            authorities: trust.authorities.clone(),
        };
        // The other side may have hung up meanwhile: then it is called anew.
        while let Some(mut sender) = self.take(&far) {
            if let Ok(answer) = ask(&mut sender, request()?).await {
                self.keep(far, sender);
                return Ok(answer);
            }
        }
        let stream = connect(target, trust).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        self.drive(async move { drop(connection.await) });
        let answer = ask(&mut sender, request()?).await?;
        self.keep(far, sender);
        Ok(answer)
    }

    fn take(&self, far: &Far) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock();
        let lines = idle.get_mut(far)?;
        while let Some(line) = lines.pop() {
            if !line.sender.is_closed() && line.since.elapsed() < IDLE_TIME {
                return Some(line.sender);
            }
        }
        idle.remove(far);
        None
    }

    fn keep(&self, far: Far, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock();
        idle.retain(|_, lines| {
            lines.retain(|line| !line.sender.is_closed() && line.since.elapsed() < IDLE_TIME);
            !lines.is_empty()
        });
        let lines = idle.entry(far).or_default();
        if lines.len() < IDLE_MAX {
            lines.push(Line { sender, since: Instant::now() });
        }
    }

    fn drive(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let mut drivers = self.drivers.lock();
        while drivers.try_join_next().is_some() {}
        drivers.spawn(connection);
    }
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
    let failed = |error: hyper::Error| error.to_string();
    sender.ready().await.map_err(failed)?;
    let (head, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
