//! Sequence numbers as AWS writes them: 56 decimal digits that hold, bit by bit, when the shard
//! was made, where the record is in it, when it arrived, and which shard it is.
//!
//! The layout was found out by the authors of kinesalite: from the top, in hexadecimal digits, `2`,
//! 9 of the shard's second, 1 of its number, 16 of the index, 2 unknown, 9 of the record's second,
//! 8 of the shard's number, and `2` for the layout's version.

use std::fmt;

/// The index of a closed shard's last number, after all its records.
pub(crate) const LAST_INDEX: u64 = i64::MAX as u64;

/// A sequence number taken apart. Within a stream they are ordered as their decimal values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SequenceNumber {
    /// The second since 1970 in which the shard was made; a child's is later than its parents'.
    pub(crate) created: u64,
    /// Of the shard.
    pub(crate) shard: u32,
    /// Of the record in its shard, from 1; 0 is the shard's beginning.
    pub(crate) index: u64,
    /// The second since 1970 in which the record arrived.
    pub(crate) second: u64,
}

/// One mark at the top, one at the bottom.
const VERSION: u64 = 2;

impl SequenceNumber {
    /// `None` if the text is no number of this layout.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bits = Bits::parse(text)?;
        let version = bits.pop(4);
        let shard = bits.pop(32);
        let second = bits.pop(36);
        let _unknown = bits.pop(8);
        let index = bits.pop(32) | bits.pop(32) << 32;
        let nibble = bits.pop(4);
        let created = bits.pop(36);
        let legal = version == VERSION
            && bits.0 == [VERSION, 0, 0]
            && index <= LAST_INDEX
            && nibble == shard & 0xf;
        let shard = u32::try_from(shard).ok().filter(|shard| i32::try_from(*shard).is_ok())?;
        legal.then_some(Self { created, shard, index, second })
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bits = Bits([VERSION, 0, 0]);
        bits.push(self.created, 36);
        bits.push(u64::from(self.shard & 0xf), 4);
        bits.push(self.index >> 32, 32);
        bits.push(self.index & 0xffff_ffff, 32);
        bits.push(0, 8);
        bits.push(self.second, 36);
        bits.push(u64::from(self.shard), 32);
        bits.push(VERSION, 4);
        bits.fmt(f)
    }
}

/// A number of 192 bits, lowest limb first.
struct Bits([u64; 3]);

/// Decimal digits that are handled at once: they fit into a limb.
const DIGITS: usize = 18;
const TEN_TO_DIGITS: u64 = 10_u64.pow(18);

impl Bits {
    /// `None` if there is anything but digits, or too many of them.
    fn parse(text: &str) -> Option<Self> {
        let legal = (1..=57).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !legal {
            return None;
        }
        let mut bits = Self([0; 3]);
        for chunk in text.as_bytes().chunks(DIGITS) {
            let digits = chunk.iter().fold(0, |number, b| number * 10 + u64::from(b - b'0'));
            bits.multiply_add(10_u64.pow(chunk.len() as u32), digits);
        }
        Some(bits)
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = u128::from(addend);
        for limb in &mut self.0 {
            let product = u128::from(*limb) * u128::from(factor) + carry;
            *limb = product as u64;
            carry = product >> 64;
        }
    }

    /// Divides in place; the remainder.
    fn divide(&mut self, divisor: u64) -> u64 {
        let mut remainder = 0;
        for limb in self.0.iter_mut().rev() {
            let dividend = remainder << 64 | u128::from(*limb);
            *limb = (dividend / u128::from(divisor)) as u64;
            remainder = dividend % u128::from(divisor);
        }
        remainder as u64
    }

    /// Appends `width` bits at the bottom, fewer than 64.
    fn push(&mut self, value: u64, width: u32) {
        let [low, middle, high] = self.0;
        let rest = 64 - width;
        self.0 =
            [low << width | value, middle << width | low >> rest, high << width | middle >> rest];
    }

    /// Takes `width` bits from the bottom, fewer than 64.
    fn pop(&mut self, width: u32) -> u64 {
        let [low, middle, high] = self.0;
        let rest = 64 - width;
        self.0 = [low >> width | middle << rest, middle >> width | high << rest, high >> width];
        low & ((1 << width) - 1)
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bits = Self(self.0);
        let low = bits.divide(TEN_TO_DIGITS);
        let middle = bits.divide(TEN_TO_DIGITS);
        let high = bits.divide(TEN_TO_DIGITS);
        let top = bits.0[0];
        write!(f, "{top}{high:0DIGITS$}{middle:0DIGITS$}{low:0DIGITS$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: u64 = 1_767_225_600;

    fn number(shard: u32, index: u64) -> SequenceNumber {
        SequenceNumber { created: CREATED, shard, index, second: CREATED + 60 }
    }

    #[test]
    fn a_number_is_56_digits_and_is_read_as_it_was_written() {
        for (shard, index) in [(0, 0), (0, 1), (7, 1 << 40), (16, LAST_INDEX), (19_999, 12)] {
            let number = number(shard, index);
            let text = number.to_string();
            assert!(text.len() == 56 && text.starts_with("49"), "{text}");
            assert_eq!(SequenceNumber::parse(&text), Some(number));
        }
    }

    #[test]
    fn a_number_that_aws_gave_is_understood() {
        // From the API reference of PutRecord.
        let text = "49543463076548007577105092703039560359975228518395019266";
        let number = SequenceNumber::parse(text).expect("is a number");
        assert_eq!((number.shard, number.to_string().as_str()), (0, text));
    }

    #[test]
    fn numbers_grow_with_the_shards_second_then_with_the_index() {
        let child = SequenceNumber { created: CREATED + 1, ..number(3, 0) };
        let ascending = [
            number(3, 0),
            number(3, 1),
            number(3, 2),
            number(3, 1 << 33),
            number(3, LAST_INDEX),
            child,
        ];
        let texts = ascending.map(|number| number.to_string());
        assert!(texts.is_sorted_by(|a, b| a < b), "{texts:#?}");
    }

    #[test]
    fn other_numbers_are_refused() {
        let number = number(0, 1).to_string();
        let other_version = format!("{}7", &number[..55]);
        for text in ["", "0", "5", "x", "-1", &number[1..], &other_version, &"9".repeat(57)] {
            assert_eq!(SequenceNumber::parse(text), None, "{text}");
        }
    }
}
