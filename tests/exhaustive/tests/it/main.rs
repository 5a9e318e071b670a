//! What runs long: death at every call of every scenario, 10,000 faults, many
//! processes at once.

// The futures of the engine are deep, and Send is proved of each of their parts.

mod concurrency;
mod crash;
mod faults;
