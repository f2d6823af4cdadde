//! Polynomial hashes modulo 2^61 - 1 with a secret base: one multiplication for each byte searched.
//!
//! For an unknown base two different texts of n bytes collide with a probability of at most n / 2^61.

/// The modulus, a prime of Mersenne's.
pub(crate) const MODULUS: u64 = (1 << 61) - 1;

/// `left * right` modulo 2^61 - 1, for factors below it.
fn multiply(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are below 2^62")]
    let (low, high) = ((product & u128::from(MODULUS)) as u64, (product >> 61) as u64);
    reduce(low + high)
}

fn reduce(value: u64) -> u64 {
    if value >= MODULUS { value - MODULUS } else { value }
}

fn push(hash: u64, base: u64, byte: u8) -> u64 {
    reduce(multiply(hash, base) + u64::from(byte) + 1)
}

/// The hash of `bytes` under `base`.
pub(crate) fn hash(base: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |hash, &byte| push(hash, base, byte))
}

/// The hashes of all windows of one width, one after the other.
pub(crate) struct Window {
    width: usize,
    base: u64,
    /// What each byte takes away when it leaves the window.
    leaving: Vec<u64>,
}

impl Window {
    pub(crate) fn new(base: u64, width: usize) -> Self {
        let power = (0..width).fold(1, |power, _| multiply(power, base));
        let leaving = (0..=u8::MAX).map(|byte| multiply(u64::from(byte) + 1, power)).collect();
        Self { width, base, leaving }
    }

    /// Calls `found` with the end of each window of `bytes` and its hash.
    pub(crate) fn roll(&self, bytes: &[u8], mut found: impl FnMut(usize, u64)) {
        if bytes.len() < self.width {
            return;
        }
        let mut current = hash(self.base, &bytes[..self.width]);
        found(self.width, current);
        for (end, (&left, &entered)) in bytes.iter().zip(&bytes[self.width..]).enumerate() {
            // Pushed and taken away in one step, so that only one multiplication is left.
            let pushed = push(current, self.base, entered);
            current = reduce(pushed + MODULUS - self.leaving[usize::from(left)]);
            found(self.width + end + 1, current);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_rolled_hash_is_the_hash_of_its_window(
            base in 1..MODULUS,
            width in 1_usize..20,
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut rolled = Vec::new();
            Window::new(base, width).roll(&bytes, |end, hash| rolled.push((end, hash)));
            let expected: Vec<_> = bytes.windows(width).enumerate()
                .map(|(start, window)| (start + width, hash(base, window))).collect();
            prop_assert_eq!(rolled, expected);
        }
    }
}
