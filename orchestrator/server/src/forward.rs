//! What every request that goes on to another server has in common: headers that are about one connection, or that are
//! for this server alone, stay behind; a changed protocol is carried both ways.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

/// In the extensions of a response: it is another server's, its form is not ours to change.
#[derive(Debug, Clone, Copy)]
pub struct Relayed;

/// These are about one connection, not about the message.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// `upgrade` is the protocol asked for, which is told on.
pub fn drop_hops(headers: &mut HeaderMap, upgrade: Option<&HeaderValue>) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    named.iter().chain(&HOP_BY_HOP).for_each(|name| drop(headers.remove(name)));
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
}

/// What a caller shows to this server is not for those behind it.
pub fn drop_credentials(headers: &mut HeaderMap) {
    let is_shown = |name: &&HeaderName| {
        [header::AUTHORIZATION, header::PROXY_AUTHORIZATION].contains(name) || name.as_str().starts_with("impersonate-")
    };
    let shown: Vec<HeaderName> = headers.keys().filter(is_shown).cloned().collect();
    shown.iter().for_each(|name| drop(headers.remove(name)));
}

/// Bytes both ways until one side has enough.
pub async fn tunnel(client: OnUpgrade, behind: OnUpgrade) {
    let (Ok(client), Ok(behind)) = tokio::join!(client, behind) else { return };
    let (mut client, mut behind) = (TokioIo::new(client), TokioIo::new(behind));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut behind).await {
        tracing::debug!(%error, "a relayed stream ended");
    }
}
