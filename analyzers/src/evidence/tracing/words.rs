//! Texts as numbers: names, instances and addresses repeat in millions of rows. Owns the numbering alone; what a number
//! means in a row is the row's.
//!
//! Numbers are given out in the order texts come in, and put into the order of the texts themselves once all are known,
//! so that nothing after that depends on the order in which signals arrived.

use std::collections::HashMap;

/// Texts beyond this many distinct ones share the last number: hostile names must not eat the memory.
const MOST: usize = 1 << 20;
/// Longer texts are cut: no rule needs more of a name.
const LONGEST: usize = 1_024;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Words {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Words {
    /// The empty text is number 0 from the start.
    pub fn new() -> Words {
        let mut words = Words::default();
        words.of("");
        words
    }

    pub fn of(&mut self, text: &str) -> u32 {
        let text = cut(text);
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        if self.texts.len() >= MOST {
            return (MOST - 1) as u32;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    pub fn get(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", String::as_str)
    }

    pub fn find(&self, text: &str) -> Option<u32> {
        self.numbers.get(cut(text)).copied()
    }

    pub fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Numbers the texts by their order; answers what each old number has become.
    pub fn sort(&mut self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.texts.len() as u32).collect();
        order.sort_by(|a, b| self.texts[*a as usize].cmp(&self.texts[*b as usize]));
        let mut became = vec![0; order.len()];
        let mut texts = Vec::with_capacity(order.len());
        for (new, old) in order.into_iter().enumerate() {
            became[old as usize] = new as u32;
            texts.push(std::mem::take(&mut self.texts[old as usize]));
        }
        self.texts = texts;
        for number in self.numbers.values_mut() {
            *number = became[*number as usize];
        }
        became
    }
}

fn cut(text: &str) -> &str {
    if text.len() <= LONGEST {
        return text;
    }
    let mut end = LONGEST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_up_in_the_order_of_the_texts() {
        let mut words = Words::new();
        let (b, a) = (words.of("b"), words.of("a"));
        assert_eq!(words.of("b"), b);
        let became = words.sort();
        assert!(became[a as usize] < became[b as usize]);
        assert_eq!(words.get(became[a as usize]), "a");
        assert_eq!(words.find("b"), Some(became[b as usize]));
        assert_eq!(words.get(0), "");
        assert_eq!(words.find("c"), None);
    }

    #[test]
    fn a_text_too_long_is_cut_at_a_character() {
        let mut words = Words::new();
        let number = words.of(&"é".repeat(2_000));
        assert_eq!(words.get(number).len(), LONGEST);
    }
}
