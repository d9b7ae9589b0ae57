//! Tests of the rules about trace context.
