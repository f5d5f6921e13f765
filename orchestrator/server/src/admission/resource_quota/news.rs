//! What the plug-in tells the keeper: whose quotas were charged, and whose must be counted anew. A namespace is noted
//! once however often it is told, so this never holds more than there are namespaces with quotas.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a namespace's quotas need; the later one includes the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    Publish,
    Recount,
}

/// A clone is the same news.
#[derive(Clone, Default)]
pub struct QuotaNews(Arc<Shared>);

#[derive(Default)]
struct Shared {
    wanted: Mutex<BTreeMap<String, Want>>,
    told: Notify,
}

impl QuotaNews {
    pub(super) fn tell(&self, namespace: &str, want: Want) {
        let mut wanted = self.0.wanted.lock();
        let noted = wanted.entry(namespace.to_owned()).or_insert(want);
        *noted = want.max(*noted);
        self.0.told.notify_one();
    }

    pub(super) fn when_dropped(&self, namespace: &str, want: Want) -> Told {
        Told { news: self.clone(), namespace: namespace.to_owned(), want }
    }

    /// Waits until there is any.
    pub(super) async fn told(&self) {
        self.0.told.notified().await;
    }

    pub(super) fn take(&self) -> BTreeMap<String, Want> {
        std::mem::take(&mut self.0.wanted.lock())
    }
}

/// Tells when it is dropped.
pub(super) struct Told {
    news: QuotaNews,
    namespace: String,
    want: Want,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.news.tell(&self.namespace, self.want);
    }
}
