//! Values that people type: durations, times, sizes, amounts for accounts, payout tables.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agon_protocol::identity::AccountId;
use agon_protocol::limits::{MAX_PAYOUTS, MAX_TARGET_EXPONENT, PAYOUT_TOTAL};
use agon_protocol::units::Amount;

/// `90s`, `10m`, `1h 30m`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error} (write it as 90s, 10m or 2h)"))
}

/// A moment as milliseconds since 1970: `2026-12-01T18:00:00Z`.
pub(crate) fn moment(text: &str) -> Result<u64, String> {
    let time = humantime::parse_rfc3339_weak(text)
        .map_err(|error| format!("{error} (write it as 2026-12-01T18:00:00Z)"))?;
    Ok(since_epoch(time))
}

/// A number of bytes: `4G`, `512M`, `4GiB`; K, M, G and T are powers of 1,024.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write it as 512M or 4G");
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(end) => text.split_at(end),
        None => (text, ""),
    };
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

/// The binary logarithm of a step: `2^-6`, or a power of two such as `0.25` or `8`.
pub(crate) fn step(text: &str) -> Result<i16, String> {
    let wrong = || format!("{text:?} is no power of two: write it as 2^-6, 0.25 or 8");
    let exponent = match text.strip_prefix("2^") {
        Some(exponent) => exponent.parse().map_err(|_| wrong())?,
        None => {
            let step: f64 = text.parse().map_err(|_| wrong())?;
            let exponent = step.log2().round();
            match step.is_finite() && step > 0.0 && exponent.exp2() == step {
                true => exponent as i16,
                false => return Err(wrong()),
            }
        }
    };
    match (-MAX_TARGET_EXPONENT..=MAX_TARGET_EXPONENT).contains(&exponent) {
        true => Ok(exponent),
        false => Err(format!(
            "a step lies between 2^-{MAX_TARGET_EXPONENT} and 2^{MAX_TARGET_EXPONENT}"
        )),
    }
}

/// An account and an amount: `ACCOUNT=AMOUNT`.
pub(crate) fn balance(text: &str) -> Result<(AccountId, Amount), String> {
    let (account, amount) = text
        .split_once('=')
        .ok_or("write it as ACCOUNT=AMOUNT".to_owned())?;
    let account = account
        .parse()
        .map_err(|error| format!("{error} (see `agon key show`)"))?;
    let amount = amount
        .parse()
        .map_err(|error| format!("{amount:?} is no amount: {error}"))?;
    Ok((account, amount))
}

/// Shares of the prize by rank, in percent: `100` or `60,30,10` or `62.5,37.5`; basis points come out.
pub(crate) fn payouts(text: &str) -> Result<Vec<u16>, String> {
    let shares: Vec<u16> = text.split(',').map(percent).collect::<Result<_, _>>()?;
    let total: u32 = shares.iter().map(|share| u32::from(*share)).sum();
    if total != PAYOUT_TOTAL {
        return Err(format!(
            "the shares add up to {} %, not 100 %",
            f64::from(total) / 100.0
        ));
    }
    if shares.len() > MAX_PAYOUTS {
        return Err(format!("at most {MAX_PAYOUTS} ranks can be paid"));
    }
    Ok(shares)
}

/// A percentage with at most two decimals, as basis points.
fn percent(text: &str) -> Result<u16, String> {
    let wrong = || format!("{text:?} is no share in percent, such as 60 or 62.5");
    let (whole, decimals) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 3
        || decimals.len() > 2
        || !digits(whole)
        || !digits(decimals)
    {
        return Err(wrong());
    }
    let points: u32 = format!("{whole}{decimals:0<2}")
        .parse()
        .map_err(|_| wrong())?;
    u16::try_from(points)
        .ok()
        .filter(|points| (1..=PAYOUT_TOTAL).contains(&u32::from(*points)))
        .ok_or_else(wrong)
}

/// This machine's clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    since_epoch(SystemTime::now())
}

/// A time in milliseconds since 1970: `2026-12-01T18:00:00Z`.
pub(crate) fn format_moment(time_ms: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(time_ms));
    // the formatter covers the years up to 9999
    match time.filter(|_| time_ms < 253_402_300_800_000) {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string(),
        None => format!("{time_ms} ms"),
    }
}

/// A block time for people: `2026-12-01T18:00:00Z, in 2h 3m`.
pub(crate) fn describe_moment(time_ms: u64) -> String {
    let date = format_moment(time_ms);
    let now = now_ms();
    let distance = Duration::from_secs(now.abs_diff(time_ms).div_ceil(1000));
    let distance = humantime::format_duration(distance);
    if time_ms > now {
        format!("{date}, in {distance}")
    } else {
        format!("{date}, {distance} ago")
    }
}

/// The two largest units of a span: `2h 3m`, `41s`.
pub(crate) fn roughly(span: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(span.as_secs().max(1))).to_string();
    let units: Vec<&str> = text.split(' ').take(2).collect();
    units.join(" ")
}

fn since_epoch(time: SystemTime) -> u64 {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payout_shares_become_basis_points() {
        assert_eq!(payouts("100"), Ok(vec![10_000]));
        assert_eq!(payouts("62.5, 27.25,10.25"), Ok(vec![6_250, 2_725, 1_025]));
    }

    #[test]
    fn rejects_shares_that_are_not_the_whole_prize() {
        for text in [
            "", "99", "60,60", "100,0", "-1,101", "1e2", "99.999", "50,50.5", "٣,97",
        ] {
            assert!(payouts(text).is_err(), "{text}");
        }
    }

    #[test]
    fn balances_need_an_account_and_an_amount() {
        let account = "ab".repeat(32);
        let (parsed, amount) = balance(&format!("{account}=25")).unwrap();
        assert_eq!((parsed.to_string(), amount.get()), (account.clone(), 25));
        for text in [
            account.clone(),
            format!("{account}=x"),
            format!("{account}=-1"),
            "ab=1".into(),
        ] {
            assert!(balance(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, expected) in [
            ("4G", 4 << 30),
            ("512MiB", 512 << 20),
            ("1k", 1_024),
            ("2tb", 2 << 40),
            ("77", 77),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "G",
            "0",
            "-1G",
            "1.5G",
            "4X",
            "4 G",
            "20000000T",
            "1e9",
            "٣G",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn steps_are_powers_of_two() {
        for (text, expected) in [("2^-6", -6), ("2^0", 0), ("0.25", -2), ("8", 3), ("1", 0)] {
            assert_eq!(step(text), Ok(expected), "{text}");
        }
        for text in [
            "", "0", "3", "-2", "0.1", "nan", "inf", "2^", "2^1.5", "2^257", "1e300", "2^-257",
        ] {
            assert!(step(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "1s"),
            (61, "1m 1s"),
            (7_384, "2h 3m"),
            (90_061, "1day 1h"),
        ] {
            assert_eq!(roughly(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn moments_are_milliseconds_since_1970() {
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(1000));
        assert!(moment("tomorrow").is_err());
        assert!(describe_moment(0).starts_with("1970-01-01T00:00:00Z"));
        assert!(describe_moment(u64::MAX).contains(", in "));
    }
}
