//! Every message that goes over a seam has bytes of genuine Aeron in the tests of `wire`.

use super::{File, Problem};

/// Sources that declare messages with `messages!`.
const DECLARATIONS: [&str; 2] = ["crates/wire/src/archive/", "crates/wire/src/cluster/"];
/// Enums of commands and events, and what stands before their names in the golden bytes.
const CONTROL: [(&str, &str, &str); 2] = [
    ("crates/wire/src/control/command.rs", "pub enum Request<", "command."),
    ("crates/wire/src/control/event.rs", "pub enum Event<", "event."),
];
const GOLDEN: &str = "crates/wire/tests/data/";

/// Messages without golden bytes.
pub(super) fn check(files: &[File]) -> Vec<Problem> {
    let golden: String = files
        .iter()
        .filter(|file| file.path.starts_with(GOLDEN) && file.has_extension("txt"))
        .map(|file| file.text.as_str())
        .collect();
    let mut problems = Vec::new();
    for file in files {
        let names: Vec<(usize, String)> = if DECLARATIONS.iter().any(|at| file.path.starts_with(at))
        {
            declared(&file.text).map(|(line, name)| (line, format!(" {name} {{"))).collect()
        } else if let Some((_, head, prefix)) = CONTROL.iter().find(|(at, ..)| *at == file.path) {
            let variants = variants(&file.text, head);
            variants.map(|(line, name)| (line, format!("\n{prefix}{name} "))).collect()
        } else {
            continue;
        };
        let missing = names.iter().filter(|(_, name)| !golden.contains(name));
        problems.extend(missing.map(|(line, name)| {
            let name = name.trim_matches([' ', '{', '\n']);
            Problem::new(&file.path, *line, format!("no genuine bytes of {name}"))
        }));
    }
    problems
}

/// Names declared as `Name = 12 {` within `messages!`.
fn declared(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_inside = false;
    (1..).zip(text.lines()).filter_map(move |(line, text)| {
        is_inside = text.starts_with("messages! {") || (is_inside && text != "}");
        let (name, rest) = text.trim_start().split_once(" = ")?;
        let is_declaration = rest.ends_with('{') || rest.contains(" {");
        let is_name = name.starts_with(char::is_uppercase) && rest.starts_with(char::is_numeric);
        (is_inside && is_declaration && is_name).then_some((line, name))
    })
}

/// Variants of the enum whose declaration begins with `head`.
fn variants<'a>(text: &'a str, head: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let lines = (1..).zip(text.lines());
    let body = lines.skip_while(move |(_, text)| !text.starts_with(head)).skip(1);
    let body: Vec<_> = body.take_while(|(_, text)| *text != "}").collect();
    body.into_iter().filter_map(|(line, text)| {
        let variant =
            text.strip_prefix("    ").filter(|rest| rest.starts_with(char::is_uppercase))?;
        let name = variant.split(|character: char| !character.is_alphanumeric()).next()?;
        Some((line, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_without_bytes_are_found() {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let declaration = "messages! {\n    pub enum A: schema 1 version 2 {\n        \
            One = 1 {\n            a: i64,\n        }\n        Two = 2 { b: i64 }\n    }\n}\n";
        let command = "pub enum Request<'a> {\n    /// First.\n    Add {\n        a: i64,\n    \
            },\n    /// Second.\n    Remove,\n}\n";
        let files = [
            file("crates/wire/src/cluster/a.rs", declaration),
            file("crates/wire/src/control/command.rs", command),
            file("crates/wire/tests/data/a.txt", "00 One { a: 1 }\ncommand.Add 00\n"),
        ];
        let problems: Vec<_> = check(&files).iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "crates/wire/src/cluster/a.rs:6: no genuine bytes of Two",
                "crates/wire/src/control/command.rs:7: no genuine bytes of command.Remove",
            ]
        );
    }
}
