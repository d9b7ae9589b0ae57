//! Troubleshooting books and drills: ordered questions that evidence answers, ending in a cause.
//!
//! None is built so far. The crate stands here so that what may use what is settled, and checked, from the beginning.
