//! Floor 8: the `coracle` program.

fn main() {}
