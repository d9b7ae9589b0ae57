//! How likely a gap is, learnt from gaps that were seen: a smoothed histogram that is fine around zero and coarse far
//! from it, since delays spread by factors.

/// Nanoseconds up to which gaps are told apart evenly.
const UNIT: f64 = 20_000.0;
/// Width of a cell on the folded scale.
const CELL: f64 = 0.05;
/// Cells on either side of zero: up to days.
const HALF: usize = 600;
const CELLS: usize = 2 * HALF + 1;
/// Weight of an even spread over all cells, so that nothing is impossible.
const FLOOR: f64 = 1e-4;

/// Log density of gaps, and where each stands among them as a normal score.
#[derive(Debug, Clone)]
pub(super) struct Density {
    logs: Vec<f32>,
    scores: Vec<f32>,
    /// Mean of minus the log density: the less, the better the gap is known.
    pub(super) entropy: f64,
}

/// Zero stays, small gaps keep their distances, large ones their ratios.
fn fold(gap: i64) -> f64 {
    let size = (gap as f64).abs() / UNIT;
    size.ln_1p().copysign(gap as f64)
}

fn cell(gap: i64) -> usize {
    let at = (fold(gap) / CELL).round() + HALF as f64;
    at.clamp(0.0, (CELLS - 1) as f64) as usize
}

/// Nanoseconds per unit of the folded scale at a cell.
fn stretch(cell: usize) -> f64 {
    let folded = (cell as f64 - HALF as f64).abs() * CELL;
    UNIT * folded.exp()
}

impl Density {
    pub(super) fn learn(gaps: &[i64]) -> Density {
        let mut counts = vec![0f64; CELLS];
        for gap in gaps {
            counts[cell(*gap)] += 1.0;
        }
        let smooth = smoothed(&counts, bandwidth(gaps));
        let total = gaps.len() as f64;
        let mut logs = Vec::with_capacity(CELLS);
        let mut scores = Vec::with_capacity(CELLS);
        let mut below = 0.0;
        for (at, weight) in smooth.iter().enumerate() {
            let share = (weight + FLOOR) / (total + FLOOR * CELLS as f64);
            logs.push((share / (CELL * stretch(at))).ln() as f32);
            scores.push(normal_score((below + share / 2.0).clamp(1e-6, 1.0 - 1e-6)) as f32);
            below += share;
        }
        // Each gap judged by the others: its own weight would make a lonely one look expected.
        let entropy = if gaps.is_empty() {
            f64::INFINITY
        } else {
            -gaps
                .iter()
                .map(|gap| f64::from(logs[cell(*gap)]))
                .sum::<f64>()
                / total
        };
        Density {
            logs,
            scores,
            entropy,
        }
    }

    pub(super) fn log(&self, gap: i64) -> f32 {
        self.logs[cell(gap)]
    }

    pub(super) fn both(&self, gap: i64) -> (f32, f32) {
        let cell = cell(gap);
        (self.logs[cell], self.scores[cell])
    }
}

/// By the spread of the middle half, which a few wrong links do not move.
fn bandwidth(gaps: &[i64]) -> f64 {
    let mut folded: Vec<f64> = gaps.iter().map(|gap| fold(*gap)).collect();
    if folded.len() < 4 {
        return 0.5;
    }
    folded.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| folded[((folded.len() - 1) as f64 * share) as usize];
    let spread = ((at(0.75) - at(0.25)) / 1.34).max(0.02);
    0.6 * spread * (folded.len() as f64).powf(-0.2)
}

fn smoothed(counts: &[f64], width: f64) -> Vec<f64> {
    let width = (width / CELL).max(0.5);
    let reach = (width * 4.0).ceil() as usize;
    let kernel: Vec<f64> = (0..=reach)
        .map(|at| (-0.5 * (at as f64 / width).powi(2)).exp())
        .collect();
    let whole = kernel[0] + 2.0 * kernel[1..].iter().sum::<f64>();
    let mut out = vec![0.0; counts.len()];
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
        for (step, weight) in kernel.iter().enumerate() {
            let part = count * weight / whole;
            if step == 0 {
                out[at] += part;
                continue;
            }
            if at + step < out.len() {
                out[at + step] += part;
            }
            if at >= step {
                out[at - step] += part;
            }
        }
    }
    out
}

/// The inverse of the normal distribution, to three places.
fn normal_score(share: f64) -> f64 {
    let tail = share.min(1.0 - share);
    let t = (-2.0 * tail.ln()).sqrt();
    let size = t
        - (2.515_517 + t * (0.802_853 + t * 0.010_328))
            / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    if share < 0.5 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_likelier_than_what_was_not() {
        let gaps: Vec<i64> = (0..500).map(|n| 1_000_000 + (n % 50) * 2_000).collect();
        let density = Density::learn(&gaps);
        assert!(density.log(1_040_000) > density.log(5_000_000) + 3.0);
        assert!(density.log(-1_000_000).is_finite());
        let loose = Density::learn(&(0..500).map(|n| n * 100_000).collect::<Vec<_>>());
        assert!(loose.entropy > density.entropy);
        assert!(Density::learn(&[]).log(i64::MIN).is_finite());
        assert!((normal_score(0.975) - 1.96).abs() < 0.01);
    }
}
