//! Pages broken in many small ways. The choices come from a fixed sequence, so a failure can be seen again.

use super::*;

/// Xorshift: even enough for choosing what to break, the same on every run.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

const PAGES: &[&str] = &[
    include_str!("../corpus/counter.om"),
    include_str!("../corpus/histograms.om"),
    include_str!("../corpus/summary_states_info.om"),
    include_str!("../corpus/quoted.txt"),
    include_str!("../corpus/shop.txt"),
];

const PIECES: &[&[u8]] = &[
    b" ",
    b"\n",
    b"\"",
    b"{",
    b"}",
    b",",
    b"#",
    b"=",
    b"\\",
    b"-",
    b"1e999",
    b"NaN",
    b"+Inf",
    b"_bucket",
    b"_total",
    b"le=\"2\"",
    b" # {} 1",
    b"# TYPE a gauge\n",
    b"# EOF\n",
    b"\xff",
    b"\x00",
    b"\xc3",
    "é".as_bytes(),
    b"99999999999999999999999999",
    b"-0.000000001",
    b"\t",
    b"\r",
];

fn broken(choices: &mut Choices) -> Vec<u8> {
    let mut page = PAGES[choices.below(PAGES.len())].as_bytes().to_vec();
    for _ in 0..=choices.below(3) {
        let at = choices.below(page.len() + 1);
        let until = (at + choices.below(8)).min(page.len());
        match choices.below(5) {
            0 => drop(page.splice(at..at, PIECES[choices.below(PIECES.len())].iter().copied())),
            1 => drop(page.drain(at..until)),
            2 => drop(page.splice(
                at..until,
                PIECES[choices.below(PIECES.len())].iter().copied(),
            )),
            3 if at < page.len() => page[at] ^= 1 << choices.below(8),
            _ => {
                let other = PAGES[choices.below(PAGES.len())].as_bytes();
                let from = choices.below(other.len());
                page.splice(at..at, other[from..].iter().copied());
            }
        }
    }
    page
}

#[test]
fn no_page_breaks_the_readers_or_the_converter() {
    let mut choices = Choices(0x9e37_79b9_7f4a_7c15);
    let limits = Limits {
        line_bytes: 300,
        labels: 4,
        samples: 20,
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..30_000 {
        let bytes = broken(&mut choices);
        for format in [Format::Classic, Format::OpenMetrics] {
            match parse(format, &bytes, &limits) {
                Ok(page) => {
                    read += 1;
                    assert!(page.samples() <= limits.samples);
                    crate::scrape::convert::tests::convert(&page);
                }
                Err(error) => {
                    refused += 1;
                    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
                    assert!(
                        (1..=lines).contains(&error.line),
                        "{error} of {lines} lines"
                    );
                    assert!(error.reason.len() < 600);
                }
            }
        }
    }
    assert!(
        read > 1_000 && refused > 5_000,
        "both ways were taken: {read} read, {refused} refused"
    );
}

#[test]
fn large_pages_take_time_in_proportion() {
    // A page at the limits: were anything quadratic in it, this would not end.
    let mut page = String::from("# TYPE m gauge\n");
    for index in 0..60_000 {
        page.push_str(&format!("m{{id=\"{index}\",same=\"x\"}} {index}\n"));
    }
    page.push_str("# EOF\n");
    for format in [Format::OpenMetrics, Format::Classic] {
        assert_eq!(
            parse(format, page.as_bytes(), &Limits::default())
                .unwrap()
                .samples(),
            60_000
        );
    }
    let families: String = (0..60_000)
        .map(|index| format!("# TYPE m{index} counter\nm{index}_total 1\n"))
        .collect();
    let page = parse(
        Format::OpenMetrics,
        format!("{families}# EOF\n").as_bytes(),
        &Limits::default(),
    )
    .unwrap();
    assert_eq!(page.families.len(), 60_000);
    let quotes = format!("m{{l=\"{}\"}} 1\n", "\\n".repeat(30_000));
    assert_eq!(
        parse(Format::Classic, quotes.as_bytes(), &Limits::default())
            .unwrap()
            .samples(),
        1
    );
}
