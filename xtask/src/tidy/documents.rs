//! Documents against the tree: files that they name exist.

use super::{File, Problem};
use std::collections::BTreeSet;

/// Problems of all documents.
pub(super) fn check(files: &[File]) -> Vec<Problem> {
    let known: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        let is_in_code = |inside: &mut bool, text: &str| {
            *inside ^= text.starts_with("```");
            Some(*inside)
        };
        let inside: Vec<bool> = file.text.lines().scan(false, is_in_code).collect();
        for ((line, text), _) in
            (1..).zip(file.text.lines()).zip(inside).filter(|(_, is_code)| !is_code)
        {
            let linked = links(text).filter(|target| !is_linked(&known, &file.path, target));
            let named = names(text).filter(|name| !is_named(&known, name));
            for missing in linked.chain(named) {
                problems.push(Problem::new(&file.path, line, format!("there is no {missing}")));
            }
        }
    }
    problems
}

/// Targets of links to files of the tree.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains(':') && !target.starts_with('#'))
        .map(|target| target.split('#').next().unwrap_or_default())
}

/// Files named in backticks: those with an extension that is looked at and no blank.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| {
        let is_file = [".rs", ".md", ".toml"].iter().any(|end| name.ends_with(end));
        is_file && name.contains('/') && !name.contains([' ', '*', '<', '{'])
    })
}

/// Whether a link from a document leads somewhere: to a file, or a directory with files.
fn is_linked(known: &BTreeSet<&str>, from: &str, target: &str) -> bool {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let path = parts.join("/");
    let is_directory = known.iter().any(|file| file.starts_with(&format!("{path}/")));
    // Licences have no extension and are not read.
    known.contains(path.as_str()) || is_directory || path.starts_with("LICENSE")
}

/// Whether a name is a path from the root, or one of `crate/file.rs` below its sources.
fn is_named(known: &BTreeSet<&str>, name: &str) -> bool {
    let in_crate = name.split_once('/').map(|(head, rest)| format!("crates/{head}/src/{rest}"));
    known.contains(name) || in_crate.is_some_and(|path| known.contains(path.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let files = [file("docs/a.md", text), file("docs/b.md", ""), file("crates/x/src/y.rs", "")];
        check(&files).into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn links_and_names_lead_to_files() {
        let good =
            "[b](b.md) [b](b.md#c) [root](../docs/b.md) [web](https://a.b/c) `x/y.rs` `docs/b.md`";
        assert_eq!(problems(good), [""; 0]);
        assert_eq!(problems("[c](c.md)"), ["there is no c.md"]);
        assert_eq!(problems("`x/z.rs`"), ["there is no x/z.rs"]);
        assert_eq!(problems("```text\n`x/z.rs`\n```\n`y.rs`"), [""; 0]);
    }
}
