//! Floor 8.

fn main() {}
