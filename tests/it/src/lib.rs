//! The integration tests stand in `tests/it`: one program, one module a subject.
