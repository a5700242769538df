//! Which part of a file a `Range` header asks for.

use std::ops::Range;

use axum::http::StatusCode;

use super::error::ApiError;

/// The part of a file of this length; all of it when no part is asked for, or several, or in other units.
pub(super) fn part(header: Option<&str>, length: u64) -> Result<Range<u64>, ApiError> {
    let whole = 0..length;
    let Some(asked) = header.and_then(|text| text.strip_prefix("bytes=")) else {
        return Ok(whole);
    };
    let Some((from, to)) = asked.split_once('-').filter(|_| !asked.contains(',')) else {
        return Ok(whole);
    };
    let number = |text: &str| text.trim().parse::<u64>();
    let part = match (number(from), number(to)) {
        (Ok(from), Ok(to)) if from <= to => from..to.saturating_add(1).min(length),
        (Ok(from), Err(_)) if to.trim().is_empty() => from..length,
        // the last bytes
        (Err(_), Ok(last)) if from.trim().is_empty() => length.saturating_sub(last)..length,
        _ => return Ok(whole),
    };
    match part.is_empty() {
        false => Ok(part),
        true => Err(ApiError::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            format!("the range {asked:.40} is not in a file of {length} bytes"),
            format!("ask for bytes from 0 to {}", length.saturating_sub(1)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_of_the_file() {
        for (asked, expected) in [
            ("bytes=0-9", 0..10),
            ("bytes=90-", 90..100),
            ("bytes=90-1000", 90..100),
            ("bytes=-10", 90..100),
            ("bytes=-1000", 0..100),
            ("bytes=99-99", 99..100),
            ("bytes=0-18446744073709551615", 0..100),
            // not understood: the whole file
            ("bytes=5-2", 0..100),
            ("bytes=0-1,5-6", 0..100),
            ("lines=0-1", 0..100),
            ("bytes=x-y", 0..100),
            ("bytes=99999999999999999999-", 0..100),
        ] {
            assert_eq!(part(Some(asked), 100).unwrap(), expected, "{asked}");
        }
        assert_eq!(part(None, 100).unwrap(), 0..100);
    }

    #[test]
    fn a_range_outside_the_file_is_refused() {
        for asked in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert!(part(Some(asked), 100).is_err(), "{asked}");
        }
        assert!(part(Some("bytes=0-"), 0).is_err());
    }
}
