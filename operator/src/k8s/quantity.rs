//! Quantities of Kubernetes: `500m`, `1Gi`, `2`. The API server rewrites them (`1000m` becomes `1`), so they are compared
//! by value.

/// Whether both texts mean the same amount; `false` when either is no quantity.
#[must_use]
pub fn equal(left: &str, right: &str) -> bool {
    left == right || matches!((nano(left), nano(right)), (Some(left), Some(right)) if left == right)
}

/// The amount rounded up to whole units (bytes, devices); `None` when the text is no quantity or below zero.
#[must_use]
pub fn whole(text: &str) -> Option<u64> {
    let nano = nano(text).filter(|nano| *nano >= 0)?;
    u64::try_from(nano.checked_add(999_999_999)?.checked_div(1_000_000_000)?).ok()
}

/// The amount in billionths.
fn nano(text: &str) -> Option<i128> {
    let split =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let whole = whole.trim_start_matches(['-', '+']);
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 18 || fraction.len() > 9 {
        return None;
    }
    let digits: i128 =
        format!("{}{fraction:0<9}", if whole.is_empty() { "0" } else { whole }).parse().ok()?;
    let scaled = match suffix {
        "n" => digits.checked_div(1_000_000_000)?,
        "u" => digits.checked_div(1_000_000)?,
        "m" => digits.checked_div(1_000)?,
        other => digits.checked_mul(multiplier(other)?)?,
    };
    Some(if negative { -scaled } else { scaled })
}

fn multiplier(suffix: &str) -> Option<i128> {
    let binary = |power: u32| Some(1_i128 << (10 * power));
    match suffix {
        "" => Some(1),
        "k" => Some(1_000),
        "M" => Some(1_000_000),
        "G" => Some(1_000_000_000),
        "T" => Some(1_000_000_000_000),
        "P" => Some(1_000_000_000_000_000),
        "E" => Some(1_000_000_000_000_000_000),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: u32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10_i128.checked_pow(power)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{equal, whole};

    #[test]
    fn a_part_of_a_unit_counts_as_a_whole_one() {
        for (text, units) in [("40Gi", 42_949_672_960), ("2", 2), ("1500m", 2), ("0", 0)] {
            assert_eq!(whole(text), Some(units), "{text}");
        }
        assert_eq!(whole("-1"), None);
        assert_eq!(whole("many"), None);
    }

    #[test]
    fn amounts_are_equal_however_they_are_written() {
        for (left, right) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1e3", "1k"),
            ("1.5Gi", "1536Mi"),
            ("2", "2"),
            (".5", "500m"),
        ] {
            assert!(equal(left, right), "{left} = {right}");
        }
        for (left, right) in [("1", "2"), ("1G", "1Gi"), ("100m", "1"), ("abc", "abd"), ("", "0")] {
            assert!(!equal(left, right), "{left} != {right}");
        }
    }
}
