//! Comparing what was read back with what has to be there.

/// Where two runs of one length are first unlike. Whole ones are compared at once: that is many times
/// faster than byte by byte, and nearly always the answer.
pub fn first_difference(is: &[u8], expected: &[u8]) -> Option<usize> {
    match is == expected {
        true => None,
        false => is.iter().zip(expected).position(|(is, was)| is != was),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_differences_is_found_and_none_where_there_is_none() {
        assert_eq!(first_difference(b"", b""), None);
        assert_eq!(first_difference(b"abcd", b"abcd"), None);
        assert_eq!(first_difference(b"abXY", b"abcd"), Some(2));
        assert_eq!(first_difference(b"abc!", b"abcd"), Some(3));
    }
}
