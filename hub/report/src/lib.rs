//! Pages for people: HTML and charts. Pure.

pub mod backtest;
pub mod page;
