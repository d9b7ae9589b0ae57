//! Owns the saga models, one file each.

pub mod shopflow;

pub const SHOPFLOW: &str = "shopflow";
