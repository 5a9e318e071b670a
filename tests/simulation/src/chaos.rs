//! What goes wrong, by chance: each call may be hit, at rates, by a seed. The
//! same calls in the same order are hit alike.

use crate::faults::Effect;
use crate::permissions::Denied;
use crate::router;
use crate::throttle;

/// How many of a million calls are hit, by what happens to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chaos {
    /// Where the dice begin.
    pub seed: u64,
    /// Throttled, with the service's own code.
    pub throttled: u32,
    /// Answered 500 or 503; nothing happened.
    pub server_error: u32,
    /// Never answered; nothing happened.
    pub timeout: u32,
    /// Denied, with the service's own code.
    pub denied: u32,
    /// No connection; nothing happened.
    pub reset_before: u32,
    /// The connection breaks off before the answer; the change happened.
    pub reset_after: u32,
    /// The answer arrives cut in half; the change happened.
    pub malformed: u32,
    /// The calling process dies, before the call or after it.
    pub crash: u32,
}

/// Dice that fall alike for the same seed: SplitMix64 (Steele, Lea, Flood,
/// "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    chaos: Chaos,
    state: u64,
}

impl Dice {
    pub(crate) fn new(chaos: Chaos) -> Self {
        Self { chaos, state: chaos.seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// What happens to the next call of a service, if anything does.
    pub(crate) fn throw(&mut self, service: &str) -> Option<Effect> {
        let fell = self.next();
        let (mut left, either) = (fell % 1_000_000, (fell >> 40).is_multiple_of(2));
        let Chaos {
            seed: _,
            throttled,
            server_error,
            timeout,
            denied,
            reset_before,
            reset_after,
            malformed,
            crash,
        } = self.chaos;
        let error = |status: u16, code: &str| Effect::Error { status, code: code.to_owned() };
        let effects: [(u32, &dyn Fn() -> Effect); 8] = [
            (throttled, &|| {
                let (status, code) = throttle::code(service);
                error(status, code)
            }),
            (server_error, &|| {
                if either {
                    error(500, "InternalFailure")
                } else {
                    error(503, "ServiceUnavailable")
                }
            }),
            (timeout, &|| Effect::Silent),
            (denied, &|| {
                let refused = router::refusal(service, &denial());
                Effect::Error { status: refused.status, code: refused.code }
            }),
            (reset_before, &|| Effect::Unreachable),
            (reset_after, &|| Effect::LostAnswer),
            (malformed, &|| Effect::Malformed),
            (crash, &|| if either { Effect::CrashBefore } else { Effect::CrashAfter }),
        ];
        for (rate, effect) in effects {
            let rate = u64::from(rate);
            if left < rate {
                return Some(effect());
            }
            left -= rate;
        }
        None
    }
}

fn denial() -> Denied {
    Denied::Policy {
        caller: String::new(),
        action: String::new(),
        resource: String::new(),
        why: "by chance",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thrown(chaos: Chaos, calls: usize) -> Vec<Option<Effect>> {
        let mut dice = Dice::new(chaos);
        (0..calls).map(|_| dice.throw("ec2")).collect()
    }

    #[test]
    fn the_same_seed_hits_the_same_calls_and_another_seed_others() {
        let chaos = Chaos { seed: 7, throttled: 100_000, crash: 50_000, ..Chaos::default() };
        assert_eq!(thrown(chaos, 500), thrown(chaos, 500));
        assert_ne!(thrown(chaos, 500), thrown(Chaos { seed: 8, ..chaos }, 500));
    }

    #[test]
    fn rates_are_kept_and_without_rates_nothing_is_hit() {
        assert!(thrown(Chaos { seed: 1, ..Chaos::default() }, 1_000).iter().all(Option::is_none));
        let hit = thrown(Chaos { seed: 1, throttled: 50_000, ..Chaos::default() }, 20_000);
        let throttled = Effect::Error { status: 503, code: "RequestLimitExceeded".to_owned() };
        let hits = hit.iter().flatten().filter(|effect| **effect == throttled).count();
        assert!((900..1_100).contains(&hits), "{hits} of 20000 at 5 %");
        assert_eq!(hits, hit.iter().flatten().count());
    }
}
