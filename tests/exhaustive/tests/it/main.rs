//! What runs long: death at every call of every scenario, 10,000 faults, many
//! processes at once.

mod concurrency;
mod crash;
mod faults;
