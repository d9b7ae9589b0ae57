//! What the process's exit code means. Scripts rely on these four.

/// Nothing was found that should have been reported, or the command did what it was asked.
pub const CLEAN: u8 = 0;
/// A finding at or above `--fail-on`.
pub const FINDING: u8 = 1;
/// Wrong usage, input that can't be used, or a failure of the tool itself.
pub const ERROR: u8 = 2;
/// With `--strict`: something could not be told.
pub const CANNOT_TELL: u8 = 3;
