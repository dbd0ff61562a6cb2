//! How many devices a model needs, from its size, its precision and its context. Pure arithmetic, in bytes.
//!
//! A device holds its share of the weights and of the attention cache of one request that fills the context, and beside
//! these what the engine needs by itself. Engines leave a tenth of the memory free (vLLM `--gpu-memory-utilization 0.9`).

use crate::v1alpha1::{Accelerator, ModelSpec, Precision, preset_named};

/// Bytes that an engine needs on each device beside the model: the CUDA context, kernels, activations.
const OVERHEAD: f64 = 1.5 * GIB;
/// Share of a device's memory that an engine uses.
const USABLE: f64 = 0.9;
const GIB: f64 = 1_073_741_824.0;
/// Most devices of one pod.
const MOST: u32 = 64;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// Bytes of the weights.
    pub weights: f64,
    /// Bytes of the attention cache for one whole context; 0 when it is not known.
    pub cache: f64,
    /// Tokens of that context.
    pub context: u32,
}

impl Need {
    /// Bytes that each of `devices` must have.
    #[must_use]
    pub fn of_each(&self, devices: u32) -> f64 {
        ((self.weights + self.cache) / f64::from(devices.max(1)) + OVERHEAD) / USABLE
    }

    /// The fewest devices of `memory` bytes each that hold the model: a power of two, as heads of attention are divided
    /// evenly. `None` when 64 are not enough.
    #[must_use]
    pub fn devices(&self, memory: f64) -> Option<u32> {
        std::iter::successors(Some(1_u32), |devices| devices.checked_mul(2))
            .take_while(|devices| *devices <= MOST)
            .find(|devices| self.of_each(*devices) <= memory)
    }

    /// In words: `weights 14.2 GiB, cache of 32768 tokens 1.8 GiB`.
    #[must_use]
    pub fn words(&self) -> String {
        let weights = format!("weights {}", gib(self.weights));
        if self.cache > 0.0 {
            format!("{weights}, cache of {} tokens {}", self.context, gib(self.cache))
        } else {
            format!("{weights}, the cache is not counted")
        }
    }
}

/// Bytes in words, to a tenth of a GiB.
#[must_use]
pub fn gib(bytes: f64) -> String {
    format!("{:.1} GiB", bytes / GIB)
}

/// What a model takes, where `model.size` or `model.preset` says so.
#[must_use]
pub fn need(model: &ModelSpec) -> Option<Need> {
    let preset = model.preset.as_deref().and_then(preset_named);
    let given = model.context_length.or(preset.map(|preset| preset.context)).unwrap_or(0);
    if let Some(size) = &model.size {
        let parameters = parameters(&size.parameters)?;
        let per_token = size.kv_cache_per_token.as_ref().and_then(|amount| bytes(&amount.0));
        let cache = per_token.unwrap_or(0.0) * f64::from(given);
        return Some(Need { weights: parameters * size.precision.bits() / 8.0, cache, context: given });
    }
    let preset = preset?;
    // Keys and values, of 16 bits each.
    let per_token =
        2.0 * 2.0 * f64::from(preset.layers) * f64::from(preset.kv_heads) * f64::from(preset.head_size);
    let weights = preset.millions * 1e6 * Precision::default().bits() / 8.0;
    Some(Need { weights, cache: per_token * f64::from(given), context: given })
}

/// Devices of each pod: as the spec says; else, where the model's size and the memory of a device are known, as many as it
/// needs; else one.
#[must_use]
pub fn count(model: &ModelSpec, accelerator: &Accelerator) -> u32 {
    let reckoned = || {
        let memory = accelerator.memory_per_device.as_ref().and_then(|memory| bytes(&memory.0));
        let memory = memory.filter(|_| accelerator.mig.is_none())?;
        need(model)?.devices(memory)
    };
    accelerator.count.or_else(reckoned).unwrap_or(1)
}

/// `7B` → 7e9.
pub(crate) fn parameters(text: &str) -> Option<f64> {
    let (number, scale) = [("M", 1e6), ("B", 1e9), ("T", 1e12)]
        .iter()
        .find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, scale)))?;
    Some(number.parse::<f64>().ok().filter(|number| *number > 0.0)? * scale)
}

/// `128Ki` → 131072: the suffixes that sizes of memory are written with.
#[must_use]
pub fn bytes(text: &str) -> Option<f64> {
    const SCALES: [(&str, f64); 9] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", GIB),
        ("Ti", 1024.0 * GIB),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("", 1.0),
    ];
    let (number, scale) =
        SCALES.iter().find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, scale)))?;
    Some(number.parse::<f64>().ok().filter(|number| *number >= 0.0)? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(yaml: &str) -> ModelSpec {
        serde_saphyr::from_str(yaml).expect("a model")
    }

    #[test]
    fn devices_follow_from_size_precision_and_context() {
        // (model, GiB of a device, devices)
        let cases = [
            ("{name: m, preset: Qwen2.5-Coder-7B}", 24.0, Some(1)),
            ("{name: m, preset: Qwen2.5-Coder-7B}", 16.0, Some(2)),
            ("{name: m, preset: Qwen2.5-Coder-32B}", 80.0, Some(1)),
            ("{name: m, preset: Qwen2.5-Coder-32B, contextLength: 131072}", 80.0, Some(2)),
            ("{name: m, preset: Qwen2.5-Coder-32B}", 24.0, Some(4)),
            ("{name: m, preset: CodeLlama-13B, contextLength: 4096}", 40.0, Some(1)),
            ("{name: m, preset: CodeLlama-13B}", 40.0, Some(2)),
            ("{name: m, size: {parameters: 70B}}", 80.0, Some(2)),
            ("{name: m, size: {parameters: 70B, precision: INT4}}", 80.0, Some(1)),
            ("{name: m, size: {parameters: 70B, precision: INT4}}", 24.0, Some(2)),
            ("{name: m, size: {parameters: 350M, precision: FP32}}", 4.0, Some(1)),
            (
                "{name: m, contextLength: 131072, size: {parameters: 7B, kvCachePerToken: 512Ki}}",
                80.0,
                Some(2),
            ),
            ("{name: m, size: {parameters: 9000B}}", 80.0, None),
        ];
        for (yaml, memory, devices) in cases {
            let need = need(&model(yaml)).expect("a size");
            assert_eq!(need.devices(memory * GIB), devices, "{yaml} on {memory} GiB: {}", need.words());
        }
        assert_eq!(need(&model("{name: m}")), None);
    }

    #[test]
    fn the_number_of_devices_is_the_user_s_or_reckoned_or_one() {
        let of = |model_yaml: &str, yaml: &str| {
            count(&model(model_yaml), &serde_saphyr::from_str(yaml).expect("an accelerator"))
        };
        let large = "{name: m, preset: Qwen2.5-Coder-32B}";
        assert_eq!(of(large, "{count: 8, memoryPerDevice: 24Gi}"), 8);
        assert_eq!(of(large, "{memoryPerDevice: 24Gi}"), 4);
        assert_eq!(of(large, "{}"), 1);
        assert_eq!(of(large, "{mig: {profile: 3g.40gb}}"), 1);
        assert_eq!(of("{name: m}", "{memoryPerDevice: 24Gi}"), 1);
    }

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, expected) in
            [("7B", Some(7e9)), ("1.5B", Some(1.5e9)), ("350M", Some(3.5e8)), ("B", None), ("7", None)]
        {
            assert_eq!(parameters(text), expected, "{text}");
        }
        for (text, expected) in
            [("128Ki", Some(131_072.0)), ("1G", Some(1e9)), ("12", Some(12.0)), ("x", None)]
        {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
