//! Which grammar parses which language.

use tree_sitter::Language as Grammar;

use crate::language::Language;

/// The grammar of a language; `None` where none is linked. `file_name` tells TSX from TypeScript.
pub(super) fn of(language: Language, file_name: &str) -> Option<Grammar> {
    let grammar = match language {
        Language::Bash | Language::Zsh => tree_sitter_bash::LANGUAGE,
        Language::C => tree_sitter_c::LANGUAGE,
        Language::Cpp | Language::Arduino | Language::Cuda => tree_sitter_cpp::LANGUAGE,
        Language::Csharp => tree_sitter_c_sharp::LANGUAGE,
        Language::Css => tree_sitter_css::LANGUAGE,
        Language::Dart => tree_sitter_dart::LANGUAGE,
        Language::Elixir => tree_sitter_elixir::LANGUAGE,
        Language::Erlang => tree_sitter_erlang::LANGUAGE,
        Language::Go => tree_sitter_go::LANGUAGE,
        Language::Groovy => tree_sitter_groovy::LANGUAGE,
        Language::Haskell => tree_sitter_haskell::LANGUAGE,
        Language::Hcl | Language::Terraform => tree_sitter_hcl::LANGUAGE,
        Language::Html => tree_sitter_html::LANGUAGE,
        Language::Java => tree_sitter_java::LANGUAGE,
        Language::Js => tree_sitter_javascript::LANGUAGE,
        Language::Json => tree_sitter_json::LANGUAGE,
        Language::Kotlin => tree_sitter_kotlin_ng::LANGUAGE,
        Language::Lua => tree_sitter_lua::LANGUAGE,
        Language::Php => tree_sitter_php::LANGUAGE_PHP,
        Language::Powershell => tree_sitter_powershell::LANGUAGE,
        Language::Proto => tree_sitter_proto::LANGUAGE,
        Language::Python | Language::Starlark => tree_sitter_python::LANGUAGE,
        Language::R => tree_sitter_r::LANGUAGE,
        Language::Ruby => tree_sitter_ruby::LANGUAGE,
        Language::Rust => tree_sitter_rust::LANGUAGE,
        Language::Scala => tree_sitter_scala::LANGUAGE,
        Language::Solidity => tree_sitter_solidity::LANGUAGE,
        Language::Swift => tree_sitter_swift::LANGUAGE,
        Language::Toml => tree_sitter_toml_ng::LANGUAGE,
        Language::Ts if file_name.to_lowercase().ends_with(".tsx") => tree_sitter_typescript::LANGUAGE_TSX,
        Language::Ts => tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
        Language::Yaml => tree_sitter_yaml::LANGUAGE,
        Language::Zig => tree_sitter_zig::LANGUAGE,
        _ => return None,
    };
    Some(grammar.into())
}
