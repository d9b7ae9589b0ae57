//! The rules, by name. One file each; what they share stands in the modules they are about.

mod registry;

use crate::engine::Rule;

/// Every rule, in the order of their names.
pub const ALL: &[&dyn Rule] = &[&registry::CachedAfterRemoval];

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
        for rule in ALL {
            let about = rule.about();
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
