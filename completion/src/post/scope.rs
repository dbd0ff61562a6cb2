//! Step h: the answer ends where the function ends in which the cursor stands, or after the first definition when it
//! stands in none. The syntax tree says where; indentation does for files without one.

use tree_sitter::Node;

use super::context::{CodeLine, indentation};
use super::{Change, Context, Guard, newline, overlap};

/// Cuts behind the block.
#[must_use]
pub fn apply(text: &str, context: &Context<'_>, guard: &mut Guard<'_>) -> Option<Change> {
    if !text.contains('\n') {
        return None;
    }
    let lines = context.lines(text);
    let cut = by_tree(text, &lines, context, guard).unwrap_or_else(|| by_indentation(&lines, context))?;
    let allowed = context.fit(text).excess.max(context.fit("").excess);
    let tries = [Some(cut), before_closer(&lines, cut)];
    let kept = tries.into_iter().flatten().find_map(|cut| {
        let kept = settled(text, cut, context, guard);
        (context.fit(&kept).excess <= allowed && guard.is_no_worse(&kept, text)).then_some(kept)
    })?;
    // What the cut laid bare may be the text after the cursor.
    let bare = overlap::apply(&kept, context, guard).map_or(kept, |change| change.text);
    (bare.len() < text.len()).then(|| Change::cut(&bare))
}

/// Can a stream be given up: has a line begun that lies outside the block?
#[must_use]
pub fn is_decided(text: &str, context: &Context<'_>) -> bool {
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    text.get(..whole).is_some_and(|text| by_indentation(&context.lines(text), context).is_some())
}

fn settled(text: &str, cut: usize, context: &Context<'_>, guard: &mut Guard<'_>) -> String {
    newline::settle(text.get(..cut).unwrap_or_default(), context, guard)
}

