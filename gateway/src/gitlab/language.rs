//! The language of a file, by the extension table of the original.

/// Lower-case name of the language, or `None` for one the table lacks. The extension is what follows the last dot of the
/// base name, and its case counts: `C` and `H` are C++.
#[must_use]
pub fn language(file_name: &str) -> Option<&'static str> {
    let base = file_name.rsplit('/').next().unwrap_or_default();
    // A name that only begins with a dot has no extension.
    let (stem, extension) = base.rsplit_once('.')?;
    if stem.trim_start_matches('.').is_empty() {
        return None;
    }
    Some(match extension {
        "c" | "h" => "c",
        "cpp" | "hpp" | "c++" | "h++" | "cc" | "hh" | "C" | "H" => "cpp",
        "cs" => "csharp",
        "go" => "go",
        "java" => "java",
        "js" | "jsx" => "js",
        "php" | "php3" | "php4" | "php5" | "phps" | "phpt" => "php",
        "py" => "python",
        "rb" => "ruby",
        "rs" => "rust",
        "scala" => "scala",
        "ts" | "tsx" => "ts",
        "kt" | "kts" => "kotlin",
        _ => return None,
    })
}
