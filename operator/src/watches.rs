//! Watches: one for each kind, mirrored into a store; each change wakes whom it concerns. [I/O]
//!
//! A store is filled before a wake is sent, so a reconcile sees at least the change that woke it. After a broken watch
//! the new list replaces the store at once, and everything that was in the old or is in the new list is looked at again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, pin_mut};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, reflector::Lookup};
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;

use crate::args::Lists;
use crate::context::{Ctx, Stores, WatchedBackend, WatchedGateway};
use crate::k8s::child::{ChildKind, MANAGED_BY_SELECTOR};
use crate::mapping::{self, Wake};

/// An optional API is looked for at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// A watch that is silent for this long is begun again; the API server sends bookmarks every minute.
const WATCH_TIMEOUT: u32 = 240;

/// Writers of all stores.
pub struct Writers {
    backends: Writer<WatchedBackend>,
    gateways: Writer<WatchedGateway>,
    pods: Writer<Pod>,
    children: Vec<(ChildKind, Writer<DynamicObject>)>,
}

/// Empty stores and their writers.
#[must_use]
pub fn stores() -> (Stores, Writers) {
    let writers = Writers {
        backends: Writer::default(),
        gateways: Writer::default(),
        pods: Writer::default(),
        children: ChildKind::ALL.map(|kind| (kind, Writer::new(kind.resource()))).into(),
    };
    let stores = Stores {
        backends: writers.backends.as_reader(),
        gateways: writers.gateways.as_reader(),
        pods: writers.pods.as_reader(),
        children: writers.children.iter().map(|(kind, writer)| (*kind, writer.as_reader())).collect(),
    };
    (stores, writers)
}

/// Waits until every store of an API that every cluster serves is filled.
pub async fn filled(stores: &Stores) {
    // A dropped writer means that its task ended, which ends the process elsewhere.
    let _ = stores.backends.wait_until_ready().await;
    let _ = stores.gateways.wait_until_ready().await;
    let _ = stores.pods.wait_until_ready().await;
    for (_, store) in stores.children.iter().filter(|(kind, _)| kind.always_served()) {
        let _ = store.wait_until_ready().await;
    }
}

/// Runs every watch of one scope (a namespace, or all) until dropped.
pub async fn run(ctx: Arc<Ctx>, scope: Option<String>, writers: Writers, wake: mpsc::Sender<Wake>) {
    let Writers { backends, gateways, pods, children } = writers;
    let lists = ctx.settings.lists;
    let scope = scope.as_deref();
    let (plain, ours) = (config(lists), config(lists).labels(MANAGED_BY_SELECTOR));
    let backend_watch = {
        let stream = watcher::watcher(api::<WatchedBackend>(&ctx.client, scope), plain.clone());
        let gateways = ctx.stores.gateways.clone();
        mirror(&ctx, "ModelBackend", stream, backends, &wake, move |backend| {
            mapping::of_backend(backend, gateways.state().iter().map(AsRef::as_ref))
        })
    };
    let gateway_watch = {
        let stream = watcher::watcher(api::<WatchedGateway>(&ctx.client, scope), plain);
        mirror(&ctx, "ModelGateway", stream, gateways, &wake, mapping::of_gateway)
    };
    let pod_watch = {
        let stream = watcher::watcher(api::<Pod>(&ctx.client, scope), ours.clone()).modify(trim);
        let changed = Arc::clone(&ctx.acknowledgements.pods_changed);
        mirror(&ctx, "Pod", stream, pods, &wake, move |pod: &Pod| {
            changed.notify_one();
            let labels = pod.metadata.labels.clone().unwrap_or_default();
            mapping::of_pod(pod.metadata.namespace.as_deref().unwrap_or_default(), &labels)
        })
    };
    let child_watches = children.into_iter().map(|(kind, writer)| {
        let api = dynamic(&ctx.client, scope, &kind.resource());
        child_watch(&ctx, kind, api, ours.clone(), writer, &wake)
    });
    tokio::join!(backend_watch, gateway_watch, pod_watch, futures::future::join_all(child_watches));
}

pub(crate) fn config(lists: Lists) -> watcher::Config {
    let config = watcher::Config::default().timeout(WATCH_TIMEOUT);
    if lists.streaming { config.streaming_lists() } else { config.page_size(lists.page_size) }
}

fn api<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    scope.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
}

