//! Whether a pod of a model finds its devices, and if not, the arithmetic of it. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use modelgate_api::sizing::gib;
use modelgate_api::v1alpha1::{Blocked, BlockedHave, BlockedNeed};

use super::Known;
use super::demand::{Demand, Unsuited};
use super::record::{NodeRecord, PodRecord};

/// Holders named at most.
const NAMED: usize = 3;

/// What the arithmetic says.
#[derive(Clone, Debug, PartialEq)]
pub enum Fit {
    /// A node has enough free devices.
    Room(String),
    /// None has; why, and what to do.
    Blocked(Blocked),
    /// It cannot be told.
    Unknown(String),
}

/// How long a ModelBackend (namespace, name) has had no request; `None` when nobody counts.
pub type Idle<'a> = &'a dyn Fn(&str, &str) -> Option<Duration>;

/// Devices by who holds them: name, and whether it is a ModelBackend (else a pod).
type Holders = BTreeMap<(String, bool), u64>;

/// Decides.
#[must_use]
pub fn fit(demand: &Demand, known: &Known, idle: Idle<'_>) -> Fit {
    let Some(nodes) = &known.nodes else {
        let why = known.nodes_unknown.clone();
        return Fit::Unknown(why.unwrap_or_else(|| "nodes were not listed yet".into()));
    };
    let having: Vec<(&String, &NodeRecord, u64)> = nodes
        .iter()
        .filter_map(|(name, node)| {
            Some((name, node, node.devices.get(&demand.resource).copied()?)).filter(|(.., n)| *n > 0)
        })
        .collect();
    if having.is_empty() {
        return Fit::Blocked(nothing(demand, nodes, known));
    }
    let mut unsuited: BTreeMap<Unsuited, Vec<&NodeRecord>> = BTreeMap::new();
    let mut suited = Vec::new();
    for (name, node, total) in having {
        match demand.unsuited(node) {
            Some(why) => unsuited.entry(why).or_default().push(node),
            None => suited.push((name, total)),
        }
    }
    let Some((largest, most)) = suited.iter().max_by_key(|(_, total)| *total).copied() else {
        return Fit::Blocked(none_suits(demand, &unsuited, known));
    };
    let resource = &demand.resource;
    if most < demand.count {
        let detail =
            format!("needs {} {resource} on one node, the largest that suits has {most}", demand.count);
        let suggestion =
            format!("add a node with {} of them, or set spec.accelerator.count: {most}", demand.count);
        let have = have(Some(largest), most, most);
        return Fit::Blocked(blocked(demand, "TooFewDevices", detail, have, suggestion, known));
    }
    let Some(pods) = &known.pods else {
        let why = known.pods_unknown.as_deref().unwrap_or("pods were not listed yet");
        return Fit::Unknown(format!(
            "{why}, so what they hold could not be counted; node {largest} has {most} {resource} in all"
        ));
    };
    let (held, holders) = count(demand, pods, &suited);
    let free =
        |(name, total): &(&String, u64)| total.saturating_sub(held.get(name.as_str()).copied().unwrap_or(0));
    let best = suited.iter().max_by_key(|node| free(node)).copied().unwrap_or((largest, most));
    if free(&best) >= demand.count {
        return Fit::Room(format!("node {} has {} {resource} free", best.0, free(&best)));
    }
    let (named, suggestion) = who(&holders, idle, demand);
    let detail =
        format!("needs {} {resource} on one node, best has {} free; {named}", demand.count, free(&best));
    let have = have(Some(best.0), free(&best), best.1);
    Fit::Blocked(blocked(demand, "Taken", detail, have, suggestion, known))
}

/// Devices held on each node that suits, and by whom: a ModelBackend (`true`) or a pod.
fn count<'a>(
    demand: &Demand,
    pods: &'a HashMap<Box<str>, PodRecord>,
    suited: &[(&String, u64)],
) -> (BTreeMap<&'a str, u64>, Holders) {
    let resource = &demand.resource;
    let mut held: BTreeMap<&str, u64> = BTreeMap::new();
    let mut holders = Holders::new();
    for (key, pod) in pods {
        let amount = pod
            .devices
            .iter()
            .filter(|(name, _)| **name == **resource)
            .map(|(_, n)| u64::from(*n))
            .sum::<u64>();
        if amount == 0 || !suited.iter().any(|(name, _)| **name == *pod.node) {
            continue;
        }
        *held.entry(&pod.node).or_default() += amount;
        let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
        let holder = pod
            .backend
            .as_ref()
            .map_or_else(|| (key.to_string(), false), |name| (format!("{namespace}/{name}"), true));
        *holders.entry(holder).or_default() += amount;
    }
    (held, holders)
}

