//! The rate limits of all processes of the hub: one item for each account, with an
//! attribute for each bucket.
//!
//! An attribute is the time at which the bucket's last token that was taken may be used
//! (the theoretical arrival time of the generic cell rate algorithm), in microseconds of
//! the epoch. A full bucket's is `burst` intervals ago. Taking tokens moves it by as many
//! intervals: by adding, which never conflicts, or from a full bucket, on condition that
//! it is still full. It never moves back, so what a process saw last is a lower bound.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use firebreak_client::token_source::{Grant, Taking, TokenSource, Unavailable, Wanted};
use jiff::Timestamp;
use tracing::warn;

use super::{EXPIRES_AT, Item, Store, expires_after, text, unreadable};
use crate::config;
use crate::error::{HubError, failed};

/// How far ahead tokens are given out. Who comes later asks again, so that tokens are not
/// kept for processes that have ended meanwhile.
const AHEAD_AT_MOST: Duration = Duration::from_secs(10);

/// How long a bucket stays in the item without being drawn on, and how many are removed by
/// one write. Every bucket is full long before: without its attribute it is full too.
const UNUSED_KEPT: Duration = Duration::from_secs(60);
const REMOVED_AT_ONCE: usize = 20;

/// How often a write is tried whose condition fails.
const TRIES: u32 = 5;

/// How many owners are remembered.
const OWNERS_REMEMBERED: usize = 4_096;

/// The buckets that all processes share.
#[derive(Debug)]
pub struct SharedTokens {
    store: Store,
    config: SdkConfig,
}

/// The attributes as they were last seen, by owner: by a draw, or beside a target.
#[derive(Debug, Default)]
pub(super) struct SeenRates(Mutex<HashMap<String, HashMap<String, i64>>>);

impl SeenRates {
    fn of(&self, owner: &str) -> HashMap<String, i64> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(owner).cloned().unwrap_or_default()
    }

    /// The buckets of an owner that have been full for long, to be removed: some at a time,
    /// and none that is drawn on, because an expression may name an attribute once only.
    fn long_full(&self, owner: &str, now: i64, draws: &[Draw<'_>]) -> Vec<String> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_owner) = seen.get_mut(owner) else { return Vec::new() };
        let long = now - micros(UNUSED_KEPT);
        let is_drawn = |name: &str| draws.iter().any(|draw| draw.wanted.bucket == name);
        let is_full = |(name, at): &(&String, &i64)| **at < long && !is_drawn(name);
        let over: Vec<String> = of_owner
            .iter()
            .filter(is_full)
            .map(|(name, _)| name.clone())
            .take(REMOVED_AT_ONCE)
            .collect();
        for bucket in &over {
            of_owner.remove(bucket);
        }
        over
    }

    pub(super) fn remember(&self, owner: &str, item: &Item) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() > OWNERS_REMEMBERED {
            seen.clear();
        }
        let of_owner = seen.entry(owner.to_owned()).or_default();
        for (bucket, value) in item.iter().filter(|(name, _)| *name != EXPIRES_AT) {
            if let Some(at) = stands_at(value) {
                let known = of_owner.entry(bucket.clone()).or_insert(at);
                *known = at.max(*known);
            }
        }
    }
}

/// Tokens to take of one bucket, from where it stood when it was last seen.
#[derive(Debug)]
struct Draw<'a> {
    wanted: &'a Wanted,
    interval: i64,
    /// Where a full bucket stands.
    full: i64,
    /// Up to where tokens are given out.
    latest: i64,
    /// Whether it is taken to be full: the write fails if it is not.
    was_full: bool,
}

impl<'a> Draw<'a> {
    fn new(wanted: &'a Wanted, seen: Option<i64>, now: i64) -> Self {
        let interval = micros(wanted.limit.interval);
        let full = now - interval * i64::from(wanted.limit.burst);
        let latest = now + micros(AHEAD_AT_MOST);
        let was_full = wanted.only_if_full || seen.is_none_or(|seen| seen < full);
        Self { wanted, interval, full, latest, was_full }
    }

    fn moved_by(&self) -> i64 {
        self.interval * i64::from(self.wanted.count)
    }

    /// When each token may be used, given where the bucket stands after the draw.
    fn grant(&self, after: i64, now: i64) -> Grant {
        let count = i64::from(self.wanted.count);
        let wait = |nth: i64| {
            let usable = after - (count - nth) * self.interval;
            Duration::from_micros(u64::try_from(usable - now).unwrap_or(0))
        };
        Grant::Tokens((1..=count).map(wait).collect())
    }
}

impl SharedTokens {
    /// The buckets in the hub's table.
    pub fn new(config: &SdkConfig, store: Store) -> Self {
        Self { store, config: config.clone() }
    }

