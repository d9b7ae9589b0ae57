//! Small charts of one line.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `values` as bars from nothing to the highest of them, or to `top` if that is higher.
pub fn spark(values: &[f64], top: f64) -> String {
    let top = values.iter().copied().fold(top, f64::max);
    values
        .iter()
        .map(|value| {
            if top <= 0.0 {
                return BLOCKS[0];
            }
            let step = (value / top * 7.0).round().clamp(0.0, 7.0) as usize;
            // What is not nothing must not look like nothing.
            BLOCKS[if *value > 0.0 { step.max(1) } else { 0 }]
        })
        .collect()
}

/// `values` summed up into `cells` equal parts.
pub fn resample(values: &[f64], cells: usize) -> Vec<f64> {
    if values.is_empty() || cells == 0 {
        return Vec::new();
    }
    if cells >= values.len() {
        return (0..cells)
            .map(|cell| values[cell * values.len() / cells] * values.len() as f64 / cells as f64)
            .collect();
    }
    let mut out = vec![0.0; cells];
    for (at, value) in values.iter().enumerate() {
        out[at * cells / values.len()] += value;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_reach_from_nothing_to_the_highest() {
        assert_eq!(spark(&[0.0, 1.0, 4.0, 8.0], 0.0), "▁▂▅█");
        assert_eq!(spark(&[0.0, 0.001], 100.0), "▁▂");
        assert_eq!(spark(&[0.0, 0.0], 0.0), "▁▁");
        assert_eq!(spark(&[], 1.0), "");
    }

    #[test]
    fn resampling_keeps_the_sum() {
        let values: Vec<f64> = (0..60).map(f64::from).collect();
        for cells in [1, 7, 12, 60, 100] {
            let sum: f64 = resample(&values, cells).iter().sum();
            if cells <= 60 {
                assert!((sum - 1770.0).abs() < 1e-6, "{cells}: {sum}");
            }
            assert_eq!(resample(&values, cells).len(), cells);
        }
        assert!(resample(&[], 5).is_empty());
    }
}
