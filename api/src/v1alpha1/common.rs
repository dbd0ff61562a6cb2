//! Types that both resources use. Those that mirror a Kubernetes type keep its field names, so the operator converts
//! them through JSON; they are our own because the gateway links no Kubernetes client and each schema must stay small.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Schemaless;

/// A span of time as Go writes it: `300ms`, `4.5s`, `1m30s`, `24h`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct GoDuration(
    #[cfg_attr(
        feature = "crd",
        schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))
    )]
    pub String,
);

impl GoDuration {
    /// The span, or what is wrong with the text.
    ///
    /// # Errors
    /// When the text is not a sequence of number and unit (`ms`, `s`, `m`, `h`), or is longer than a year.
    pub fn parse(&self) -> Result<Duration, String> {
        let fault = || format!("\"{}\" is not a duration; write for example 300ms, 4.5s or 1m30s", self.0);
        let mut rest = self.0.as_str();
        let mut total = 0.0_f64;
        if rest.is_empty() {
            return Err(fault());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(fault)?;
            let (number, tail) = rest.split_at(digits);
            let number: f64 = number.parse().map_err(|_| fault())?;
            let (unit, used) = match tail.as_bytes() {
                [b'm', b's', ..] => (0.001, 2),
                [b's', ..] => (1.0, 1),
                [b'm', ..] => (60.0, 1),
                [b'h', ..] => (3600.0, 1),
                _ => return Err(fault()),
            };
            total += number * unit;
            rest = tail.get(used..).ok_or_else(fault)?;
        }
        if total > 365.0 * 86_400.0 {
            return Err(format!("\"{}\" is longer than a year", self.0));
        }
        Ok(Duration::from_secs_f64(total))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One key of a Secret in the same namespace. The kubelet mounts the Secret; nothing of ours reads it through the API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))
    )]
    pub name: String,
    /// Key in the Secret. The field that holds this reference says which key is taken when absent.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$")))]
    pub key: Option<String>,
}

/// One key of a ConfigMap in the same namespace, mounted by the kubelet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))
    )]
    pub name: String,
    /// Key in the ConfigMap. The field that holds this reference says which key is taken when absent.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$")))]
    pub key: Option<String>,
}

/// An environment variable of the engine's container; the shape is that of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Name of the variable.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 128), regex(pattern = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"))
    )]
    pub name: String,
    /// Its value; absent when `valueFrom` is given.
    #[cfg_attr(feature = "crd", schemars(length(max = 4096)))]
    pub value: Option<String>,
    /// Where the kubelet takes the value from.
    pub value_from: Option<EnvVarSource>,
}

/// Where the kubelet takes a variable's value from: exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnvVarSource {
    /// A key of a Secret.
    pub secret_key_ref: Option<KeySelector>,
    /// A key of a ConfigMap.
    pub config_map_key_ref: Option<KeySelector>,
    /// A field of the pod.
    pub field_ref: Option<FieldSelector>,
}

/// A key of a Secret or ConfigMap in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct KeySelector {
    /// Name of the object.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub name: String,
    /// Key in the object.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub key: String,
    /// Start the container also when the object or key is absent.
    pub optional: Option<bool>,
}

/// A field of the pod, such as `status.podIP`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FieldSelector {
    /// Path of the field.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 128)))]
    pub field_path: String,
}

/// CPU, memory and the like: quantities by resource name, as in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler reserves.
    #[cfg_attr(feature = "crd", schemars(extend("maxProperties" = 16)))]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// What the container may use at most.
    #[cfg_attr(feature = "crd", schemars(extend("maxProperties" = 16)))]
    pub limits: Option<BTreeMap<String, Quantity>>,
}

/// An amount as Kubernetes writes it: `500m`, `2`, `16Gi`. A bare number is accepted too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Whole(i64),
            Fraction(f64),
            Text(String),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Whole(number) => number.to_string(),
            Form::Fraction(number) => number.to_string(),
            Form::Text(text) => text,
        }))
    }
}

#[cfg(feature = "crd")]
impl schemars::JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "x-kubernetes-int-or-string": true })
    }
}

/// Which nodes the pods may run on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Labels a node must have.
    #[cfg_attr(feature = "crd", schemars(extend("maxProperties" = 32)))]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 32)))]
    pub tolerations: Vec<Toleration>,
    /// Affinity as in a pod. What the devices ask for is required besides.
    pub affinity: Option<Schemaless>,
    /// PriorityClass of the pods.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub priority_class_name: Option<String>,
    /// RuntimeClass of the pods, such as `nvidia`.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub runtime_class_name: Option<String>,
    /// `topologySpreadConstraints` as in a pod; one without `labelSelector` gets that of the pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 8)))]
    pub topology_spread: Vec<Schemaless>,
}

/// A taint the pods tolerate; the shape is that of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// Key of the taint; empty with operator `Exists` means all.
    #[cfg_attr(feature = "crd", schemars(length(max = 316)))]
    pub key: Option<String>,
    /// `Equal` (default) or `Exists`.
    #[cfg_attr(feature = "crd", schemars(extend("enum" = ["Equal", "Exists"])))]
    pub operator: Option<String>,
    /// Value of the taint.
    #[cfg_attr(feature = "crd", schemars(length(max = 63)))]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; absent means all.
    #[cfg_attr(feature = "crd", schemars(extend("enum" = ["NoSchedule", "PreferNoSchedule", "NoExecute"])))]
    pub effect: Option<String>,
    /// How long a pod stays on a node with a `NoExecute` taint, in seconds.
    pub toleration_seconds: Option<i64>,
}

/// How Prometheus is told about the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonitoringSpec {
    /// `Auto`: a ServiceMonitor where the Prometheus Operator's API is served, with the operator's default labels and
    /// `labels`. `Manual`: the same with `labels` alone. `Disabled`: none.
    #[serde(default)]
    pub mode: MonitoringMode,
    /// Labels put on the ServiceMonitor, such as those that a Prometheus selects by.
    #[cfg_attr(feature = "crd", schemars(extend("maxProperties" = 32)))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Time between two scrapes; absent means Prometheus' own default.
    pub interval: Option<GoDuration>,
}

/// Who decides about the ServiceMonitor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum MonitoringMode {
    /// Made where the API is served, with the operator's default labels too.
    #[default]
    Auto,
    /// Made where the API is served, with the labels given here alone.
    Manual,
    /// Not made. (`Off` would be read as a boolean by YAML 1.1, and so by kubectl.)
    Disabled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let parse = |text: &str| GoDuration(text.into()).parse();
        assert_eq!(parse("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse("4.5s"), Ok(Duration::from_millis(4500)));
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("24h"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "5", "s", "5 s", "-1s", "1d", "1.2.3s", "99999h"] {
            assert!(parse(bad).is_err(), "{bad} must be refused");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_duration_is_the_sum_of_its_parts(h in 0_u64..1000, m in 0_u64..100, s in 0_u64..1000, ms in 0_u64..10_000) {
            let expected = Duration::from_millis(((h * 60 + m) * 60 + s) * 1000 + ms);
            let parsed = GoDuration(format!("{h}h{m}m{s}s{ms}ms")).parse().expect("a duration");
            assert!(parsed.abs_diff(expected) < Duration::from_micros(1), "{parsed:?} is not {expected:?}");
        }
    }
}
