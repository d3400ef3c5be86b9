//! Times that single messages took.

use std::path::Path;

use hdrhistogram::Histogram;

use super::report::{Better, Column};
use crate::Failure;

/// What a distribution is told by, in microseconds.
pub(crate) const COLUMNS: &[Column] = &[
    Column { name: "p50 us", better: Better::Less },
    Column { name: "p90 us", better: Better::Less },
    Column { name: "p99 us", better: Better::Less },
    Column { name: "p99.9 us", better: Better::Less },
    Column { name: "max us", better: Better::Less },
];

const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// A histogram of nanoseconds, to three digits.
///
/// # Errors
/// None can be made: never with these digits.
pub(crate) fn histogram() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new(3)?)
}

/// Adds up the nanoseconds that a role wrote into a file, 8 bytes each, little-endian.
///
/// # Errors
/// The file cannot be read, or is cut off, or holds a time below zero.
pub(crate) fn read(path: &Path) -> Result<Histogram<u64>, Failure> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut histogram = histogram()?;
    let (words, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(format!("{}: cut off", path.display()).into());
    }
    for word in words {
        histogram.record(u64::try_from(i64::from_le_bytes(*word))?)?;
    }
    Ok(histogram)
}

/// Writes what [`read`] reads.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, nanos: &[i64]) -> Result<(), Failure> {
    let bytes: Vec<u8> = nanos.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(std::fs::write(path, bytes)?)
}

/// The values for [`COLUMNS`].
pub(crate) fn values(histogram: &Histogram<u64>) -> Vec<f64> {
    let value = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    QUANTILES.into_iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_through_a_file_into_quantiles() {
        let path = std::env::temp_dir().join(format!("coracle-latency-{}", std::process::id()));
        let nanos: Vec<i64> = (1..=1000).collect();
        write(&path, &nanos).unwrap();
        let read_back = values(&read(&path).unwrap());
        write(&path, &[5, -1]).unwrap();
        let negative = read(&path);
        std::fs::write(&path, [0; 9]).unwrap();
        let cut_off = read(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read_back, [0.5, 0.9, 0.99, 0.999, 1.0]);
        assert!(negative.is_err());
        assert!(cut_off.unwrap_err().to_string().ends_with("cut off"));
    }
}