    async fn draw(&self, owner: &str, wanted: &[Wanted]) -> Result<Vec<Grant>, HubError> {
        for _ in 0..TRIES {
            let seen = self.store.rates.of(owner);
            let now = config::now(&self.config);
            let at = now.as_microsecond();
            if let Some(refused) = refused(wanted, &seen, at) {
                return Ok(refused);
            }
            let draws: Vec<Draw<'_>> = wanted
                .iter()
                .map(|wanted| Draw::new(wanted, seen.get(&wanted.bucket).copied(), at))
                .collect();
            let (item, moved) = self.write(owner, &draws, now).await?;
            self.store.rates.remember(owner, &item);
            if moved {
                let grant = |draw: &Draw<'_>| {
                    let bucket = &draw.wanted.bucket;
                    let after = item.get(bucket).and_then(stands_at);
                    let after = after.ok_or_else(|| unreadable(owner, format!("no `{bucket}`")))?;
                    Ok(draw.grant(after, at))
                };
                return draws.iter().map(grant).collect();
            }
            // A bucket that was taken to be full is not, or too many wait for one.
        }
        Err(HubError::transient(format!("the rate limits of `{owner}` changed each time")))
    }

    /// Moves the buckets. Returns the item, and whether they were moved: not if one does not
    /// stand where it was seen.
    async fn write(
        &self,
        owner: &str,
        draws: &[Draw<'_>],
        now: Timestamp,
    ) -> Result<(Item, bool), HubError> {
        let mut sets = vec![format!("{EXPIRES_AT} = :expires")];
        let over = self.store.rates.long_full(owner, now.as_microsecond(), draws);
        let mut conditions = Vec::new();
        let mut update = self
            .store
            .client
            .update_item()
            .table_name(&self.store.table)
            .set_key(Some(key(owner)))
            .expression_attribute_values(":expires", expires_after(now))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        for (nth, turn) in over.iter().enumerate() {
            update = update.expression_attribute_names(format!("#over{nth}"), turn);
        }
        for (nth, draw) in draws.iter().enumerate() {
            let moved_by = draw.moved_by();
            let (set, condition) = if draw.was_full {
                update = update.expression_attribute_values(
                    format!(":to{nth}"),
                    micros_at(draw.full + moved_by),
                );
                (
                    format!("#b{nth} = :to{nth}"),
                    format!("(attribute_not_exists(#b{nth}) OR #b{nth} < :full{nth})"),
                )
            } else {
                update =
                    update.expression_attribute_values(format!(":by{nth}"), micros_at(moved_by));
                update = update
                    .expression_attribute_values(format!(":latest{nth}"), micros_at(draw.latest));
                let between = format!("#b{nth} BETWEEN :full{nth} AND :latest{nth}");
                (format!("#b{nth} = #b{nth} + :by{nth}"), between)
            };
            update = update
                .expression_attribute_names(format!("#b{nth}"), &draw.wanted.bucket)
                .expression_attribute_values(format!(":full{nth}"), micros_at(draw.full));
            sets.push(set);
            conditions.push(condition);
        }
        let output = update
            .update_expression(update_expression(&sets, over.len()))
            .condition_expression(conditions.join(" AND "))
            .send()
            .await;
        match output {
            Ok(output) => Ok((output.attributes.unwrap_or_default(), true)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok((failed.item.clone().unwrap_or_default(), false))
                }
                _ => Err(failed("dynamodb:UpdateItem", &error)),
            },
        }
    }
}

impl TokenSource for SharedTokens {
    fn take<'a>(&'a self, owner: &'a str, wanted: &'a [Wanted]) -> Taking<'a> {
        Box::pin(async move {
            self.draw(owner, wanted).await.map_err(|error| {
                warn!("no calls to `{owner}` are made until its rate limits can be read: {error}");
                Unavailable
            })
        })
    }
}

fn update_expression(sets: &[String], over: usize) -> String {
    let sets = sets.join(", ");
    if over == 0 {
        return format!("SET {sets}");
    }
    let over: Vec<String> = (0..over).map(|nth| format!("#over{nth}")).collect();
    format!("SET {sets} REMOVE {}", over.join(", "))
}

/// The grants if nothing can be taken by what was seen: another process has the turn, or too
/// many wait for a token already. It may be less by now; only another read would show it.
fn refused(wanted: &[Wanted], seen: &HashMap<String, i64>, at: i64) -> Option<Vec<Grant>> {
    // How far a bucket stands above a limit.
    let above = |wanted: &Wanted, limit: i64| {
        let above = seen.get(&wanted.bucket)? - limit;
        let wait = Duration::from_micros(u64::try_from(above).ok()?);
        (above > 0).then_some(wait)
    };
    let of_turn = wanted.iter().filter(|wanted| wanted.only_if_full).find_map(|wanted| {
        let full = at - micros(wanted.limit.interval) * i64::from(wanted.limit.burst);
        above(wanted, full)
    });
    if let Some(wait) = of_turn {
        return Some(vec![Grant::AskAgainIn(wait); wanted.len()]);
    }
    let latest = at + micros(AHEAD_AT_MOST);
    let wait = wanted.iter().filter_map(|wanted| above(wanted, latest)).max()?;
    let grant = |wanted: &Wanted| match wanted.only_if_full {
        // The caller goes on without tokens, and waits for each.
        true => Grant::Tokens(Vec::new()),
        false => Grant::AskAgainIn(wait),
    };
    Some(wanted.iter().map(grant).collect())
}