/// The start of the line that closes the block in front of a cut.
fn before_closer(lines: &[CodeLine<'_>], cut: usize) -> Option<usize> {
    let last = lines.iter().rev().find(|line| line.start < cut && !line.text.trim().is_empty())?;
    is_closer(last.text).then_some(last.start)
}

/// `Some(None)`: the tree knows the block, and nothing lies behind it.
fn by_tree(
    text: &str,
    lines: &[CodeLine<'_>],
    context: &Context<'_>,
    guard: &mut Guard<'_>,
) -> Option<Option<usize>> {
    let offside = context.lexis.offside;
    let (tree, cursor) = guard.tree_above(text)?;
    let function = function_around(tree.root_node(), cursor)?;
    let end = function.end_byte().checked_sub(cursor)?;
    let header = function.start_position().column;
    let mut behind = lines.iter().filter(|line| line.start >= end && !line.text.trim().is_empty());
    let outside = behind.find(|line| {
        !offside || (is_code(line) && indentation(line.text) <= header && !is_comment(line, context))
    })?;
    Some(Some(outside.start))
}

/// Lines within open brackets are none, but a definition never stands in brackets: these were left open.
fn is_code(line: &CodeLine<'_>) -> bool {
    line.is_code
        || (line.is_in_brackets
            && matches!(definition(line.text), Some(Definition::Function | Definition::Container)))
}

fn is_comment(line: &CodeLine<'_>, context: &Context<'_>) -> bool {
    context.lexis.is_comment(line.text)
}

/// The outermost function that holds the cursor; classes and modules around it do not count.
fn function_around(root: Node<'_>, cursor: usize) -> Option<Node<'_>> {
    let mut node = root;
    loop {
        let mut walk = node.walk();
        let around = |child: &Node<'_>| child.start_byte() < cursor && child.end_byte() > cursor;
        node = node.named_children(&mut walk).find(around)?;
        if is_function(node.kind()) {
            return Some(node);
        }
    }
}

fn is_function(kind: &str) -> bool {
    [
        "function_definition",
        "function_declaration",
        "function_item",
        "method_definition",
        "method_declaration",
        "method",
        "singleton_method",
        "constructor_declaration",
        "generator_function_declaration",
        "local_function_declaration",
        "function_definition_statement",
        "func_definition",
        "subroutine_declaration_statement",
    ]
    .contains(&kind)
}

/// The start of the first line outside the block, by indentation.
fn by_indentation(lines: &[CodeLine<'_>], context: &Context<'_>) -> Option<usize> {
    match limit(lines, context) {
        Some(limit) => leaves(lines, limit, context),
        None => behind_definition(lines, context),
    }
}

/// The indentation of the outermost function's first line above the cursor.
fn limit(lines: &[CodeLine<'_>], context: &Context<'_>) -> Option<usize> {
    let mut level = inner_level(lines, context)?;
    let mut found = None;
    for line in context.prefix.rsplit('\n').skip(usize::from(!opens(context.current_line()))) {
        if line.trim().is_empty()
            || indentation(line) >= level
            || is_closer(line)
            || context.lexis.is_comment(line)
        {
            continue;
        }
        level = indentation(line);
        match definition(line) {
            Some(Definition::Function) => found = Some(level),
            Some(Definition::Container) => break,
            None => {}
        }
        if level == 0 {
            break;
        }
    }
    found
}

fn opens(line: &str) -> bool {
    !line.trim().is_empty()
}

/// How deep the code at the cursor stands: by its own line, the answer's, or what follows.
fn inner_level(lines: &[CodeLine<'_>], context: &Context<'_>) -> Option<usize> {
    let current = context.current_line();
    if !current.trim().is_empty() {
        // A header whose body is about to be written counts as its own body.
        return Some(indentation(current) + usize::from(definition(current).is_some()));
    }
    let first =
        lines.first().map(|line| format!("{current}{}", line.text)).filter(|line| !line.trim().is_empty());
    let next =
        || lines.iter().skip(1).find(|line| !line.text.trim().is_empty()).map(|line| line.text.to_owned());
    let given = indentation(&first.or_else(next)?);
    let below = context.suffix.lines().find(|line| !line.trim().is_empty() && !is_closer(line));
    // An answer that begins outside the block in which the file goes on.
    Some(given.max(below.map_or(0, indentation)))
}

/// The first line of code that stands no deeper than the block's header, or what follows its closing line.
fn leaves(lines: &[CodeLine<'_>], limit: usize, context: &Context<'_>) -> Option<usize> {
    let mut outside = lines.iter().skip(1).filter(|line| {
        is_code(line)
            && !line.text.trim().is_empty()
            && indentation(line.text) <= limit
            && !is_neutral(line.text, context)
    });
    let first = outside.next()?;
    if !is_closer(first.text) {
        return Some(begin_of_block(lines, first.start, limit, context));
    }
    let mut behind = lines.iter().filter(|line| line.start > first.start && !line.text.trim().is_empty());
    behind.next().map(|line| line.start)
}

/// Comments that stand right above the first line outside belong to it.
fn begin_of_block(lines: &[CodeLine<'_>], start: usize, limit: usize, context: &Context<'_>) -> usize {
    let above = lines.iter().rev().skip(1).filter(|line| line.start < start);
    let mut above = above.take_while(|line| {
        line.text.trim().is_empty()
            || (indentation(line.text) <= limit && context.lexis.is_comment(line.text))
    });
    above.by_ref().filter(|line| line.start > 0).last().map_or(start, |line| line.start)
}

/// What follows the first definition that the answer itself begins.
fn behind_definition(lines: &[CodeLine<'_>], context: &Context<'_>) -> Option<usize> {
    let mut rest = lines.iter().enumerate().filter(|(at, line)| *at == 0 || is_code(line));
    let current = context.current_line();
    let (_, first) = rest.by_ref().find(|(at, line)| {
        let text = if *at == 0 { format!("{current}{}", line.text) } else { line.text.to_owned() };
        definition(&text).is_some()
    })?;
    let level = if first.start == 0 {
        indentation(&format!("{current}{}", first.text))
    } else {
        indentation(first.text)
    };
    let mut behind = rest.map(|(_, line)| line).filter(|line| {
        !line.text.trim().is_empty() && indentation(line.text) <= level && !is_neutral(line.text, context)
    });
    let next = behind.find(|line| !is_closer(line.text))?;
    Some(begin_of_block(lines, next.start, level, context))
}

pub(crate) enum Definition {
    Function,
    Container,
}

/// Does the line begin a definition?
pub(crate) fn definition(line: &str) -> Option<Definition> {
    let mut words =
        line.trim_start().split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let first = words.by_ref().find(|word| !MODIFIERS.contains(word))?;
    if FUNCTIONS.contains(&first) {
        return Some(Definition::Function);
    }
    if CONTAINERS.contains(&first) {
        return Some(Definition::Container);
    }
    // `int main(void) {`: a name, its parameters and a block, and no statement.
    let line = line.trim();
    let names = line.split('(').next().unwrap_or_default().split_whitespace().count();
    let is_block =
        line.ends_with('{') && line.contains(')') && !line.contains('=') && !line.starts_with(['}', '.']);
    (is_block && names >= 2 && !STATEMENTS.contains(&first)).then_some(Definition::Function)
}

const MODIFIERS: &[&str] = &[
    "pub",
    "crate",
    "async",
    "export",
    "default",
    "static",
    "public",
    "private",
    "protected",
    "internal",
    "final",
    "abstract",
    "override",
    "open",
    "inline",
    "suspend",
    "unsafe",
    "extern",
    "sealed",
    "partial",
    "virtual",
    "local",
    "data",
];
const FUNCTIONS: &[&str] = &["def", "defp", "fn", "func", "function", "fun", "sub", "proc"];
const CONTAINERS: &[&str] = &[
    "class",
    "struct",
    "enum",
    "trait",
    "impl",
    "interface",
    "module",
    "namespace",
    "object",
    "defmodule",
    "mod",
    "record",
];
const STATEMENTS: &[&str] = &[
    "if",
    "else",
    "for",
    "while",
    "switch",
    "catch",
    "do",
    "try",
    "return",
    "foreach",
    "using",
    "lock",
    "match",
    "when",
    "synchronized",
    "with",
    "loop",
    "unless",
    "until",
    "case",
    "await",
    "throw",
    "new",
    "elif",
    "elseif",
];

/// A line of closing brackets or of the word that ends a block.
pub(crate) fn is_closer(line: &str) -> bool {
    let line = line.trim();
    line.starts_with(['}', ')', ']']) && !line.contains(char::is_alphanumeric)
        || matches!(line, "end" | "end;" | "end,")
}

/// Lines that stand at any depth: comments, preprocessor lines, labels.
fn is_neutral(line: &str, context: &Context<'_>) -> bool {
    let line = line.trim();
    context.lexis.is_comment(line)
        || (line.starts_with('#') && !context.lexis.offside)
        || (line.ends_with(':') && !line.contains([' ', '(']) && !context.lexis.offside)
}
