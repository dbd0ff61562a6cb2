//! The twelve steps: for each a table of answers it must mend and of answers it must leave alone, and properties of the
//! whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use modelgate_completion::Document;
use modelgate_completion::post::{
    Finish, Incremental, Input, Mode, Policy, Processed, Progress, Step, clean_end, run,
};
use modelgate_completion::syntax::Caps;
use proptest::prelude::*;

/// A policy whose time cap no slow machine reaches.
fn patient() -> Policy {
    Policy { caps: Caps { time: Duration::from_secs(60), ..Policy::default().caps }, ..Policy::default() }
}

/// A file with `‸` at the cursor.
fn document(name: &str, file: &str) -> Document {
    let (prefix, suffix) = file.split_once('‸').expect("a cursor");
    Document::new(prefix, suffix, name, None)
}

fn input<'a>(document: &'a Document, policy: &'a Policy, raw: &'a str) -> Input<'a> {
    Input {
        document,
        specials: &[],
        stops: &[],
        raw,
        finish: Finish::Stop,
        mode: Mode::Multi,
        policy,
        place: None,
    }
}

fn changed(processed: &Processed) -> Vec<Step> {
    processed.steps.iter().filter(|(_, changed)| *changed).map(|(step, _)| *step).collect()
}

/// File name, file, answer, what is shown.
type Row = (&'static str, &'static str, &'static str, &'static str);

/// Each answer becomes what is expected, and `step` is among the steps that did it; alone where `alone`.
fn mends(step: Step, rows: &[Row]) {
    let policy = patient();
    for (name, file, raw, expected) in rows {
        let document = document(name, file);
        let processed = run(&input(&document, &policy, raw));
        assert_eq!(processed.text, *expected, "{name} {file:?} {raw:?}: {:?}", changed(&processed));
        assert!(changed(&processed).contains(&step), "{name} {raw:?}: {:?}", changed(&processed));
    }
}

