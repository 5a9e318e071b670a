//! The tables of keys in docs/policy.md.

use super::key::{Keyed, MapDescription};

/// A table for a map and one for each map below it, as Markdown.
pub(crate) fn key_tables<T: Keyed>() -> String {
    let mut tables = Vec::new();
    write_tables(&MapDescription::of::<T>(), &mut tables);
    tables.join("\n")
}

fn write_tables(map: &MapDescription, tables: &mut Vec<String>) {
    let rows = map.keys.iter().map(|key| {
        let required = if key.required { ", required" } else { "" };
        format!("| `{}` | {}{required} | {} |\n", key.name, (key.holds)(), key.description)
    });
    let table: String = rows.collect();
    tables.push(format!("| key of {} | value | what it says |\n|---|---|---|\n{table}", map.what));
    for below in map.keys.iter().filter_map(|key| (key.map)()) {
        write_tables(&below, tables);
    }
}
