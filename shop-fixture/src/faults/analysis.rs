//! Owns the faults of the jobs and views for analysis, and of feature flags.

use super::kind::{Form, KindInfo, kind, required};
use crate::catalog::{ETL, FLAGS};

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "etl_overlap",
        "Runs of the job begin together and none looks at the lock.",
    )
    .only_on(&[ETL]),
    kind(
        "etl_stale",
        "The timer forgets the job: its view grows old.",
    )
    .only_on(&[ETL]),
    kind(
        "mv_lock",
        "Somebody holds the view: its refresh and its readers wait, and give up in the end.",
    )
    .only_on(&[ETL]),
    kind(
        "flag_flip",
        "A feature flag has another value for everybody, until the fault ends.",
    )
    .takes(&[required("key", Form::Text), required("value", Form::Text)])
    .only_on(&[FLAGS]),
];
