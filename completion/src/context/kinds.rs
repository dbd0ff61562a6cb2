//! Which nodes of each grammar are imports, what encloses others (classes, modules), and what has a signature.

use crate::language::Language;

/// A kind of node, and a word that its first line must hold; empty for none.
type Rule = (&'static str, &'static str);

/// The nodes of a grammar that context is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kinds {
    pub(super) imports: &'static [Rule],
    pub(super) containers: &'static [Rule],
    pub(super) functions: &'static [Rule],
}

const NONE: Kinds = Kinds { imports: &[], containers: &[], functions: &[] };
const JS_FUNCTIONS: &[Rule] = &[
    ("function_declaration", ""),
    ("generator_function_declaration", ""),
    ("method_definition", ""),
    ("lexical_declaration", "=>"),
];

#[expect(clippy::too_many_lines, reason = "a table")]
/// The nodes of a language's grammar; empty lists where none are known.
pub(super) const fn of(language: Language) -> Kinds {
    match language {
        Language::C => {
            Kinds { imports: &[("preproc_include", "")], functions: &[("function_definition", "")], ..NONE }
        }
        Language::Cpp | Language::Cuda | Language::Arduino => Kinds {
            imports: &[("preproc_include", ""), ("using_declaration", "")],
            containers: &[("class_specifier", ""), ("struct_specifier", ""), ("namespace_definition", "")],
            functions: &[("function_definition", "")],
        },
        Language::Csharp => Kinds {
            imports: &[("using_directive", "")],
            containers: &[
                ("namespace_declaration", ""),
                ("class_declaration", ""),
                ("struct_declaration", ""),
                ("interface_declaration", ""),
                ("record_declaration", ""),
            ],
            functions: &[("method_declaration", ""), ("constructor_declaration", "")],
        },
        Language::Go => Kinds {
            imports: &[("import_declaration", "")],
            functions: &[("function_declaration", ""), ("method_declaration", "")],
            ..NONE
        },
        Language::Java => Kinds {
            imports: &[("import_declaration", "")],
            containers: &[
                ("class_declaration", ""),
                ("interface_declaration", ""),
                ("enum_declaration", ""),
                ("record_declaration", ""),
            ],
            functions: &[("method_declaration", ""), ("constructor_declaration", "")],
        },
        Language::Js => Kinds {
            imports: &[("import_statement", ""), ("lexical_declaration", "require(")],
            containers: &[("class_declaration", "")],
            functions: JS_FUNCTIONS,
        },
        Language::Ts => Kinds {
            imports: &[("import_statement", "")],
            containers: &[
                ("class_declaration", ""),
                ("abstract_class_declaration", ""),
                ("interface_declaration", ""),
                ("internal_module", ""),
            ],
            functions: JS_FUNCTIONS,
        },
        Language::Php => Kinds {
            imports: &[("namespace_use_declaration", "")],
            containers: &[
                ("class_declaration", ""),
                ("interface_declaration", ""),
                ("trait_declaration", ""),
            ],
            functions: &[("function_definition", ""), ("method_declaration", "")],
        },
        Language::Python | Language::Starlark => Kinds {
            imports: &[
                ("import_statement", ""),
                ("import_from_statement", ""),
                ("future_import_statement", ""),
            ],
            containers: &[("class_definition", "")],
            functions: &[("function_definition", "")],
        },
        Language::Ruby => Kinds {
            imports: &[("call", "require")],
            containers: &[("class", ""), ("module", "")],
            functions: &[("method", ""), ("singleton_method", "")],
        },
        Language::Rust => Kinds {
            imports: &[("use_declaration", "")],
            containers: &[("impl_item", ""), ("trait_item", ""), ("mod_item", "")],
            functions: &[("function_item", "")],
        },
        Language::Scala => Kinds {
            imports: &[("import_declaration", "")],
            containers: &[("class_definition", ""), ("object_definition", ""), ("trait_definition", "")],
            functions: &[("function_definition", "")],
        },
        Language::Kotlin => Kinds {
            imports: &[("import", "")],
            containers: &[("class_declaration", ""), ("object_declaration", "")],
            functions: &[("function_declaration", "")],
        },
        other => further(other),
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
/// Languages beyond the thirteen of GitLab's gateway.
const fn further(language: Language) -> Kinds {
    match language {
        Language::Bash | Language::Zsh => {
            Kinds { imports: &[("command", "source ")], functions: &[("function_definition", "")], ..NONE }
        }
        Language::Lua => Kinds {
            imports: &[("variable_declaration", "require")],
            functions: &[("function_declaration", "")],
            ..NONE
        },
        Language::Elixir => Kinds {
            imports: &[("call", "import "), ("call", "alias "), ("call", "use "), ("call", "require ")],
            containers: &[("call", "defmodule ")],
            functions: &[("call", "def "), ("call", "defp ")],
        },
        Language::Dart => Kinds {
            imports: &[("import_or_export", "")],
            containers: &[("class_declaration", ""), ("class_definition", "")],
            functions: &[("function_signature", "")],
        },
        Language::Swift => Kinds {
            imports: &[("import_declaration", "")],
            containers: &[("class_declaration", ""), ("protocol_declaration", "")],
            functions: &[("function_declaration", "")],
        },
        Language::Zig => Kinds {
            imports: &[("variable_declaration", "@import")],
            functions: &[("function_declaration", "")],
            ..NONE
        },
        Language::R => Kinds {
            imports: &[("call", "library("), ("call", "require(")],
            functions: &[("binary_operator", "function(")],
            ..NONE
        },
        Language::Solidity => Kinds {
            imports: &[("import_directive", "")],
            containers: &[
                ("contract_declaration", ""),
                ("interface_declaration", ""),
                ("library_declaration", ""),
            ],
            functions: &[("function_definition", "")],
        },
        Language::Groovy => Kinds {
            imports: &[("import_declaration", "")],
            containers: &[("class_declaration", "")],
            functions: &[("method_declaration", "")],
        },
        Language::Haskell => Kinds { imports: &[("import", "")], functions: &[("signature", "")], ..NONE },
        Language::Erlang => Kinds {
            imports: &[("pp_include", ""), ("import_attribute", "")],
            functions: &[("fun_decl", "")],
            ..NONE
        },
        Language::Powershell => Kinds {
            imports: &[("pipeline", "Import-Module")],
            containers: &[("class_statement", "")],
            functions: &[("function_statement", "")],
        },
        Language::Proto => Kinds {
            imports: &[("import", "")],
            containers: &[("service", "")],
            functions: &[("message", ""), ("rpc", "")],
        },
        _ => NONE,
    }
}
