//! What is told of many runs.

use std::time::Duration;

/// Durations of one kind.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<Duration>);

impl Sample {
    pub fn add(&mut self, time: Duration) {
        let place = self.0.partition_point(|one| *one < time);
        self.0.insert(place, time);
    }

    /// The one that `share` of them are not above; zero of none.
    pub fn quantile(&self, share: f64) -> Duration {
        let place = (self.0.len().saturating_sub(1) as f64 * share).round() as usize;
        self.0.get(place).copied().unwrap_or_default()
    }

    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// This median in those of `other`; `None` if there is no other.
    pub fn ratio(&self, other: &Sample) -> Option<f64> {
        let other = other.median().as_secs_f64();
        (other > 0.0 && !self.0.is_empty()).then(|| self.median().as_secs_f64() / other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_ratios() {
        let (mut one, mut two) = (Sample::default(), Sample::default());
        assert_eq!((one.median(), one.ratio(&two)), (Duration::ZERO, None));
        [5, 1, 3, 2, 4].into_iter().for_each(|n| one.add(Duration::from_millis(n)));
        two.add(Duration::from_millis(6));
        assert_eq!([0.0, 0.1, 0.5, 1.0].map(|share| one.quantile(share).as_millis()), [1, 1, 3, 5]);
        assert_eq!((one.ratio(&two), two.ratio(&one)), (Some(0.5), Some(2.0)));
    }
}
