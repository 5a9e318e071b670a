//! The exhaustive suites stand in `tests/`, the benches in `benches/`.