/// Correct answers come through as they are.
fn harms_none(rows: &[(&'static str, &'static str, &'static str)]) {
    let policy = patient();
    for (name, file, raw) in rows {
        let document = document(name, file);
        let processed = run(&input(&document, &policy, raw));
        assert_eq!(processed.text, *raw, "{name} {file:?}: {:?}", changed(&processed));
        assert_eq!(changed(&processed), [], "{name} {raw:?}");
    }
}

const PY: &str = "a.py";

#[test]
fn special_tokens_end_an_answer() {
    mends(
        Step::SpecialTokens,
        &[
            (PY, "x = ‸\n", "1<|fim_middle|>\ny", "1"),
            (PY, "x = ‸\n", "<|fim_middle|>1<|endoftext|>", "1"),
            (PY, "x = ‸\n", "<|endoftext|>import os", ""),
            (PY, "x = ‸\n", "1<｜fim▁end｜>", "1"),
        ],
    );
    // Tokens that the file itself spells, and marks that only look like some family's.
    harms_none(&[
        (PY, "FIM = '<|fim_middle|>'\nx = ‸\n", "'<|fim_middle|>' + y"),
        ("a.html", "<p>‸</p>\n", "<s>old</s>"),
        (PY, "x = ‸\n", "a <| b"),
    ]);
}

#[test]
fn a_family_s_own_tokens_count_though_others_may_write_them() {
    let policy = patient();
    let document = document(PY, "x = ‸\n");
    let specials = ["[MIDDLE]".to_owned(), "</s>".to_owned()];
    let processed = run(&Input { specials: &specials, ..input(&document, &policy, "1</s>2") });
    assert_eq!(processed.text, "1");
    let processed = run(&Input { specials: &specials, ..input(&document, &policy, "[MIDDLE]1") });
    assert_eq!(processed.text, "1");
}

#[test]
fn stop_words_and_the_end_of_the_line_end_an_answer() {
    let policy = patient();
    let stops = ["\n\n".to_owned(), "\nclass".to_owned()];
    let table = [
        ("x = ‸\n", Mode::Multi, "1\ny = 2\n\nz", "1\ny = 2"),
        ("x = ‸\n", Mode::Multi, "1\nclass A", "1"),
        ("x = ‸\n", Mode::Single, "1\ny = 2", "1"),
        ("‸y = 2\n", Mode::Single, "x = 1\ny = 2", "x = 1\n"),
        ("x = ‸\n", Mode::Single, "f(1)", "f(1)"),
    ];
    for (file, mode, raw, expected) in table {
        let document = document(PY, file);
        let processed = run(&Input { stops: &stops, mode, ..input(&document, &policy, raw) });
        assert_eq!(processed.text, expected, "{file:?} {raw:?}");
    }
}

#[test]
fn fences_thinking_and_echoes_are_taken_off() {
    mends(
        Step::Rewrite,
        &[
            (PY, "def f(x):\n‸", "```python\n    return x\n```", "    return x\n"),
            (
                PY,
                "def f(x):\n‸",
                "Here is the code:\n```\n    return x\n```\nIt returns x.\n",
                "    return x\n",
            ),
            (PY, "def f(x):\n‸", "```python\n    return x", "    return x"),
            (PY, "def f(x):\n    return ‸\n", "x\n```\nThis is it.", "x"),
            (PY, "x = ‸\n", "<think>\nhm\n</think>\n\n1", "1"),
            (PY, "x = ‸\n", "<think>\nhm", ""),
            (PY, "def f(x):\n    return ‸\n", "return x + 1", "x + 1"),
            (
                PY,
                "def f(x):\n    total = x\n    return ‸\n",
                "def f(x):\n    total = x\n    return total",
                "total",
            ),
            (PY, "x = ‸\n", " 1", "1"),
        ],
    );
    harms_none(&[
        (PY, "m = max(‸)\n", "max(a, b), c"),
        (PY, "x = 1 ‸\n", " # one"),
        (PY, "s = 'a ‸'\n", " b"),
        (PY, "x = ‸\n", "'```'"),
    ]);
}

#[test]
fn loops_are_ended_and_one_copy_stays() {
    let line = "    total += 1\n";
    mends(
        Step::Repetition,
        &[
            (PY, "def f():\n‸", "    total += 1\n    total += 1\n    total += 1\n", line),
            (PY, "x = ‸\n", "1\nx = 1\nx = 1\nx = 1", "1"),
            (
                PY,
                "def f():\n‸",
                "    a()\n    b()\n    a()\n    b()\n    a()\n    b()\n    a(",
                "    a()\n    b()\n",
            ),
            (PY, "s = ‸\n", "'la la la la la la la la la la la la la la la la la la la la", "'la la la la"),
        ],
    );
    harms_none(&[
        (PY, "def f():\n‸", "    step()\n    step()\n"),
        ("a.c", "int a[] = {\n‸};\n", "    0, 0, 0, 0,\n    0, 0, 0, 0,\n"),
        (PY, "‸", "# ------------------------------------------------\nx = 1\n"),
    ]);
}

#[test]
fn copies_of_what_stands_above_are_dropped() {
    let file = "def f(a):\n    first = a + 1\n    second = first * 2\n    third = second - 3\n‸";
    mends(
        Step::Reflection,
        &[(
            PY,
            file,
            "    second = first * 2\n    third = second - 3\n    return third\n",
            "    return third\n",
        )],
    );
    harms_none(&[
        (PY, file, "    fourth = third + 1\n    first = a + 1\n"),
        (
            "a.go",
            "func f() {\n\tif err != nil {\n\t\treturn err\n\t}\n\tx := 1\n‸}\n",
            "\tif err != nil {\n\t\treturn err\n\t}\n",
        ),
    ]);
}

#[test]
fn what_already_follows_the_cursor_is_not_written_again() {
    let go = "func f() error {\n\ta, err := g()\n‸\tb, err := h()\n\tif err != nil {\n\t\treturn err\n\t}\n\treturn b.run(a)\n}\n";
    mends(
        Step::SuffixOverlap,
        &[
            (PY, "def f(x):\n    y = x\n‸    return y\n", "    y += 1\n    return y\n", "    y += 1\n"),
            (
                PY,
                "def f(x):\n    if ‸ distance < limit:\n        return 1\n",
                "x and distance < limit:\n        return 1\n",
                "x and",
            ),
            (PY, "def f(x):\n    ‸\n\n    return y\n", "y = 1\n\n    return y\n", "y = 1"),
            (
                "a.go",
                go,
                "\tif err != nil {\n\t\treturn err\n\t}\n\tb, err := h()\n\tif err != nil {\n",
                "\tif err != nil {\n\t\treturn err\n\t}\n",
            ),
        ],
    );
    harms_none(&[
        // The same three lines follow each call; those in the answer are its own.
        (
            "a.go",
            "func f() error {\n‸\tif err != nil {\n\t\treturn err\n\t}\n\treturn nil\n}\n",
            "\ta, err := g()\n\tif err != nil {\n\t\treturn err\n\t}\n\tb, err := h(a)\n",
        ),
        (PY, "def f(x):\n    if x:\n‸        return True\n    return False\n", "        y = 1\n"),
        (PY, "grade(‸\nif a > 3.7:\n    add('A')\n", "x)\nif a > 4.0:\n    add('B')\n"),
    ]);
}

#[test]
fn closing_brackets_that_are_there_are_not_written_again() {
    mends(
        Step::Brackets,
        &[
            ("a.js", "foo(‸, c);\n", "a, b);", "a, b"),
            ("a.rs", "fn f() {\n‸    b();\n}\n", "    a();\n}\n", "    a();\n"),
            (PY, "print(‸, y)\n", "x[0])", "x[0]"),
        ],
    );
    harms_none(&[
        ("a.js", "foo(‸\n", "a, b);"),
        (PY, "print(‸)\n", "')'"),
        ("a.rs", "fn f() {\n    g(‸\n}\n", "1);"),
        // The file is out of balance already, and not by the answer.
        ("a.js", "foo(‸);\n}\n", "bar(1)"),
    ]);
}

#[test]
fn an_answer_ends_with_its_block() {
    mends(
        Step::Scope,
        &[
            (PY, "def f(x):\n‸", "    return x\n\n\ndef g(y):\n    return y\n", "    return x\n"),
            (
                PY,
                "class A:\n    def f(self):\n        ‸\n\n    def h(self): ...\n",
                "return 1\n\n    def g(self):\n        return 2",
                "return 1",
            ),
            ("a.rs", "fn f() -> u8 {\n‸", "    1\n}\n\nfn g() {}\n", "    1\n}\n"),
            (
                "a.java",
                "class A {\n    int f() {\n        ‸\n    }\n}\n",
                "return 1;\n    }\n\n    int g() {\n        return 2;",
                "return 1;",
            ),
            ("a.rb", "def f\n  ‸", "1\nend\n\ndef g\n  2\nend\n", "1\nend\n"),
            (PY, "‸", "def f():\n    return 1\n\n\ndef g():\n    return 2\n", "def f():\n    return 1\n"),
            // No grammar: by indentation.
            ("a.gd", "func f():\n\t‸", "return 1\n\n\nfunc g():\n\treturn 2\n", "return 1\n"),
        ],
    );
    harms_none(&[
        (
            PY,
            "def f(xs):\n    for x in xs:\n‸    return 0\n",
            "        if x:\n            return x\n    print(xs)\n",
        ),
        (PY, "def f():\n‸", "    def g():\n        return 1\n    return g\n"),
        (PY, "def f():\n    s = ‸\n", "\"\"\"one\ntwo\n\"\"\""),
        (PY, "‸", "import os\nimport sys\n\nPATH = os.sep\n"),
        ("a.js", "const f = (xs) => {\n‸};\n", "  return xs.map((x) => {\n    return x + 1;\n  });\n"),
        ("a.c", "int f(void) {\n‸}\n", "#ifdef A\n    a();\n#endif\n    return 0;\n"),
    ]);
}

#[test]
fn what_was_cut_short_does_not_end_in_a_broken_token() {
    let policy = patient();
    let table = [
        ("def f(x):\n‸", "    y = x\n    return lon", "    y = x\n"),
        ("x = ‸\n", "alpha + bet", "alpha"),
        ("x = ‸\n", "f('hello wor", "f("),
        ("x = ‸\n", "a + b ", "a + b"),
    ];
    for (file, raw, expected) in table {
        let document = document(PY, file);
        let processed = run(&Input { finish: Finish::Length, ..input(&document, &policy, raw) });
        assert_eq!(processed.text, expected.trim_end_matches(' '), "{raw:?}");
        assert_eq!(processed.finish, Finish::Length);
        // An answer that ended by itself is whole.
        assert_eq!(run(&input(&document, &policy, raw.trim_end())).text, raw.trim_end());
    }
}

#[test]
fn indentation_and_line_ends_are_the_file_s() {
    mends(
        Step::Indentation,
        &[
            (PY, "def f(x):\n    ‸\n", "    return x", "return x"),
            (PY, "def f(x):\n\ty = 1\n‸\n", "    if y:\n        return x\n", "\tif y:\n\t\treturn x\n"),
            (
                "a.js",
                "function f() {\n  a();\n‸}\n",
                "\tif (b) {\n\t\tc();\n\t}\n",
                "  if (b) {\n    c();\n  }\n",
            ),
        ],
    );
    harms_none(&[
        (PY, "def f(x):\n    if x:\n    ‸\n", "    return x"),
        (PY, "x = call(a,\n         ‸\n", "         b)"),
        (PY, "def f(x):\n    ‸", "y = [\n        1,\n    ]"),
    ]);
    let policy = patient();
    for raw in ["    a = 1\n    b = 2\n", "    a = 1\r\n    b = 2\r\n"] {
        let document = document(PY, "\u{feff}def f():\r\n‸    return a\r\n");
        assert_eq!(run(&input(&document, &policy, raw)).text, "    a = 1\r\n    b = 2\r\n");
    }
}

#[test]
fn answers_that_say_nothing_are_not_shown() {
    mends(Step::Filter, &[(PY, "x = 1\n‸", "# TODO\n", ""), ("a.js", "f();\n‸", "// Your code here\n", "")]);
    mends(Step::WhiteSpace, &[(PY, "x = 1\n‸\n", "  \n", ""), (PY, "x = ‸\n", "1  ", "1")]);
    harms_none(&[
        (PY, "# one\n‸", "# two\n"),
        (PY, "x = 1  ‸\n", "# one"),
        (PY, "x = 1\n‸", "# one\ny = 2\n"),
        // White space that keeps code and code apart.
        (PY, "return‸x\n", " "),
    ]);
    let policy = Policy { min_length: 4, ..patient() };
    let document = document(PY, "x = ‸\n");
    assert_eq!(run(&input(&document, &policy, "(1)")).text, "");
    assert_eq!(run(&input(&document, &policy, "f(1)")).text, "f(1)");
}

#[test]
fn a_step_that_is_off_does_not_run_but_tokens_are_never_shown() {
    let policy = Policy { off: Step::ALL.into(), ..patient() };
    let document = document(PY, "def f(x):\n‸");
    let processed = run(&input(&document, &policy, "```\n    return x\n```<|endoftext|>"));
    assert_eq!(processed.text, "```\n    return x\n```");
    assert_eq!(processed.steps.len(), 2);
}

#[test]
fn a_file_with_errors_is_not_made_worse_and_still_helped() {
    let policy = patient();
    let document = document(PY, "def f(x:\n    y = (1\n\ndef g(y):\n‸\n\nclass\n");
    let processed = run(&input(&document, &policy, "    return y\n\n\ndef h():\n    pass\n"));
    assert_eq!(processed.text, "    return y\n");
}

#[test]
fn what_is_already_clean_of_a_partial_answer_is_told() {
    let policy = patient();
    let table = [
        ("def f(x):\n‸", "    y = x\n    return y +", Some("    y = x\n")),
        ("def f(x):\n‸", "    y = x", None),
        ("def f(x):\n‸", "", None),
        ("def f(x):\n‸", "    return x\n\n\ndef g():\n    ret", Some("    return x\n")),
        ("x = f(‸)\n", "a, b)", Some("a, b")),
    ];
    for (file, raw, expected) in table {
        let document = document(PY, file);
        let text = clean_end(&input(&document, &policy, raw)).map(|processed| processed.text);
        assert_eq!(text.as_deref(), expected, "{raw:?}");
    }
}

/// Feeds an answer in pieces of `size` characters; returns what was sent, the result and the bytes taken.
fn streamed(input: &Input<'_>, size: usize) -> (String, Processed, usize, bool) {
    let mut stream = Incremental::new(*input);
    let mut sent = String::new();
    let characters: Vec<char> = input.raw.chars().collect();
    let mut cut = false;
    for piece in characters.chunks(size) {
        let piece: String = piece.iter().collect();
        cut = stream.push(&piece) == Progress::Cut;
        sent.push_str(&stream.ready());
        if cut {
            break;
        }
    }
    let (rest, processed) = stream.finish(input.finish);
    sent.push_str(&rest);
    (sent, processed, stream.raw().len(), cut)
}

#[test]
fn a_stream_is_given_up_as_soon_as_its_end_is_decided() {
    let policy = patient();
    let long = "x = 1\n".repeat(3);
    let table = [
        (
            "def f(x):\n‸",
            format!("    return x\n\n\ndef g():\n{}", "    y = 1\n".repeat(50)),
            "    return x\n",
        ),
        ("x = ‸\n", format!("1<|endoftext|>{long}"), "1"),
        (
            "def f(x):\n‸    y = x\n    z = y\n    return z\n",
            format!("    x += 1\n    y = x\n    z = y\n    return z\n{long}"),
            "    x += 1\n",
        ),
        ("def f(x):\n‸", "    a()\n".repeat(80), "    a()\n"),
    ];
    for (file, raw, expected) in table {
        let document = document(PY, file);
        let (sent, processed, taken, cut) = streamed(&input(&document, &policy, &raw), 3);
        assert_eq!((sent.as_str(), processed.text.as_str()), (expected, expected));
        assert!(cut && taken < raw.len(), "{file:?}: {taken} of {}", raw.len());
    }
}

fn answer() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("    y = x\n"),
        Just("    return y\n"),
        Just("\n"),
        Just("def g(a):\n"),
        Just("    if x:\n"),
        Just("        z = 'é漢🦀'\n"),
        Just("```\n"),
        Just("```python\n"),
        Just("# note\n"),
        Just(")\n"),
        Just("}\n"),
        Just("<think>\n"),
        Just("</think>\n"),
        Just("<|endoftext|>"),
        Just("    return"),
        Just("\"\"\"\n"),
        Just("\r\n"),
        Just("f("),
        Just("    a = 1\n    b = 2\n"),
    ];
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_stream_ends_as_the_whole_text_cut_there(raw in answer(), size in 1usize..9, place in 0usize..4) {
        let file = ["def f(x):\n‸", "def f(x):\n    ‸\n    return y\n", "x = (‸)\n", "def f(x):\n‸    return y\n\n\ndef g(a):\n    pass\n"][place];
        let policy = patient();
        let document = document(PY, file);
        let whole = input(&document, &policy, &raw);
        let (sent, processed, taken, _) = streamed(&whole, size);
        let cut = run(&Input { raw: &raw[..taken], ..whole });
        prop_assert_eq!(&processed.text, &cut.text);
        prop_assert!(sent == processed.text || !processed.text.starts_with(&sent), "{:?} {:?}", sent, processed.text);
    }

    #[test]
    fn no_text_makes_a_step_fail(before in "[a-z(){}'\"\n\t é漢🦀#]{0,60}", after in "[a-z(){}'\"\n\t é漢🦀#]{0,60}", raw in "[a-z(){}'\"\n\t\r é漢🦀#`<|>]{0,80}", single in any::<bool>(), length in any::<bool>(), language in 0usize..5) {
        let name = ["a.py", "a.rs", "a.js", "a.rb", "a"][language];
        let document = Document::new(&before, &after, name, None);
        let policy = Policy::default();
        let mode = if single { Mode::Single } else { Mode::Multi };
        let finish = if length { Finish::Length } else { Finish::Stop };
        let processed = run(&Input { document: &document, specials: &[], stops: &[], raw: &raw, finish, mode, policy: &policy, place: None });
        prop_assert!(processed.text.len() <= raw.len() * 4 + 8);
        let _ = clean_end(&Input { document: &document, specials: &[], stops: &[], raw: &raw, finish, mode, policy: &policy, place: None });
    }
}
