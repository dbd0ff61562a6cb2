//! An inventory as text: a table for people, JSON for programs.

use crate::inventory::{Gpu, Inventory, MigMode};
use std::fmt::Write;

const BYTES_PER_GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// What stands where a fact is not known.
const UNKNOWN: &str = "-";

/// The inventory as JSON with stable field names.
pub fn json(inventory: &Inventory) -> String {
    let mut text = serde_json::to_string_pretty(inventory).unwrap_or_default();
    text.push('\n');
    text
}

/// The inventory as a table, or the reason why there is none.
pub fn table(inventory: &Inventory) -> String {
    let mut text = String::new();
    if let Some(version) = &inventory.driver_version {
        let _ = writeln!(text, "driver {version}");
    }
    if let Some(reason) = &inventory.reason {
        let _ = writeln!(text, "{reason}");
    }
    if inventory.gpus.is_empty() {
        return text;
    }
    let header = ["INDEX", "NAME", "MEMORY", "COMPUTE", "MIG", "UUID"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(inventory.gpus.iter().map(row)).collect();
    let widths: Vec<usize> = (0..6)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    for gpu in &inventory.gpus {
        if let Some(error) = &gpu.error {
            let _ = writeln!(text, "GPU {} cannot be asked: {error}", gpu.index);
        }
    }
    text
}

fn row(gpu: &Gpu) -> [String; 6] {
    [
        gpu.index.to_string(),
        known(gpu.name.as_ref()),
        memory(gpu.memory_used_bytes, gpu.memory_total_bytes),
        known(gpu.compute_capability.as_ref()),
        match gpu.mig_mode {
            Some(MigMode::Enabled) => "on".to_owned(),
            Some(MigMode::Disabled) => "off".to_owned(),
            None => UNKNOWN.to_owned(),
        },
        known(gpu.uuid.as_ref()),
    ]
}

fn known(fact: Option<&String>) -> String {
    fact.map_or_else(|| UNKNOWN.to_owned(), Clone::clone)
}

fn memory(used: Option<u64>, total: Option<u64>) -> String {
    match (used, total) {
        (Some(used), Some(total)) => format!("{:.1} of {:.1} GiB", gib(used), gib(total)),
        _ => UNKNOWN.to_owned(),
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / BYTES_PER_GIB
}

#[cfg(test)]
mod tests {
    use super::{json, table};
    use crate::inventory::{Gpu, Inventory, MigMode};

    fn two() -> Inventory {
        let whole = Gpu {
            index: 0,
            name: Some("NVIDIA H100 80GB HBM3".to_owned()),
            uuid: Some("GPU-0a".to_owned()),
            memory_total_bytes: Some(80 << 30),
            memory_used_bytes: Some(3 << 29),
            compute_capability: Some("9.0".to_owned()),
            mig_mode: Some(MigMode::Disabled),
            error: None,
        };
        let lost = Gpu {
            index: 1,
            name: None,
            uuid: None,
            memory_total_bytes: None,
            memory_used_bytes: None,
            compute_capability: None,
            mig_mode: None,
            error: Some("device fell off the bus".to_owned()),
        };
        Inventory { driver_version: Some("580.82".to_owned()), reason: None, gpus: vec![whole, lost] }
    }

    #[test]
    fn a_table_aligns_its_columns_and_keeps_a_device_that_cannot_be_asked() {
        let expected = "\
driver 580.82
INDEX  NAME                   MEMORY           COMPUTE  MIG  UUID
0      NVIDIA H100 80GB HBM3  1.5 of 80.0 GiB  9.0      off  GPU-0a
1      -                      -                -        -    -
GPU 1 cannot be asked: device fell off the bus
";
        assert_eq!(table(&two()), expected);
    }

    #[test]
    fn json_has_stable_field_names_and_null_for_the_unknown() {
        let value: serde_json::Value = serde_json::from_str(&json(&two())).unwrap();
        assert_eq!(value["driverVersion"], "580.82");
        assert_eq!(value["gpus"][0]["memoryTotalBytes"], 80_u64 << 30);
        assert_eq!(value["gpus"][0]["migMode"], "Disabled");
        assert_eq!(value["gpus"][1]["name"], serde_json::Value::Null);
        assert_eq!(value["gpus"][1]["error"], "device fell off the bus");
    }
}
