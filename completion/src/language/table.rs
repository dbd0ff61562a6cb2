//! The table of languages. One row each: variant, label, human name, comments, what opens a block, extensions, base names,
//! what editors, shebangs and modelines call it besides, and keywords that begin a top-level statement.
//!
//! The first thirteen rows are the languages of GitLab's gateway of 2023, the labels are those of its successor.

use super::{Blocks, Comments};

/// Words separated by one space; empty for none.
type Words = &'static str;

/// What is known of a language.
#[derive(Debug)]
pub struct Info {
    pub(super) id: &'static str,
    pub(super) human: &'static str,
    pub(super) comments: Comments,
    pub(super) blocks: Blocks,
    pub(super) extensions: Words,
    pub(super) base_names: Words,
    pub(super) aliases: Words,
    pub(super) top_level: Words,
}

macro_rules! languages {
    ($($variant:ident $id:literal $human:literal $comments:ident $blocks:ident
       $extensions:literal $names:literal $aliases:literal $top_level:literal;)*) => {
        /// A language that the engine can name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Language {
            $(#[doc = $human] $variant,)*
        }

        impl Language {
            /// Every language, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(super) const fn info(self) -> &'static Info {
                match self {
                    $(Self::$variant => &Info {
                        id: $id,
                        human: $human,
                        comments: Comments::$comments,
                        blocks: Blocks::$blocks,
                        extensions: $extensions,
                        base_names: $names,
                        aliases: $aliases,
                        top_level: $top_level,
                    },)*
                }
            }
        }
    };
}