/// The partition key of an owner's buckets.
pub(super) fn pk_of(owner: &str) -> String {
    format!("rate#{owner}")
}

fn key(owner: &str) -> Item {
    Item::from([("pk".to_owned(), text(pk_of(owner))), ("sk".to_owned(), text("rate"))])
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn stands_at(value: &AttributeValue) -> Option<i64> {
    value.as_n().ok()?.parse().ok()
}

fn micros_at(at: i64) -> AttributeValue {
    AttributeValue::N(at.to_string())
}

#[cfg(test)]
mod tests {
    use firebreak_client::rate_limit::Limit;

    use super::*;

    fn wanted(count: u32) -> Wanted {
        let interval = Duration::from_millis(500);
        let limit = Limit { burst: 10, interval, kept: Duration::from_secs(1) };
        let bucket = "Ec2Write-Contain-eu-central-1".to_owned();
        Wanted { bucket, limit, count, only_if_full: false }
    }

    fn waits(grant: &Grant) -> Vec<u128> {
        match grant {
            Grant::Tokens(waits) => waits.iter().map(Duration::as_millis).collect(),
            Grant::AskAgainIn(_) => panic!("{grant:?}"),
        }
    }

    #[test]
    fn a_full_bucket_gives_its_burst_at_once_and_then_a_token_each_interval() {
        let now = 1_000_000_000;
        let twelve = wanted(12);
        let draw = Draw::new(&twelve, None, now);
        assert!(draw.was_full);
        let grant = draw.grant(draw.full + draw.moved_by(), now);
        assert_eq!(waits(&grant), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 500, 1_000]);
    }

    #[test]
    fn a_turn_is_one_process_s_for_its_time_and_nothing_is_taken_without_it() {
        let now = 1_000_000_000;
        let limit = Limit { burst: 1, interval: Duration::from_secs(2), kept: Duration::ZERO };
        let turn = Wanted { bucket: "turn-1".to_owned(), limit, count: 1, only_if_full: true };
        let wanted = [wanted(2), turn.clone()];
        assert_eq!(refused(&wanted, &HashMap::new(), now), None);
        let draw = Draw::new(&turn, None, now);
        let taken = HashMap::from([("turn-1".to_owned(), draw.full + draw.moved_by())]);
        let wait = |seconds| vec![Grant::AskAgainIn(Duration::from_secs(seconds)); 2];
        assert_eq!(refused(&wanted, &taken, now), Some(wait(2)));
        assert_eq!(refused(&wanted, &taken, now + 1_000_000), Some(wait(1)));
        assert_eq!(refused(&wanted, &taken, now + 2_000_000), None);
        // Too many wait for a token: that does not take the turn away.
        let ahead = HashMap::from([(wanted[0].bucket.clone(), now + 15_000_000)]);
        let expected = vec![Grant::AskAgainIn(Duration::from_secs(5)), Grant::Tokens(Vec::new())];
        assert_eq!(refused(&wanted, &ahead, now), Some(expected));
    }

    #[test]
    fn unused_buckets_are_removed_but_not_the_one_that_is_taken_again() {
        let now = 1_000_000_000;
        let seen = SeenRates::default();
        let at = |at: i64| AttributeValue::N(at.to_string());
        let item = Item::from([
            ("turn-again".to_owned(), at(0)),
            ("turn-old".to_owned(), at(0)),
            ("turn-new".to_owned(), at(now - 1_000_000)),
            (EXPIRES_AT.to_owned(), at(0)),
        ]);
        seen.remember("111111111111", &item);
        let limit = Limit { burst: 1, interval: Duration::from_secs(2), kept: Duration::ZERO };
        let bucket = "turn-again".to_owned();
        let again = Wanted { bucket, limit, count: 1, only_if_full: true };
        let draws = [Draw::new(&again, Some(0), now)];
        assert_eq!(seen.long_full("111111111111", now, &draws), ["turn-old"]);
        assert_eq!(seen.long_full("111111111111", now, &draws), [""; 0]);
        assert_eq!(
            update_expression(&["#a = :a".to_owned()], 2),
            "SET #a = :a REMOVE #over0, #over1"
        );
    }

    #[test]
    fn what_others_took_is_waited_for() {
        let now = 1_000_000_000;
        let two = wanted(2);
        // The last token that was taken may be used in a second.
        let draw = Draw::new(&two, Some(now + 1_000_000), now);
        assert!(!draw.was_full);
        assert_eq!(waits(&draw.grant(now + 1_000_000 + draw.moved_by(), now)), [1_500, 2_000]);
    }

    #[test]
    fn a_bucket_that_was_not_used_for_long_holds_no_more_than_its_burst() {
        let now = 1_000_000_000;
        let one = wanted(1);
        let draw = Draw::new(&one, Some(0), now);
        assert!(draw.was_full);
        assert_eq!(draw.full, now - 5_000_000);
    }
}
