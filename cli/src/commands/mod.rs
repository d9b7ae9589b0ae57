//! One file per command: its arguments and what it does with them. How answers look is decided in `output` and
//! `render`, what they are in the libraries.

pub mod bench;
pub mod collect;
pub mod compare;
pub mod completions;
pub mod diagnose;
pub mod drill;
pub mod explain;
pub mod export;
pub mod filtering;
pub mod import;
pub mod info;
pub mod logs;
pub mod man;
pub mod map;
pub mod metrics;
pub mod models;
pub mod newest;
pub mod open;
pub mod orders;
pub mod pin;
pub mod playbook;
pub mod progress;
pub mod query;
pub mod registry;
pub mod replay;
pub mod sagas;
pub mod seal;
pub mod shop;
pub mod suspects;
pub mod trace;
pub mod traces;
pub mod up;
pub mod verify;
