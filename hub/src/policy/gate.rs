//! Says quickly that a rule cannot match, without looking at its pattern.
//!
//! Nearly every rule looks at the finding's type and severity, and most rules
//! on an account's way up fail there. So what all rules ask of these two stands
//! side by side in memory: the severities between which a pattern holds, and
//! for each alternative of the type the pairs of characters that have to be in
//! it, as a set of bits. A rule that passes is looked at in full; one that does
//! not could never match.

use super::document::Rule;
use super::pattern::Pattern;

/// What rules ask of type and severity.
#[derive(Clone, Debug, Default)]
pub(super) struct Gates {
    rules: Vec<Gate>,
    /// The alternatives of all rules, one rule's after another's.
    alternatives: Vec<Pairs>,
}

#[derive(Clone, Debug)]
struct Gate {
    lowest: f64,
    highest: f64,
    /// Where its alternatives are; none at all where any type will do.
    alternatives: Option<(u32, u32)>,
}

/// What of a finding the gates look at.
pub(super) struct Seen {
    severity: f64,
    pairs: Pairs,
}

impl Seen {
    pub(super) fn of(kind: &str, severity: f64) -> Self {
        Self { severity, pairs: Pairs::in_text(kind) }
    }
}

/// The pairs of neighbouring characters in a text, each as one of 128 bits.
/// Two pairs may share a bit, which lets a rule pass, and never stops one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pairs(u128);

impl Pairs {
    pub(super) fn in_text(text: &str) -> Self {
        Self::default().and(text)
    }

    /// These, and those of another part of the same text.
    pub(super) fn and(self, part: &str) -> Self {
        let pairs = part.as_bytes().windows(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok());
        Self(pairs.fold(self.0, |bits, [one, other]| {
            let mixed = u32::from(one).wrapping_mul(0x9E5).wrapping_add(u32::from(other) * 0x3D);
            bits | 1 << ((mixed ^ (mixed >> 7)) % 128)
        }))
    }

    fn has_all(self, wanted: Self) -> bool {
        wanted.0 & !self.0 == 0
    }
}

impl Gates {
    /// Adds rules behind those that are there; returns the number of the first.
    pub(super) fn add(&mut self, rules: &[Rule]) -> usize {
        let first = self.rules.len();
        for rule in rules {
            let (lowest, highest) =
                rule.when.as_ref().map_or((f64::NEG_INFINITY, f64::INFINITY), Pattern::severities);
            let types = rule.when.as_ref().and_then(Pattern::pairs_of_type);
            let alternatives = types.and_then(|types| {
                let start = u32::try_from(self.alternatives.len()).ok()?;
                let end = start.checked_add(u32::try_from(types.len()).ok()?)?;
                self.alternatives.extend(types);
                Some((start, end))
            });
            self.rules.push(Gate { lowest, highest, alternatives });
        }
        first
    }

    /// Whether the rule with this number may match.
    pub(super) fn may_match(&self, rule: usize, seen: &Seen) -> bool {
        let Some(gate) = self.rules.get(rule) else { return true };
        if seen.severity < gate.lowest || seen.severity > gate.highest {
            return false;
        }
        let Some((start, end)) = gate.alternatives else { return true };
        self.alternatives
            .get(start as usize..end as usize)
            .is_none_or(|all| all.iter().any(|wanted| seen.pairs.has_all(*wanted)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn gates(when: &Value) -> Gates {
        let rule = |when| Rule { when: Some(when), ..Rule::default() };
        let mut gates = Gates::default();
        gates.add(&[rule(Pattern::parse(when).unwrap())]);
        gates
    }

    #[test]
    fn a_rule_that_cannot_match_is_stopped_and_any_other_passes() {
        let check = |when: Value, expected| {
            let seen = Seen::of("Backdoor:EC2/C&CActivity.B!DNS", 8.0);
            assert_eq!(gates(&when).may_match(0, &seen), expected, "{when}");
        };
        check(json!({"type": ["Recon:EC2/Portscan"]}), false);
        check(json!({"type": ["Recon:EC2/Portscan", {"prefix": "Backdoor:"}]}), true);
        check(json!({"type": [{"wildcard": "*:IAMUser/*"}]}), false);
        check(json!({"type": [{"wildcard": "*:EC2/*"}]}), true);
        check(json!({"type": [{"suffix": "DNS"}]}), true);
        check(json!({"type": [{"anything-but": "x"}]}), true);
        check(json!({"type": [{"equals-ignore-case": "x"}]}), true);
        check(json!({"severity": [{"numeric": [">=", 9]}]}), false);
        check(json!({"severity": [{"numeric": [">=", 9]}, 8]}), true);
        check(json!({"severity": [{"numeric": [">", 1, "<", 8]}]}), true);
        check(json!({"severity": [{"exists": true}]}), true);
        check(json!({"region": ["x"]}), true);
        check(json!({"$or": [{"type": ["x"]}, {"severity": [1]}]}), true);
    }

    fn part() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["Recon-", "Backdoor", ":EC2/", ":IAM-User/", "x", "ä", ""])
            .prop_map(str::to_owned)
    }

    fn alternative() -> impl Strategy<Value = Value> {
        (part(), part(), 0..7).prop_map(|(one, other, kind)| match kind {
            0 => json!(format!("{one}{other}")),
            1 => json!({"prefix": one}),
            2 => json!({"suffix": other}),
            3 => json!({"wildcard": format!("{one}*-*{other}")}),
            4 => json!({"anything-but": [one]}),
            5 => json!({"prefix": {"equals-ignore-case": one}}),
            _ => json!({"exists": one != "x"}),
        })
    }

    fn severity() -> impl Strategy<Value = Value> {
        (0..10_u32, 0..6).prop_map(|(number, kind)| match kind {
            0 => json!(number),
            1 => json!({"numeric": [">=", number]}),
            2 => json!({"numeric": ["<", number]}),
            3 => json!({"numeric": [">", number, "<=", number + 2]}),
            4 => json!({"numeric": ["=", number]}),
            _ => json!({"anything-but": [number]}),
        })
    }

    proptest! {
        #[test]
        fn no_rule_that_matches_is_stopped(
            types in prop::collection::vec(alternative(), 1..4),
            severities in prop::collection::vec(severity(), 1..3),
            kind in prop::collection::vec(part(), 1..4),
            severity in 0..10_u32,
        ) {
            let when = json!({"type": types, "severity": severities});
            let kind = kind.concat();
            let event = json!({"type": kind, "severity": severity});
            let matches = Pattern::parse(&when).unwrap().matches(&event);
            let passes = gates(&when).may_match(0, &Seen::of(&kind, severity.into()));
            prop_assert!(passes || !matches, "{when} {event}");
        }
    }
}
