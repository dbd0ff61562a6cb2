//! A model's family, found out: by its vocabulary, which is sure, or by its name, which is a convention.

use super::{FAMILIES, Family};

/// Words of a model's name, all of which must stand in it, and none of the second list; the first row that fits decides.
const NAMES: &[(&[&str], &[&str], &str)] = &[
    (&["starcoder2"], &[], "StarCoder2"),
    (&["starcoder"], &[], "StarCoder"),
    (&["stable", "code"], &["instruct"], "StarCoder"),
    (&["codeqwen"], &["chat"], "StarCoder"),
    (&["santacoder"], &[], "SantaCoder"),
    (&["granite-4"], &[], "Granite4"),
    (&["granite4"], &[], "Granite4"),
    (&["granite"], &[], "Granite"),
    (&["codellama"], &["34b", "70b", "python"], "CodeLlama"),
    (&["code-llama"], &["34b", "70b", "python"], "CodeLlama"),
    (&["deepseek", "coder"], &["instruct"], "DeepSeek"),
    (&["deepseek-v3"], &[], "DeepSeek"),
    (&["deepseek-v4"], &[], "DeepSeek"),
    (&["qwen", "coder"], &[], "Qwen"),
    (&["codegemma"], &["-it"], "CodeGemma"),
    (&["codestral"], &["mamba"], "Codestral"),
    (&["mellum"], &[], "Mellum"),
    (&["seed-coder"], &["instruct", "reasoning"], "SeedCoder"),
    (&["glm-4.5"], &[], "GLM"),
    (&["falcon-h1", "coder"], &[], "FalconCoder"),
    (&["codegen2"], &[], "CodeGen2"),
];

/// The family that a model's name says; `None` when it says none, or that the model does not fill in.
#[must_use]
pub fn by_model_name(name: &str) -> Option<&'static Family> {
    let name = name.to_lowercase().replace('_', "-");
    let fits = |(words, but, _): &&(&[&str], &[&str], &str)| {
        words.iter().all(|word| name.contains(word)) && !but.iter().any(|word| name.contains(word))
    };
    NAMES.iter().find(fits).and_then(|(_, _, family)| Family::of_name(family))
}

/// The family that a vocabulary fits: all its tokens are there, and more of those that tell families apart than of any other.
#[must_use]
pub fn by_vocabulary(has: impl Fn(&str) -> bool) -> Option<&'static Family> {
    let knows = |token: &str| has(token) || has(&format!("▁{token}"));
    let mut best: Option<(usize, &'static Family)> = None;
    for family in FAMILIES {
        if !family.required.iter().all(|token| knows(token))
            || !family.distinctive.iter().all(|token| knows(token))
        {
            continue;
        }
        let told = family.distinctive.len();
        if best.is_none_or(|(most, _)| told > most) {
            best = Some((told, family));
        }
    }
    best.map(|(_, family)| family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_say_their_family() {
        let table = [
            ("Qwen/Qwen2.5-Coder-7B", Some("Qwen")),
            ("qwen3-coder:30b", Some("Qwen")),
            ("bigcode/starcoder2-3b", Some("StarCoder2")),
            ("bigcode/starcoderbase", Some("StarCoder")),
            ("codellama/CodeLlama-7b-hf", Some("CodeLlama")),
            ("codellama/CodeLlama-34b-hf", None),
            ("deepseek-ai/deepseek-coder-6.7b-base", Some("DeepSeek")),
            ("deepseek-ai/deepseek-coder-6.7b-instruct", None),
            ("codestral-2508", Some("Codestral")),
            ("google/codegemma-2b", Some("CodeGemma")),
            ("Llama-3.1-8B-Instruct", None),
        ];
        for (name, family) in table {
            assert_eq!(by_model_name(name).map(|found| found.name), family, "{name}");
        }
        for (_, _, family) in NAMES {
            assert!(Family::of_name(family).is_some(), "{family}");
        }
    }

    #[test]
    fn a_vocabulary_says_its_family() {
        for family in FAMILIES {
            let tokens: Vec<&str> = family.required.iter().chain(family.distinctive).copied().collect();
            let found = by_vocabulary(|token| tokens.contains(&token)).map(|found| found.name);
            // Families that a vocabulary alone cannot tell apart have the same template.
            assert_eq!(found, Some(family.name));
        }
        assert_eq!(by_vocabulary(|token| token == "<file_sep>"), None);
    }
}
