//! The rules, by name. One file each; what they share stands in the modules they are about.

mod facts;
mod health;
mod logs;
mod propagation;
mod registry;
mod resolution;
mod saga;
mod spans;

use std::sync::LazyLock;

use crate::engine::Rule;

/// Every rule, in the order of their names.
pub static ALL: LazyLock<Vec<&'static dyn Rule>> = LazyLock::new(|| {
    let areas = [
        registry::RULES,
        resolution::RULES,
        health::RULES,
        propagation::RULES,
        spans::RULES,
        logs::RULES,
        saga::RULES,
    ];
    let mut all: Vec<&'static dyn Rule> = areas.into_iter().flatten().copied().collect();
    all.sort_by_key(|rule| rule.about().id);
    all
});

/// The rule of this name.
pub fn find(id: &str) -> Option<&'static dyn Rule> {
    ALL.iter().copied().find(|rule| rule.about().id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_distinct_and_of_one_form() {
        let ids: Vec<&str> = ALL.iter().map(|rule| rule.about().id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
        for rule in ALL.iter() {
            let about = rule.about();
            for cause in about.causes {
                let (symptom, name) = cause.id.split_once('#').unwrap_or_default();
                assert!(symptom.contains('/') && !name.is_empty(), "{}", cause.id);
                assert!(!cause.what.is_empty() && !cause.sign.is_empty());
            }
            for followed in about.follows {
                let area = followed.strip_suffix("/*");
                assert!(
                    area.is_some() || followed.split('/').count() == 2,
                    "{followed} is neither a rule nor an area"
                );
            }
            assert!(about.id.split_once('/').is_some_and(|(area, name)| {
                [area, name].iter().all(|part| {
                    !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
                })
            }));
            assert!(
                !about.needs.is_empty() && !about.meaning.is_empty() && !about.remedy.is_empty()
            );
            assert!(find(about.id).is_some());
        }
        assert!(find("registry/none").is_none());
    }
}
