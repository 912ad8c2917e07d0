//! Type tags: an event's logical name and version on the wire, `shop.orders.OrderPlaced.v1`.
//!
//! A tag is written by hand, so that renaming a struct cannot change it. It is two or more
//! dot-separated names and a version: names start with a letter and go on with letters, digits,
//! `_` or `-`; the version is `v` and a number from 1, without leading zeros; at most
//! [`MAX_LEN`] bytes in all.

/// Longest tag in bytes: leaves room for the prefix `.` and fits every AWS attribute limit.
pub const MAX_LEN: usize = 128;

/// Whether `tag` is well formed. Usable in constants: the router checks hand-written
/// implementations of [`EventType`](crate::EventType) with it while compiling.
#[must_use]
pub const fn is_valid(tag: &str) -> bool {
    let bytes = tag.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_LEN {
        return false;
    }
    let (mut names, mut start, mut i) = (0, 0, 0);
    while i < bytes.len() {
        if bytes[i] == b'.' {
            if !is_name(bytes, start, i) {
                return false;
            }
            names += 1;
            start = i + 1;
        }
        i += 1;
    }
    names >= 2 && is_version(bytes, start)
}

/// The tag without the number of its version: `shop.orders.OrderPlaced.v` of
/// `shop.orders.OrderPlaced.v1`. Filter policies match by it, so that a new version reaches the
/// consumers of the old one instead of vanishing silently.
#[must_use]
pub fn family(tag: &str) -> &str {
    tag.trim_end_matches(|c: char| c.is_ascii_digit())
}

const fn is_name(bytes: &[u8], start: usize, end: usize) -> bool {
    if start == end || !bytes[start].is_ascii_alphabetic() {
        return false;
    }
    let mut i = start;
    while i < end {
        if !(bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_' || bytes[i] == b'-') {
            return false;
        }
        i += 1;
    }
    true
}

const fn is_version(bytes: &[u8], start: usize) -> bool {
    if bytes.len() < start + 2 || bytes[start] != b'v' || bytes[start + 1] == b'0' {
        return false;
    }
    let mut i = start + 1;
    while i < bytes.len() {
        if !bytes[i].is_ascii_digit() {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_names_and_a_version() {
        for good in ["shop.OrderPlaced.v1", "shop.orders.OrderPlaced.v12", "a-b.c_d.v9"] {
            assert!(is_valid(good), "{good}");
        }
        let bad = [
            "",
            "OrderPlaced",
            "OrderPlaced.v1",
            "shop.OrderPlaced",
            "shop.OrderPlaced.v0",
            "shop.OrderPlaced.v01",
            "shop.OrderPlaced.1",
            "shop..v1",
            ".shop.v1",
            "shop.Order Placed.v1",
            "shop.9lives.v1",
            "shop.OrderPlaced.v1.",
            "shop.Ördered.v1",
            "shop.OrderPlaced.v",
        ];
        for bad in bad {
            assert!(!is_valid(bad), "{bad:?}");
        }
        assert!(!is_valid(&format!("shop.{}.v1", "x".repeat(MAX_LEN))));
    }

    #[test]
    fn the_family_keeps_all_but_the_versions_number() {
        assert_eq!(family("shop.orders.OrderPlaced.v12"), "shop.orders.OrderPlaced.v");
    }
}
