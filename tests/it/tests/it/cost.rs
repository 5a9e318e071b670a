//! What docs/cost.md says adds up, and counts the alarms and metrics that there
//! are. Prices are its inputs: whether AWS still asks them is for its readers.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

use std::collections::BTreeMap;

use firebreak_testkit::repository;
use serde_json::Value;

/// Half of the last digit that is shown, and a hair for binary fractions.
const ROUNDED: f64 = 0.000_050_000_1;

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// The rows of all tables that have four columns, without their headings.
fn rows(text: &str) -> Vec<[&str; 4]> {
    let rows = text.lines().filter_map(cells);
    let rows = rows.filter_map(|row| <[&str; 4]>::try_from(row).ok());
    rows.filter(|[_, _, third, _]| *third != "price" && !third.starts_with("---")).collect()
}

fn number(cell: &str) -> f64 {
    cell.replace(',', "").parse().unwrap()
}

fn key(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

/// What one of each costs, from the table of prices, which has five columns.
fn prices(text: &str) -> BTreeMap<String, f64> {
    let mut prices = BTreeMap::new();
    for row in text.lines().filter_map(cells) {
        let Ok([name, usd, per, _, _]) = <[&str; 5]>::try_from(row) else { continue };
        let Some(name) = key(name) else { continue };
        let before = prices.insert(name.to_owned(), number(usd) / number(per));
        assert!(before.is_none(), "`{name}` stands twice");
    }
    assert!(!prices.is_empty(), "there is no table of prices");
    prices
}

/// A row is what, how many, the price's name, and what that comes to. A table's
/// total has a name as well, by which a later table reckons with it.
#[test]
fn every_figure_is_its_count_times_its_price_and_every_total_their_sum() {
    let text = repository::text("docs/cost.md");
    let mut prices = prices(&text);
    let (mut sum, mut open, mut totals) = (0.0, 0, 0);
    for [what, count, price, usd] in rows(&text) {
        let (price, count, stated) = (key(price).unwrap(), number(count), number(usd));
        if what == "**total**" {
            assert!(open > 0, "`{price}` is the total of nothing");
            assert!(
                (stated - sum).abs() < ROUNDED,
                "`{price}`: its rows are {sum:.4}, not {stated}"
            );
            let before = prices.insert(price.to_owned(), stated / count);
            assert!(before.is_none(), "`{price}` stands twice");
            println!("{price}: {stated:.4} USD for {count}");
            (sum, open, totals) = (0.0, 0, totals + 1);
        } else {
            let known = prices.get(price);
            let exact = count * known.unwrap_or(&f64::NAN);
            assert!(
                (exact - stated).abs() <= ROUNDED,
                "{what}: {count} times `{price}` ({known:?}) is {exact:.4}, not {stated}"
            );
            sum += stated;
            open += 1;
        }
    }
    assert_eq!(open, 0, "the last rows have no total");
    assert_eq!(totals, 8);
}

#[test]
fn every_price_is_used() {
    let text = repository::text("docs/cost.md");
    let used: Vec<&str> =
        rows(&text).into_iter().filter_map(|[_, _, price, _]| key(price)).collect();
    for name in prices(&text).keys() {
        assert!(used.contains(&name.as_str()), "nothing costs `{name}`");
    }
}

/// How many docs/cost.md counts in the row that says `what`.
fn counted(text: &str, what: &str) -> usize {
    let row = rows(text).into_iter().find(|[first, _, _, _]| first.contains(what));
    let [_, count, _, _] = row.unwrap();
    count.parse().unwrap()
}

/// How many metrics the alarms of a template name: each is paid for. Those that a
/// query of Metrics Insights finds are not among them.
fn alarmed(name: &str) -> usize {
    let template: Value = repository::template(name);
    let resources = template["Resources"].as_object().unwrap();
    let alarms = resources.values().filter(|it| it["Type"] == "AWS::CloudWatch::Alarm");
    let metrics = alarms.map(|alarm| {
        alarm["Properties"]["Metrics"].as_array().map_or(1, |metrics| {
            metrics.iter().filter(|metric| metric.get("MetricStat").is_some()).count()
        })
    });
    metrics.sum()
}

#[test]
fn alarms_are_counted_as_the_templates_have_them() {
    let text = repository::text("docs/cost.md");
    for name in ["monitoring.yaml", "region.yaml", "management.yaml"] {
        assert_eq!(counted(&text, &format!("of `{name}`")), alarmed(name), "{name}");
    }
}

#[test]
fn metrics_without_a_dimension_are_counted_as_they_are_documented() {
    let documented = repository::text("docs/monitoring.md");
    let metrics = documented.lines().filter_map(cells).filter_map(|row| {
        let [names, dimension, _, _] = <[&str; 4]>::try_from(row).ok()?;
        dimension.is_empty().then(|| names.matches('`').count() / 2)
    });
    let text = repository::text("docs/cost.md");
    assert_eq!(counted(&text, "metrics without a dimension"), metrics.sum::<usize>());
}
