//! How fast files are imported into a real case: `cargo run --release -p collectors --example import_rate -- FILE…`.
//!
//! Every file goes into one case in a temporary folder, sealed into segments or not as a writer does by itself. Prints
//! source rows and items a second of wall time, counted until the case is closed.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use case::{CaseWriter, WriterOptions};
use collectors::import::{Input, Options, import};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("import-rate-{}", std::process::id()));
    let outcome = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn measure(folder: &Path) -> Result<(), Box<dyn Error>> {
    let writer = CaseWriter::open(folder, WriterOptions::default())?;
    let begun = Instant::now();
    let (mut rows, mut items, mut bad, mut bytes) = (0, 0, 0, 0);
    for file in std::env::args().skip(1) {
        let input = Input::file(Path::new(&file))?;
        bytes += input.total().unwrap_or(0);
        let mut sink = |signal, payload| writer.append(signal, payload);
        let report = import(input, &Options::default(), &mut sink, &mut |_| {})?;
        rows += report.records;
        items += report.items();
        bad += report.bad.total;
    }
    writer.close()?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{rows} rows ({bad} bad), {items} items, {bytes} bytes in {seconds:.2} s: {:.0} rows/s, {:.0} items/s, {:.1} MB/s",
        rows as f64 / seconds,
        items as f64 / seconds,
        bytes as f64 / seconds / 1e6
    )?;
    Ok(())
}
