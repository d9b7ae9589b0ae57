//! Tests of the rules about logs.
