//! Watching nodes and the pods that run on them, into records. [I/O]
//!
//! Both are watched in the whole cluster whatever namespaces the operator looks after, for devices are shared by all. Where
//! it may not list them, that is said wherever it matters and tried again.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};

use super::record::{self, NodeRecord, PodRecord, ReadNode, ReadPod};
use super::{Fleet, Known};
use crate::metrics::Metrics;

/// Pods without a node hold nothing, those that ended hold nothing any more.
const HOLDING: &str = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed";

/// Watches until dropped.
pub async fn run(client: Client, fleet: Fleet, metrics: Metrics, config: watcher::Config) {
    tokio::join!(nodes(&client, &fleet, &metrics, config.clone()), pods(&client, &fleet, &metrics, config));
}

async fn nodes(client: &Client, fleet: &Fleet, metrics: &Metrics, config: watcher::Config) {
    let api: Api<ReadNode> = Api::all_with(client.clone(), &ApiResource::erase::<Node>(&()));
    let stream = watcher::watcher(api, config).default_backoff();
    pin_mut!(stream);
    let mut listed: (BTreeMap<String, NodeRecord>, BTreeMap<String, &'static str>) = Default::default();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed = Default::default(),
            Ok(Event::InitApply(node)) => {
                listed.0.extend(record::of_node(&node).map(|record| (node.name_any(), record)));
                listed.1.extend(record::scaled_by(&node).map(|label| (node.name_any(), label)));
            }
            Ok(Event::InitDone) => {
                let (nodes, scaled) = std::mem::take(&mut listed);
                fleet.change(|known| {
                    (known.nodes, known.scaled, known.nodes_unknown) = (Some(nodes), scaled, None);
                    true
                });
            }
            Ok(Event::Apply(node)) => fleet.change(|known| put_node(known, &node, false)),
            Ok(Event::Delete(node)) => fleet.change(|known| put_node(known, &node, true)),
            Err(error) => {
                tracing::debug!(%error, "watch of nodes");
                metrics.watch_broke("Node");
                if may_not(&error) {
                    fleet.change(|known| {
                        let before = known.nodes_unknown.replace("nodes may not be listed".into());
                        known.nodes = None;
                        before.is_none()
                    });
                }
            }
        }
    }
}

/// Whether what is known changed.
fn put_node(known: &mut Known, node: &ReadNode, gone: bool) -> bool {
    let (name, record) = (node.name_any(), record::of_node(node).filter(|_| !gone));
    match record::scaled_by(node).filter(|_| !gone) {
        Some(label) => known.scaled.insert(name.clone(), label),
        None => known.scaled.remove(&name),
    };
    let nodes = known.nodes.get_or_insert_default();
    let same = nodes.get(&name) == record.as_ref();
    match record {
        Some(record) => nodes.insert(name, record),
        None => nodes.remove(&name),
    };
    !same
}

async fn pods(client: &Client, fleet: &Fleet, metrics: &Metrics, config: watcher::Config) {
    let api: Api<ReadPod> = Api::all_with(client.clone(), &ApiResource::erase::<Pod>(&()));
    let stream = watcher::watcher(api, config.fields(HOLDING)).default_backoff();
    pin_mut!(stream);
    let mut listed: HashMap<Box<str>, PodRecord> = HashMap::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed = HashMap::new(),
            Ok(Event::InitApply(pod)) => {
                listed.extend(record::of_pod(&pod).map(|record| (key(&pod), record)));
            }
            Ok(Event::InitDone) => {
                let pods = std::mem::take(&mut listed);
                fleet.change(|known| {
                    let changed = known.pods.as_ref() != Some(&pods);
                    (known.pods, known.pods_unknown) = (Some(pods), None);
                    changed
                });
            }
            Ok(Event::Apply(pod)) => fleet.change(|known| put_pod(known, &pod, false)),
            Ok(Event::Delete(pod)) => fleet.change(|known| put_pod(known, &pod, true)),
            Err(error) => {
                tracing::debug!(%error, "watch of pods that hold devices");
                metrics.watch_broke("Pod");
                if may_not(&error) {
                    fleet.change(|known| {
                        let why = "pods of the whole cluster may not be listed";
                        let before = known.pods_unknown.replace(why.into());
                        known.pods = None;
                        before.is_none()
                    });
                }
            }
        }
    }
}

fn put_pod(known: &mut Known, pod: &ReadPod, gone: bool) -> bool {
    let (key, record) = (key(pod), record::of_pod(pod).filter(|_| !gone));
    let pods = known.pods.get_or_insert_default();
    let same = pods.get(&key) == record.as_ref();
    match record {
        Some(record) => pods.insert(key, record),
        None => pods.remove(&key),
    };
    !same
}

fn key(pod: &ReadPod) -> Box<str> {
    format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), pod.name_any()).into()
}

fn may_not(error: &watcher::Error) -> bool {
    let kube = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => return matches!(status.code, 401 | 403),
        watcher::Error::NoResourceVersion => return false,
    };
    matches!(kube, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}
