//! Figures of several rounds, as one and as text.

/// The median; of two the upper one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Three digits are more than such a measurement tells.
pub(crate) fn whole(value: f64) -> String {
    let step = if value >= 1_000.0 { 100.0 } else { 10.0 };
    let rounded = ((value / step).round() * step) as u64;
    if rounded >= 1_000 {
        format!("{},{:03}", rounded / 1_000, rounded % 1_000)
    } else {
        rounded.to_string()
    }
}

/// Two or three digits of a duration.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        ..0.01 => format!("{:.1} ms", seconds * 1e3),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_grouped() {
        assert_eq!([48_351.0, 9_949.0, 994.0, 3.0].map(whole), ["48,400", "9,900", "990", "0"]);
    }

    #[test]
    fn the_median_does_not_mind_the_order() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
        assert!(median(Vec::new()).is_nan());
    }
}