fn dynamic(client: &Client, scope: Option<&str>, resource: &ApiResource) -> Api<DynamicObject> {
    match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

async fn child_watch(
    ctx: &Arc<Ctx>,
    kind: ChildKind,
    api: Api<DynamicObject>,
    config: watcher::Config,
    writer: Writer<DynamicObject>,
    wake: &mpsc::Sender<Wake>,
) {
    let map = |child: &DynamicObject| mapping::of_child(child).into_iter().collect();
    if kind.always_served() {
        let stream = watcher::watcher(api, config);
        return mirror(ctx, kind.as_str(), stream, writer, wake, map).await;
    }
    optional(ctx, kind, api, config, writer, wake).await;
}

/// Watches a kind while its API is served: looks for it until it is there, and again when the watch says it is gone.
async fn optional(
    ctx: &Arc<Ctx>,
    kind: ChildKind,
    api: Api<DynamicObject>,
    config: watcher::Config,
    mut writer: Writer<DynamicObject>,
    wake: &mpsc::Sender<Wake>,
) {
    loop {
        let served = api.list_metadata(&kube::api::ListParams::default().limit(1)).await;
        if let Err(error) = served {
            tracing::debug!(%error, kind = kind.as_str(), "not served");
            if note(ctx, kind, false) {
                // What there was went with the API.
                writer.apply_watcher_event(&Event::Init);
                writer.apply_watcher_event(&Event::InitDone);
                wake_everybody(ctx, wake).await;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            continue;
        }
        note(ctx, kind, true);
        wake_everybody(ctx, wake).await;
        let stream = watcher::watcher(api.clone(), config.clone());
        pin_mut!(stream);
        let mut known = BTreeSet::new();
        loop {
            // Looked for anew too while the watch is silent: a deleted API may leave a watch hanging.
            match tokio::time::timeout(LOOK_AGAIN, stream.try_next()).await {
                Ok(Ok(Some(event))) => {
                    let map = |child: &DynamicObject| mapping::of_child(child).into_iter().collect();
                    absorb(event, &mut writer, &mut known, wake, &map).await;
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, kind = kind.as_str(), "watch");
                    ctx.metrics.watch_broke(kind.as_str());
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    break;
                }
                Err(_) if ctx.serves(kind) => {}
                Ok(Ok(None)) | Err(_) => break,
            }
        }
    }
}

/// Notes whether an API is served; whether that is news.
fn note(ctx: &Ctx, kind: ChildKind, served: bool) -> bool {
    ctx.metrics.api_served(kind, served);
    let news = ctx.served.note(kind, served);
    if news {
        tracing::info!(served, "{} {}", kind.resource().api_version, kind.as_str());
    }
    news
}

/// Every object may want a child of the kind that can be made now.
async fn wake_everybody(ctx: &Ctx, wake: &mpsc::Sender<Wake>) {
    let backends = ctx.stores.backends.state();
    let gateways = ctx.stores.gateways.state();
    let all = backends.iter().flat_map(|backend| mapping::of_backend(backend, []));
    let all: BTreeSet<Wake> =
        all.chain(gateways.iter().flat_map(|gateway| mapping::of_gateway(gateway))).collect();
    send(wake, all).await;
}

/// Keeps a store as the API server says, for ever.
async fn mirror<K>(
    ctx: &Ctx,
    kind: &'static str,
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    mut writer: Writer<K>,
    wake: &mpsc::Sender<Wake>,
    map: impl Fn(&K) -> BTreeSet<Wake> + Send + Sync,
) where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    let stream = stream.default_backoff();
    pin_mut!(stream);
    let mut known = BTreeSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                absorb(event, &mut writer, &mut known, wake, &map).await;
                ctx.metrics.cached(kind, writer.as_reader().len());
            }
            Err(error) => {
                tracing::warn!(%error, kind, "watch; it is begun again");
                ctx.metrics.watch_broke(kind);
            }
        }
    }
}

/// One event: store first, then wake. `known` holds whom a list under way concerned before it began.
async fn absorb<K>(
    event: Event<K>,
    writer: &mut Writer<K>,
    known: &mut BTreeSet<Wake>,
    wake: &mpsc::Sender<Wake>,
    map: &(impl Fn(&K) -> BTreeSet<Wake> + Sync),
) where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    let all = |writer: &Writer<K>| -> BTreeSet<Wake> {
        writer.as_reader().state().iter().flat_map(|object| map(object)).collect()
    };
    let woken = match &event {
        Event::Apply(object) | Event::Delete(object) => map(object),
        Event::Init => {
            *known = all(writer);
            BTreeSet::new()
        }
        Event::InitApply(_) | Event::InitDone => BTreeSet::new(),
    };
    let listed = matches!(event, Event::InitDone);
    // What the change took away concerns those it named before.
    let before = match &event {
        Event::Apply(object) => {
            let before = writer
                .as_reader()
                .find(|old| old.name() == object.name() && old.namespace() == object.namespace());
            before.map(|before| map(&before)).unwrap_or_default()
        }
        _ => BTreeSet::new(),
    };
    writer.apply_watcher_event(&event);
    let mut woken: BTreeSet<Wake> = woken.into_iter().chain(before).collect();
    if listed {
        woken.extend(std::mem::take(known));
        woken.extend(all(writer));
    }
    send(wake, woken).await;
}

async fn send(wake: &mpsc::Sender<Wake>, woken: BTreeSet<Wake>) {
    for woken in woken {
        // A closed channel means that the process stops.
        let _ = wake.send(woken).await;
    }
}

/// Keeps of a pod what a status quotes.
fn trim(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    let volumes = pod.spec.take().and_then(|spec| spec.volumes);
    let secrets =
        volumes.map(|volumes| volumes.into_iter().filter(|volume| volume.secret.is_some()).collect());
    pod.spec = Some(PodSpec { volumes: secrets, ..PodSpec::default() });
}