languages! {
    C "c" "C" SLASH Braces "c h" "" "" "#include #define typedef struct enum union static extern inline const void int";
    Cpp "cpp" "C++" SLASH Braces "cpp hpp c++ h++ cc hh C H cxx hxx ipp tcc tpp inl" "" "c++" "#include #define namespace template class struct enum union typedef using static extern inline const void";
    Csharp "csharp" "C#" SLASH Braces "cs csx" "" "c# cs" "using namespace class struct interface enum record delegate public private protected internal static abstract sealed partial";
    Go "go" "Go" SLASH Braces "go" "" "golang" "func interface struct package type import var const";
    Java "java" "Java" SLASH Braces "java jav" "" "" "package import class interface enum record public private protected static abstract final sealed @interface";
    Js "js" "JavaScript" SLASH Braces "js jsx mjs cjs es6" "Jakefile" "javascript javascriptreact node nodejs deno" "abstract async class const export function import interface module package type var enum let";
    Php "php" "PHP" SLASH Braces "php php3 php4 php5 phps phpt phtml" "" "" "namespace use class interface trait enum abstract final function const";
    Python "python" "Python" HASH Colon "py pyi pyx pyw pxd" "SConstruct SConscript wscript" "python2 python3 cython pypy" "def from class import async @";
    Ruby "ruby" "Ruby" HASH Keywords "rb rake gemspec ru podspec thor jbuilder" "Rakefile Gemfile Vagrantfile Guardfile Capfile Podfile Fastfile Brewfile Berksfile Dangerfile" "jruby" "begin class def end ensure include module require rescue self";
    Rust "rust" "Rust" SLASH Braces "rs" "" "" "fn trait impl enum pub extern static unsafe use mod struct const type macro_rules!";
    Scala "scala" "Scala" SLASH Braces "scala sbt sc" "" "" "package import class object trait enum case abstract sealed final def val given";
    Ts "ts" "TypeScript" SLASH Braces "ts tsx mts cts" "" "typescript typescriptreact ts-node" "abstract async class const export function import interface module namespace package type var enum let declare";
    Kotlin "kotlin" "Kotlin" SLASH Braces "kt kts ktm" "" "" "package import class interface object enum data sealed abstract open fun val var typealias annotation private internal public";
    Ada "ada" "Ada" DASH Keywords "ada adb ads" "" "" "with use package procedure function";
    Apex "apex" "Apex" SLASH Braces "cls trigger" "" "" "public private global class trigger";
    Arduino "arduino" "Arduino" SLASH Braces "ino" "" "" "#include void int";
    Asm "asm" "Assembly" SEMICOLON Plain "S asm s nasm" "" "asm x86asm" "section global .text .data .globl";
    Astro "astro" "Astro" HTML Markup "astro" "" "" "";
    Awk "awk" "Awk" HASH Braces "awk" "" "gawk mawk nawk" "BEGIN END function";
    Bash "bash" "Bash" HASH Keywords "bash sh ksh bats" ".bashrc .bash_profile .bash_aliases .profile PKGBUILD" "shellscript sh ksh dash ash shell" "function source export readonly";
    Batch "batch" "Batch" REM Plain "bat cmd" "" "bat" "";
    Bicep "bicep" "Bicep" SLASH Braces "bicep" "" "" "param var resource module output";
    C3 "c3" "C3" SLASH Braces "c3" "" "" "module import fn struct";
    Cairo "cairo" "Cairo" SLASH Braces "cairo" "" "" "fn mod use struct impl trait";
    Clojure "clojure" "Clojure" SEMICOLON Plain "clj cljc cljs edn" "" "" "(ns (def (defn";
    Cmake "cmake" "CMake" HASH Plain "cmake" "CMakeLists.txt" "" "";
    Cobol "cobol" "COBOL" STAR Plain "cbl cob cobol cpy" "" "" "";
    CommonLisp "commonlisp" "Common Lisp" SEMICOLON Plain "cl lisp lsp" "" "lisp" "(defun (defmacro (defvar";
    Crystal "crystal" "Crystal" HASH Keywords "cr" "" "" "require class def module struct";
    Css "css" "CSS" CBLOCK Braces "css" "" "" "";
    Cuda "cuda" "CUDA" SLASH Braces "cu cuh" "" "cuda-cpp" "#include __global__ template struct";
    D "d" "D" SLASH Braces "d" "" "" "import module class struct";
    Dart "dart" "Dart" SLASH Braces "dart" "" "" "abstract class enum export extension import library mixin part typedef void";
    DeviceTree "devicetree" "Devicetree" SLASH Braces "dts dtsi" "" "dts" "";
    Dockerfile "dockerfile" "Dockerfile" HASH Plain "dockerfile containerfile" "Dockerfile Containerfile" "" "FROM";
    Elisp "elisp" "Emacs Lisp" SEMICOLON Plain "el" ".emacs" "emacs-lisp" "(defun (defvar (defmacro (require";
    Elixir "elixir" "Elixir" HASH Keywords "ex exs" "mix.lock" "" "defmodule def defp import alias use require";
    Elm "elm" "Elm" DASH Plain "elm" "" "" "module import type port";
    Erlang "erlang" "Erlang" PERCENT Arrow "erl hrl escript" "rebar.config" "escript" "-module -export -import -record -spec";
    Fennel "fennel" "Fennel" SEMICOLON Plain "fnl" "" "" "";
    Fish "fish" "Fish" HASH Keywords "fish" "" "" "function";
    Fortran "fortran" "Fortran" BANG Keywords "f f03 f08 f77 f90 f95 for" "" "fortran-modern fortran_fixed-form" "program module subroutine function";
    Fsharp "fsharp" "F#" SLASH Plain "fs fsi fsx" "" "f#" "module open let type namespace";
    Gdscript "gdscript" "GDScript" HASH Colon "gd" "" "" "func class var const extends signal";
    Gleam "gleam" "Gleam" SLASH Braces "gleam" "" "" "import pub fn type";
    Glsl "glsl" "GLSL" SLASH Braces "frag glsl vert comp geom" "" "" "";
    Graphql "graphql" "GraphQL" HASH Braces "graphql gql" "" "" "type query mutation input enum";
    Groovy "groovy" "Groovy" SLASH Braces "groovy gsh gvy gy gradle" "Jenkinsfile" "" "package import class interface def";
    Hack "hack" "Hack" SLASH Braces "hack hhi" "" "hacklang" "namespace use class function";
    Hare "hare" "Hare" SLASH Braces "ha" "" "" "use fn type export";
    Haskell "haskell" "Haskell" DASH Plain "hs lhs hsc" "" "" "module import data type newtype class instance";
    Haxe "haxe" "Haxe" SLASH Braces "hx" "" "" "package import class";
    Hcl "hcl" "HCL" HASH Braces "hcl" "" "" "";
    Hlsl "hlsl" "HLSL" SLASH Braces "hlsl" "" "" "";
    Html "html" "HTML" HTML Markup "html htm xhtml" "" "" "";
    Idris "idris" "Idris" DASH Plain "idr" "" "" "module import data";
    Jai "jai" "Jai" SLASH Braces "jai" "" "" "";
    Janet "janet" "Janet" HASH Plain "janet" "" "" "";
    Jq "jq" "jq" HASH Plain "jq" "" "" "def";
    Json "json" "JSON" NONE Braces "json jsonc json5 webmanifest" ".prettierrc .eslintrc .babelrc" "jsonc" "";
    Julia "julia" "Julia" HASH Keywords "jl" "" "" "function struct module using import macro";
    Jupyter "jupyter" "Jupyter Notebook" NONE Braces "ipynb" "" "" "";
    Less "less" "Less" SLASH Braces "less" "" "" "";
    Lua "lua" "Lua" DASH Keywords "lua rockspec" ".luacheckrc" "luajit" "function local return";
    Luau "luau" "Luau" DASH Keywords "luau" "" "" "function local type export";
    Magik "magik" "Magik" HASH Keywords "magik" "" "" "";
    Make "make" "Makefile" HASH Plain "mk mak" "Makefile makefile GNUmakefile Kbuild" "makefile" "";
    Markdown "markdown" "Markdown" HTML Markup "md markdown mdx" "" "" "";
    Matlab "matlab" "MATLAB" PERCENT Keywords "" "" "octave" "function classdef";
    Mojo "mojo" "Mojo" HASH Colon "mojo" "" "" "fn def struct from import";
    Move "move" "Move" SLASH Braces "move" "" "" "module use fun struct";
    Nim "nim" "Nim" HASH Colon "nim nims" "" "" "import proc type var const";
    Nix "nix" "Nix" HASH Braces "nix" "" "" "";
    Objc "objc" "Objective-C" SLASH Braces "m mm" "" "objective-c objective-cpp" "#import #include @interface @implementation @protocol @end";
    Ocaml "ocaml" "OCaml" ML Plain "ml mli" "" "" "let open module type exception";
    Odin "odin" "Odin" SLASH Braces "odin" "" "" "package import";
    Pascal "pascal" "Pascal" SLASH Keywords "pas pp dpr" "" "delphi objectpascal" "unit uses procedure function type";
    Perl "perl" "Perl" HASH Braces "pl pm pod t" "cpanfile" "perl5" "package use sub";
    Pony "pony" "Pony" SLASH Plain "pony" "" "" "actor class use";
    Powershell "powershell" "PowerShell" HASH Braces "ps1 psd1 psm1" "" "pwsh" "function param using class";
    Prolog "prolog" "Prolog" PERCENT Plain "pro prolog" "" "swipl" ":-";
    Proto "proto" "Protocol Buffers" SLASH Braces "proto" "" "proto3 protobuf" "message service enum import package option syntax";
    Purescript "purescript" "PureScript" DASH Plain "purs" "" "" "module import data type";
    Ql "ql" "CodeQL" SLASH Braces "ql qll" "" "codeql" "import class predicate from";
    R "r" "R" HASH Braces "R r Rprofile" ".Rprofile" "rscript" "library require source";
    Racket "racket" "Racket" SEMICOLON Plain "rkt" "" "" "(define (require (module";
    Rescript "rescript" "ReScript" SLASH Braces "res resi" "" "" "let type module open";
    Robot "robot" "Robot Framework" HASH Plain "robot" "" "robotframework" "***";
    Roc "roc" "Roc" HASH Plain "roc" "" "" "";
    Scheme "scheme" "Scheme" SEMICOLON Plain "scm ss" "" "guile" "(define";
    Scss "scss" "SCSS" SLASH Braces "scss sass" "" "sass" "";
    Smalltalk "smalltalk" "Smalltalk" NONE Plain "st" "" "" "";
    Solidity "solidity" "Solidity" SLASH Braces "sol" "" "" "contract interface library abstract pragma import function modifier event struct enum";
    Sourcepawn "sourcepawn" "SourcePawn" SLASH Braces "sp" "" "" "#include public";
    Sql "sql" "SQL" DASH Plain "sql" "" "mysql postgres plsql tsql" "CREATE SELECT INSERT UPDATE DELETE ALTER DROP create select insert update delete alter drop";
    Starlark "starlark" "Starlark" HASH Colon "bzl star bazel" "BUILD BUILD.bazel WORKSPACE WORKSPACE.bazel MODULE.bazel Tiltfile" "bazel" "def load";
    Svelte "svelte" "Svelte" HTML Markup "svelte" "" "" "";
    Swift "swift" "Swift" SLASH Braces "swift" "" "" "import class struct enum protocol extension func public private internal final let var @main";
    SystemVerilog "systemverilog" "SystemVerilog" SLASH Keywords "sv svh" "" "" "module class package interface";
    Tact "tact" "Tact" SLASH Braces "tact" "" "" "contract fun import message";
    Tcl "tcl" "Tcl" HASH Braces "tcl tk" "" "tclsh wish" "proc namespace package";
    Terraform "terraform" "Terraform" HASH Braces "tf tfvars" "" "" "resource data variable output module provider locals terraform";
    Tlaplus "tlaplus" "TLA+" TLA Plain "tla" "" "" "";
    Toml "toml" "TOML" HASH Plain "toml" "Cargo.lock Pipfile poetry.lock" "" "";
    V "v" "V" SLASH Braces "vv vsh" "" "vlang" "fn module import struct";
    Vb "vb" "Visual Basic" APOSTROPHE Keywords "bas vb vbs" "" "vba" "Public Private Module Class Imports Sub Function";
    Verilog "verilog" "Verilog" SLASH Keywords "v vh" "" "" "module";
    Vhdl "vhdl" "VHDL" DASH Keywords "vhd vhdl" "" "" "library use entity architecture";
    Vim "vim" "Vim script" QUOTE Keywords "vim" ".vimrc .gvimrc _vimrc" "viml" "function let";
    Vue "vue" "Vue" HTML Markup "vue" "" "" "";
    Wgsl "wgsl" "WGSL" SLASH Braces "wgsl" "" "" "fn struct";
    Xml "xml" "XML" HTML Markup "xml xsd xsl xslt svg csproj props targets plist" "pom.xml" "" "";
    Yaml "yaml" "YAML" HASH Plain "yaml yml" ".clang-format .clang-tidy .gitlab-ci.yml" "dockercompose" "";
    Zig "zig" "Zig" SLASH Braces "zig zon" "" "" "const pub fn test comptime";
    Zsh "zsh" "Zsh" HASH Keywords "zsh" ".zshrc .zprofile .zshenv" "" "function source export";
}
