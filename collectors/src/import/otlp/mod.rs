//! OTLP files: JSON documents and lines, protobuf messages and length-prefixed streams of either.
//!
//! Requests go to the case as they were sent. They are decoded on the way only to count them, to tell which signal a
//! protobuf message holds, and to find what is damaged before the case does.

mod count;
pub(super) mod json;
pub(super) mod protobuf;
