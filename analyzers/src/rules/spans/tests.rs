//! Tests of the rules about the relations of spans.
