//! The laws that every action obeys, each exercised against the simulated
//! organization with exactly the permissions that the action declares. A new
//! action gets a case in `cases` and obeys them all, or this fails.

#[cfg(test)]
mod automation;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod clusters;
#[cfg(test)]
mod compute;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod random;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod stops;
#[cfg(test)]
mod storage;
#[cfg(test)]
mod targets;
