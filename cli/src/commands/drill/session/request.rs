//! What a person or a script can ask of a drill, a line of JSON each: `{"do":"hint"}`.

use playbooks::drill::{Answered, Reference};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    Status,
    /// Replies once the shop has ended and the case is sealed.
    Wait,
    /// Runs a command of this program that reads, over the drill's case: `["traces", "--errors"]`.
    Look {
        command: Vec<String>,
    },
    /// A person ran a command on the case.
    Looked {
        command: String,
    },
    Hint,
    /// `{"do":"evidence","kind":"trace","id":"4bf9…"}`
    Evidence {
        #[serde(flatten)]
        reference: Reference,
    },
    /// `{"do":"answer","service":"payment","cause":"symptom#cause"}`
    Answer(Answered),
    Score,
    Stop,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn requests_read_as_they_are_documented() {
        let read = |text: &str| serde_json::from_str::<Request>(text).unwrap();
        assert_eq!(read(r#"{"do":"hint"}"#), Request::Hint);
        assert_eq!(
            read(r#"{"do":"evidence","kind":"event","id":7}"#),
            Request::Evidence {
                reference: Reference::Event(7)
            }
        );
        assert_eq!(
            read(r#"{"do":"answer","service":"a","cause":"b/c#d"}"#),
            Request::Answer(Answered {
                service: "a".into(),
                cause: "b/c#d".into()
            })
        );
        assert!(serde_json::from_str::<Request>(r#"{"do":"cheat"}"#).is_err());
    }
}
