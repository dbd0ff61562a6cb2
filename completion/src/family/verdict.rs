//! Whether a backend's own tokenizer knows a family's tokens. The gateway asks it for the ids of each; this judges them.

use std::collections::BTreeMap;

use super::Family;

/// What a backend's tokenizer makes of a family's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Each is one token of its own.
    Fits,
    /// A token is cut into several: the model was not trained with it.
    Splits {
        /// The token.
        token: &'static str,
        /// How many ids it became.
        ids: usize,
    },
    /// Two tokens have the same id: the tokenizer knows neither.
    Alike {
        /// The one.
        token: &'static str,
        /// The other.
        other: &'static str,
    },
    /// The backend was not asked for it, or did not say.
    Missing {
        /// The token.
        token: &'static str,
    },
}

/// Judges the ids, without the sequence's beginning and end, that a tokenizer gave each of [`Family::required_tokens`].
#[must_use]
pub fn judge(family: &Family, ids: &BTreeMap<String, Vec<u32>>) -> Verdict {
    let mut seen: BTreeMap<u32, &'static str> = BTreeMap::new();
    for token in family.required_tokens().iter().copied() {
        match ids.get(token).map(Vec::as_slice) {
            None => return Verdict::Missing { token },
            Some([id]) => {
                if let Some(other) = seen.insert(*id, token) {
                    return Verdict::Alike { token, other };
                }
            }
            Some(several) => return Verdict::Splits { token, ids: several.len() },
        }
    }
    Verdict::Fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_must_be_one_id_of_its_own() {
        let family = Family::of_name("Qwen").unwrap();
        let ids = |list: [&[u32]; 3]| {
            family
                .required_tokens()
                .iter()
                .map(|token| (*token).to_owned())
                .zip(list.map(<[u32]>::to_vec))
                .collect()
        };
        assert_eq!(judge(family, &ids([&[1], &[2], &[3]])), Verdict::Fits);
        assert_eq!(
            judge(family, &ids([&[1], &[2, 9], &[3]])),
            Verdict::Splits { token: "<|fim_suffix|>", ids: 2 }
        );
        assert_eq!(
            judge(family, &ids([&[0], &[2], &[0]])),
            Verdict::Alike { token: "<|fim_middle|>", other: "<|fim_prefix|>" }
        );
        assert_eq!(judge(family, &BTreeMap::new()), Verdict::Missing { token: "<|fim_prefix|>" });
    }
}
