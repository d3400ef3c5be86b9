//! Rules for single files: lengths, characters, first lines, words that must not stand there.

use super::{File, Problem};

/// Most lines of a source file, without its tests.
const FILE_LINES_MAX: usize = 600;
/// Most lines of code of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// Most columns of a line.
const COLUMNS_MAX: usize = 100;

/// Problems of one file.
pub(super) fn check(file: &File) -> Vec<Problem> {
    let mut problems = words(file);
    if file.has_extension("rs") {
        problems.extend(characters(file));
        problems.extend(beginning(file));
        if !is_test(&file.path) {
            let code = without_tests(&file.text);
            problems.extend(lengths(&file.path, &code));
        }
    }
    problems
}

/// Whether a file holds nothing but tests or measurements.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || ["/tests/", "/benches/"].iter().any(|directory| path.contains(directory))
}

/// The lines before the tests at the end of a file.
fn without_tests(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let is_condition = |line: &str| line.starts_with("#[cfg(") && line.contains("test");
    let is_end = |pair: &[&str]| is_condition(pair[0]) && pair[1].starts_with("mod tests");
    let end = lines.windows(2).position(is_end).unwrap_or(lines.len());
    lines[..end].to_vec()
}

fn characters(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, text) in (1..).zip(file.text.lines()) {
        if !text.is_ascii() {
            problems.push(Problem::new(&file.path, line, "not ASCII"));
        }
        let columns = text.chars().count();
        if columns > COLUMNS_MAX && !is_table(text) {
            problems.push(Problem::new(&file.path, line, format!("{columns} columns")));
        }
    }
    problems
}

/// Whether a line is a row of a table in documentation, which cannot be wrapped.
fn is_table(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//! | ") || line.starts_with("/// | ")
}

/// Module documentation first; in crates of a floor, the floor.
fn beginning(file: &File) -> Option<Problem> {
    let first = file.text.lines().next().unwrap_or_default();
    let is_module_of_tests = file.path.ends_with("/tests.rs") && !first.starts_with("//!");
    if is_module_of_tests {
        return None;
    }
    if !first.starts_with("//!") {
        return Some(Problem::new(&file.path, 1, "does not begin with //!"));
    }
    let is_root = file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
    if is_root && !first.starts_with("//! Floor ") {
        return Some(Problem::new(&file.path, 1, "does not begin with //! Floor"));
    }
    None
}

fn lengths(path: &str, code: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if code.len() > FILE_LINES_MAX {
        let what = format!("{} lines without tests, of {FILE_LINES_MAX}", code.len());
        problems.push(Problem::new(path, 0, what));
    }
    let mut index = 0;
    while index < code.len() {
        if let Some(length) = function_length(&code[index..])
            && length > FUNCTION_LINES_MAX
        {
            let what = format!("function of {length} lines, of {FUNCTION_LINES_MAX}");
            problems.push(Problem::new(path, index + 1, what));
        }
        index += 1;
    }
    problems
}

/// Lines of code in the body of the function that begins here, if one does.
///
/// Goes by the layout that rustfmt gives: the body ends with a brace in the column of its function.
fn function_length(lines: &[&str]) -> Option<usize> {
    let first = lines.first()?;
    let indentation = first.len() - first.trim_start().len();
    if !is_function(first.trim_start()) {
        return None;
    }
    let is_at =
        |line: &str, text: &str| line.len() == indentation + text.len() && line.ends_with(text);
    let opening = lines.iter().position(|line| line.ends_with('{') || line.ends_with(';'))?;
    if !lines[opening].ends_with('{') {
        return None;
    }
    let body = &lines[opening + 1..];
    let end = body.iter().position(|line| is_at(line, "}"))?;
    let is_code = |line: &&&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    Some(body[..end].iter().filter(is_code).count())
}

fn is_function(line: &str) -> bool {
    let words = line.split_whitespace().take_while(|word| *word != "fn");
    let is_qualifier = |word: &str| {
        matches!(word, "const" | "async" | "unsafe" | "extern" | "\"C\"") || word.starts_with("pub")
    };
    let before = words.clone().count();
    line.split_whitespace().nth(before) == Some("fn") && words.into_iter().all(is_qualifier)
}

/// Words that must not stand in any text, and words that ask for more.
fn words(file: &File) -> Vec<Problem> {
    // Written so that this file does not find itself.
    let open_ends = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let machine_paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut problems = Vec::new();
    for (line, text) in (1..).zip(file.text.lines()) {
        for word in open_ends {
            if has_word(text, word) && !text.contains(&format!("{word}(#")) {
                let what = format!("{word} without the number of an issue");
                problems.push(Problem::new(&file.path, line, what));
            }
        }
        for path in machine_paths {
            if text.contains(path) {
                problems.push(Problem::new(&file.path, line, format!("a machine's path: {path}")));
            }
        }
    }
    problems
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        check(&file).iter().map(ToString::to_string).collect()
    }

    /// A file with one function of so many lines.
    fn function(lines: usize) -> String {
        let body = "    let _ = 1;\n    // A comment.\n\n".repeat(lines);
        format!("//! A module.\n\npub const fn long(\n    a: i32,\n) {{\n{body}}}\n")
    }

    #[test]
    fn long_functions_are_found_and_comments_are_free() {
        assert_eq!(problems("a/src/b.rs", &function(70)), [""; 0]);
        let expected = "a/src/b.rs:3: function of 71 lines, of 70";
        assert_eq!(problems("a/src/b.rs", &function(71)), [expected]);
        assert_eq!(problems("a/tests/b.rs", &function(71)), [""; 0]);
    }

    #[test]
    fn long_files_are_found_and_tests_are_free() {
        let code = "//! A module.\n".to_owned() + &"use a;\n".repeat(599);
        let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"use a;\n".repeat(900);
        assert_eq!(problems("a/src/b.rs", &(code.clone() + &tests)), [""; 0]);
        let expected = "a/src/b.rs: 601 lines without tests, of 600";
        assert_eq!(problems("a/src/b.rs", &(code + "use a;\n" + &tests)), [expected]);
    }

    #[test]
    fn long_lines_and_foreign_characters_are_found() {
        let text = format!("//! A module.\n// {}\n// {}\n", "x".repeat(98), '\u{e9}');
        assert_eq!(
            problems("a/src/b.rs", &text),
            ["a/src/b.rs:2: 101 columns", "a/src/b.rs:3: not ASCII"]
        );
    }

    #[test]
    fn crates_begin_with_their_floor_and_modules_with_a_sentence() {
        assert_eq!(problems("a/src/lib.rs", "//! Floor 3: a.\n"), [""; 0]);
        assert_eq!(problems("a/src/lib.rs", "//! A.\n").len(), 1);
        assert_eq!(problems("a/src/b.rs", "use a;\n").len(), 1);
        assert_eq!(problems("a/src/b/tests.rs", "use super::*;\n"), [""; 0]);
    }

    #[test]
    fn open_ends_need_an_issue_and_paths_of_machines_are_found() {
        let open_end = concat!("TO", "DO");
        assert_eq!(problems("a.md", &format!("{open_end}: more")).len(), 1);
        assert_eq!(problems("a.md", &format!("{open_end}(#12): more")), [""; 0]);
        assert_eq!(problems("a.md", &format!("{open_end}_LIST")), [""; 0]);
        assert_eq!(problems("a.toml", concat!("path = \"/ho", "me/a\"")).len(), 1);
    }
}
