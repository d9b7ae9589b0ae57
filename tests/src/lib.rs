//! End-to-end tests over the real binary; the library itself is empty.
