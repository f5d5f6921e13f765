//! Objects over the API, for readers on another machine.

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};

use crate::informer::{RawEvent, Source};

/// A list and a watch for each kind. Access is checked as for any client.
pub struct Remote(pub kube::Client);

impl Source for Remote {
    fn list_and_watch(
        &self,
        group: &str,
        version: &str,
        plural: &str,
        name: Option<&str>,
    ) -> BoxStream<'static, RawEvent> {
        let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, ""), plural);
        let api = Api::<DynamicObject>::all_with(self.0.clone(), &kind);
        let fields = name.map(|name| format!("metadata.name={name}"));
        let events = watcher(api, watcher::Config { field_selector: fields, ..watcher::Config::default() });
        // watcher() retries by itself when polled again; pace it so that a dead server costs nothing.
        let paced = events.default_backoff();
        paced.filter_map(async |event| event.ok().map(raw)).boxed()
    }
}

fn raw(event: watcher::Event<DynamicObject>) -> RawEvent {
    let bytes = |object: &DynamicObject| serde_json::to_vec(object).expect("an object is plain JSON").into();
    match event {
        watcher::Event::Init => RawEvent::Restarted,
        watcher::Event::InitApply(object) => RawEvent::Listed(bytes(&object)),
        watcher::Event::InitDone => RawEvent::Synced,
        watcher::Event::Apply(object) => RawEvent::Applied(bytes(&object)),
        watcher::Event::Delete(object) => RawEvent::Deleted(bytes(&object)),
    }
}
