//! Which field of a log record means what, by the names in common use. Case and punctuation don't matter.

/// What a field can be taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::import) enum Role {
    Time,
    Level,
    SeverityNumber,
    Service,
    TraceId,
    SpanId,
    Message,
}

impl Role {
    pub(in crate::import) const ALL: [Role; 7] = [
        Role::Time,
        Role::Level,
        Role::SeverityNumber,
        Role::Service,
        Role::TraceId,
        Role::SpanId,
        Role::Message,
    ];

    pub(in crate::import) fn name(self) -> &'static str {
        match self {
            Role::Time => "time",
            Role::Level => "level",
            Role::SeverityNumber => "severity number",
            Role::Service => "service",
            Role::TraceId => "trace id",
            Role::SpanId => "span id",
            Role::Message => "message",
        }
    }

    /// The usual names, letters and digits alone, the one that is believed most first.
    fn names(self) -> &'static [&'static str] {
        match self {
            Role::Time => &[
                "timeunixnano",
                "timestamp",
                "time",
                "ts",
                "datetime",
                "eventtime",
                "eventtimestamp",
                "logtime",
                "asctime",
                "date",
                "t",
            ],
            Role::Level => &[
                "severitytext",
                "level",
                "severity",
                "loglevel",
                "levelname",
                "lvl",
                "sev",
                "priority",
            ],
            Role::SeverityNumber => &["severitynumber"],
            Role::Service => &[
                "servicename",
                "resourceservicename",
                "service",
                "svc",
                "appname",
                "applicationname",
                "app",
                "application",
            ],
            Role::TraceId => &["traceid", "oteltraceid", "xb3traceid", "trace"],
            Role::SpanId => &["spanid", "otelspanid", "xb3spanid", "span"],
            Role::Message => &["message", "msg", "body", "log", "text", "event"],
        }
    }

    /// What a field of this name is taken for.
    pub(in crate::import) fn of(name: &str) -> Option<Role> {
        Role::ranked(name).map(|(role, _)| role)
    }

    /// The same with its rank among the names of the role, 0 being the best.
    pub(super) fn ranked(name: &str) -> Option<(Role, usize)> {
        const LONGEST: usize = 32;
        let plain: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .take(LONGEST)
            .collect();
        Role::ALL.into_iter().find_map(|role| {
            role.names()
                .iter()
                .position(|known| *known == plain)
                .map(|rank| (role, rank))
        })
    }
}

/// The OTLP severity number of a level by name, or of a number as pino and bunyan write them.
pub(in crate::import) fn severity(level: &str) -> Option<i32> {
    let plain: String = level
        .trim()
        .chars()
        .take(16)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    Some(match plain.as_str() {
        "trace" | "trc" | "verbose" | "finest" | "10" => 1,
        "debug" | "dbg" | "fine" | "20" => 5,
        "info" | "inf" | "information" | "informational" | "30" => 9,
        "notice" => 10,
        "warn" | "warning" | "wrn" | "40" => 13,
        "error" | "err" | "severe" | "50" => 17,
        "critical" | "crit" | "alert" => 18,
        "fatal" | "ftl" | "panic" | "emerg" | "emergency" | "60" => 21,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn usual_names_are_known_in_any_spelling() {
        for name in ["@timestamp", "Timestamp", "TIME", "ts", "asctime"] {
            assert_eq!(Role::of(name), Some(Role::Time), "{name}");
        }
        for name in [
            "trace_id",
            "traceId",
            "TraceID",
            "trace.id",
            "otelTraceID",
            "X-B3-TraceId",
        ] {
            assert_eq!(Role::of(name), Some(Role::TraceId), "{name}");
        }
        assert_eq!(Role::of("service.name"), Some(Role::Service));
        assert_eq!(Role::of("levelname"), Some(Role::Level));
        assert_eq!(Role::of("user"), None);
        assert!(Role::ranked("message").unwrap().1 < Role::ranked("event").unwrap().1);
    }

    #[test]
    fn levels_have_their_numbers() {
        assert_eq!(severity("WARNING"), Some(13));
        assert_eq!(severity("30"), Some(9));
        assert_eq!(severity("loud"), None);
    }
}