/// Who holds the devices, those without requests for the longest first, and what to do about it.
fn who(holders: &Holders, idle: Idle<'_>, demand: &Demand) -> (String, String) {
    let mut known: Vec<(Option<Duration>, &(String, bool), u64)> = holders
        .iter()
        .map(|(holder, amount)| {
            let since = holder
                .0
                .split_once('/')
                .filter(|_| holder.1)
                .and_then(|(namespace, name)| idle(namespace, name));
            (since, holder, *amount)
        })
        .collect();
    known.sort_by_key(|(since, holder, amount)| {
        (std::cmp::Reverse(*since), std::cmp::Reverse(*amount), (*holder).clone())
    });
    let words = |(since, (name, ours), amount): &(Option<Duration>, &(String, bool), u64)| {
        let kind = if *ours { "backend" } else { "pod" };
        match since.filter(|since| since.as_secs() >= 60) {
            Some(since) => format!("{kind} {name}, idle {}, holds {amount}", span(since)),
            None => format!("{kind} {name} holds {amount}"),
        }
    };
    let mut named: Vec<String> = known.iter().take(NAMED).map(words).collect();
    let more = known.len().saturating_sub(NAMED);
    if more > 0 {
        named.push(format!("{more} more hold the rest"));
    }
    let idlest =
        known.iter().find(|(since, (_, ours), _)| *ours && since.is_some_and(|since| since.as_secs() >= 600));
    let suggestion = match idlest {
        Some((_, (name, _), _)) => {
            format!("scale backend {name} down or delete it, or add a node with {}", demand.resource)
        }
        None => format!("wait, add a node with {}, or free devices of another workload", demand.resource),
    };
    (named.join("; "), suggestion)
}

/// `40 min`, `3 h`: in steps, so that a status does not change with every look.
fn span(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0..=9 => format!("{minutes} min"),
        10..=119 => format!("{} min", minutes / 5 * 5),
        _ => format!("{} h", minutes / 60),
    }
}

fn nothing(demand: &Demand, nodes: &BTreeMap<String, NodeRecord>, known: &Known) -> Blocked {
    let mut others: Vec<&str> =
        nodes.values().flat_map(|node| node.devices.keys()).map(String::as_str).collect();
    others.sort_unstable();
    others.dedup();
    let has = if others.is_empty() {
        "no node has any device".into()
    } else {
        format!("nodes have {}", others.join(", "))
    };
    let detail = format!("needs {} {} on one node, no node has any; {has}", demand.count, demand.resource);
    let suggestion = match (&demand.accelerator.mig, others.is_empty()) {
        (Some(_), false) => {
            "name a profile that nodes have by spec.accelerator.mig, or partition a device so".into()
        }
        (_, true) => "add a node with devices, and install its vendor's device plugin".to_owned(),
        (None, false) => {
            "name a resource that nodes have by spec.accelerator.resourceName or .mig, or add such a node"
                .into()
        }
    };
    blocked(demand, "NoDevice", detail, have(None, 0, 0), suggestion, known)
}

fn none_suits(demand: &Demand, unsuited: &BTreeMap<Unsuited, Vec<&NodeRecord>>, known: &Known) -> Blocked {
    let all: usize = unsuited.values().map(Vec::len).sum();
    let values = |nodes: &[&NodeRecord], label: &str| -> String {
        let mut values: Vec<&str> =
            nodes.iter().map(|node| node.labels.get(label).map_or("not labelled", String::as_str)).collect();
        values.sort_unstable();
        values.dedup();
        values.join(", ")
    };
    let largest =
        |nodes: &[&NodeRecord]| nodes.iter().filter_map(|node| demand.memory(node)).fold(0.0, f64::max);
    let said = unsuited.iter().map(|(why, nodes)| {
        let what = match why {
            Unsuited::Selector => "without the labels of spec.placement.nodeSelector".into(),
            Unsuited::Taint => {
                let mut taints: Vec<_> = nodes
                    .iter()
                    .flat_map(|node| &node.taints)
                    .map(|(key, value, effect)| {
                        if value.is_empty() {
                            format!("{key}:{effect}")
                        } else {
                            format!("{key}={value}:{effect}")
                        }
                    })
                    .collect();
                taints.sort();
                taints.dedup();
                format!("tainted {}", taints.join(", "))
            }
            Unsuited::Product => format!("another product ({})", values(nodes, "nvidia.com/gpu.product")),
            Unsuited::Capability => {
                format!("of compute capability {}.x", values(nodes, "nvidia.com/gpu.compute.major"))
            }
            Unsuited::Memory => format!("with devices of {} at most", gib(largest(nodes))),
            Unsuited::Model => {
                format!("with devices of {} at most, too small for the model", gib(largest(nodes)))
            }
        };
        format!("{} {what}", nodes.len())
    });
    let said: Vec<String> = said.collect();
    let detail = format!(
        "needs {} {} on one node; of {all} nodes that have them: {}",
        demand.count,
        demand.resource,
        said.join(", ")
    );
    let (by, suggestion) = match unsuited.iter().max_by_key(|(why, nodes)| (nodes.len(), **why)) {
        Some((Unsuited::Model, nodes)) => ("ModelTooLarge", smaller(demand, largest(nodes))),
        Some((Unsuited::Memory, _)) => ("Memory", "lower spec.accelerator.memoryPerDevice, or add a node with larger devices".into()),
        Some((Unsuited::Capability, _)) => ("ComputeCapability", "lower spec.accelerator.minComputeCapability if the engine allows it, or add a node with newer devices".into()),
        Some((Unsuited::Product, nodes)) => ("Product", format!("name one of {} in spec.accelerator.products", values(nodes, "nvidia.com/gpu.product"))),
        Some((Unsuited::Taint, _)) => ("Taint", "tolerate it by spec.placement.tolerations".into()),
        Some((Unsuited::Selector, _)) | None => ("NodeSelector", "change spec.placement.nodeSelector, or label a node".into()),
    };
    blocked(demand, by, detail, have(None, 0, 0), suggestion, known)
}

/// How the model would fit devices of `memory` bytes.
fn smaller(demand: &Demand, memory: f64) -> String {
    let Some(need) = &demand.need else { return String::new() };
    let each = gib(need.of_each(demand.devices()));
    let why = format!("{}: {each} on each of {}", need.words(), demand.count);
    match need.devices(memory).filter(|_| demand.accelerator.mig.is_none()) {
        Some(devices) => format!(
            "set spec.accelerator.count: {devices} (tensor parallelism {devices}); the model takes {why}"
        ),
        None => format!(
            "use larger devices, a lower precision or a shorter spec.model.contextLength; the model takes {why}"
        ),
    }
}

fn have(node: Option<&String>, free: u64, total: u64) -> BlockedHave {
    let whole = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    BlockedHave { node: node.cloned(), free: whole(free), total: whole(total) }
}

fn blocked(
    demand: &Demand,
    by: &str,
    mut detail: String,
    have: BlockedHave,
    mut suggestion: String,
    known: &Known,
) -> Blocked {
    if let Some((_, label)) = known.scaled.first_key_value() {
        detail.push_str(&format!("; nodes carry {label}, so an autoscaler may bring one that suits"));
        suggestion = format!("wait for the autoscaler, or {suggestion}");
    }
    if known.pods.is_none() {
        detail.push_str("; what pods hold could not be counted");
    }
    let memory = demand.need.as_ref().map(|need| gib(need.of_each(demand.devices())));
    let count = i64::try_from(demand.count).unwrap_or(i64::MAX);
    let need = BlockedNeed { resource: demand.resource.clone(), count, memory_per_device: memory };
    Blocked { by: by.into(), detail, need: Some(need), have: Some(have), suggestion }
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
