//! Reads the rows of one table out of what the plug-in `pgoutput` writes, in version 1 of its
//! protocol: <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

use super::TailError;
use crate::relay::store::{Row, row};

/// The columns that make a [`Row`], in the order in which it takes them.
const COLUMNS: [&str; 8] =
    ["shard", "id", "event_id", "tag", "key", "destination", "attributes", "body"];

/// Reads the rows of one table.
pub(super) struct Decoder {
    /// The table's object id.
    table: u32,
    /// Where each of [`COLUMNS`] stands; known once the table was described.
    columns: Option<[usize; COLUMNS.len()]>,
}

impl Decoder {
    pub(super) fn new(table: u32) -> Self {
        Decoder { table, columns: None }
    }

    /// The row that `message` inserts, if it is of a shard that is `wanted`.
    ///
    /// # Errors
    /// [`TailError::Malformed`] for what is not in the protocol; [`TailError::Sql`] for a row that
    /// fanfare did not write.
    pub(super) fn row(
        &mut self,
        message: &[u8],
        wanted: impl FnOnce(u16) -> bool,
    ) -> Result<Option<Row>, TailError> {
        let mut bytes = Bytes(message);
        match bytes.u8()? {
            b'R' => {
                self.describe(bytes)?;
                Ok(None)
            }
            b'I' => self.insert(bytes, wanted),
            // Of other tables, or of no meaning here.
            _ => Ok(None),
        }
    }

    fn describe(&mut self, mut bytes: Bytes<'_>) -> Result<(), TailError> {
        if bytes.u32()? != self.table {
            return Ok(());
        }
        let (_schema, _table, _replica_identity) = (bytes.text()?, bytes.text()?, bytes.u8()?);
        let mut names = Vec::new();
        for _ in 0..bytes.u16()? {
            let (_flags, name, _type, _modifier) =
                (bytes.u8()?, bytes.text()?, bytes.u32()?, bytes.u32()?);
            names.push(name);
        }
        let mut columns = [0; COLUMNS.len()];
        for (place, column) in columns.iter_mut().zip(COLUMNS) {
            let found = names.iter().position(|name| *name == column);
            *place = found.ok_or(TailError::Malformed("the publication leaves columns out"))?;
        }
        self.columns = Some(columns);
        Ok(())
    }

    fn insert(
        &self,
        mut bytes: Bytes<'_>,
        wanted: impl FnOnce(u16) -> bool,
    ) -> Result<Option<Row>, TailError> {
        if bytes.u32()? != self.table {
            return Ok(None);
        }
        let columns = self.columns.ok_or(TailError::Malformed("a row before its table"))?;
        if bytes.u8()? != b'N' {
            return Err(TailError::Malformed("a row without values"));
        }
        let mut values = Vec::new();
        for _ in 0..bytes.u16()? {
            values.push(match bytes.u8()? {
                b't' => {
                    let length = bytes.u32()?;
                    Some(bytes.take(length as usize)?)
                }
                b'n' | b'u' => None,
                _ => return Err(TailError::Malformed("a value of another kind")),
            });
        }
        let value = |column: usize| {
            let value = values.get(columns[column]).copied().flatten();
            let value = value.ok_or(TailError::Malformed("a row without a column"))?;
            std::str::from_utf8(value).map_err(|_| TailError::Malformed("a value that is no text"))
        };
        let number = || TailError::Malformed("a number that is none");
        let shard: i16 = value(0)?.parse().map_err(|_| number())?;
        if !wanted(shard.cast_unsigned()) {
            return Ok(None);
        }
        let id = value(1)?.parse().map_err(|_| number())?;
        let text = |column| value(column).map(String::from);
        let event = (text(2)?, text(3)?, text(4)?);
        Ok(Some(row(shard, id, event, text(5)?, value(6)?, text(7)?)?))
    }
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], TailError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TailError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, TailError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, TailError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, TailError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Text up to a zero.
    fn text(&mut self) -> Result<&'a str, TailError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(SHORT)?;
        let text = self.take(end)?;
        self.u8()?;
        std::str::from_utf8(text).map_err(|_| TailError::Malformed("a name that is no text"))
    }
}

const SHORT: TailError = TailError::Malformed("a message that ends too early");

#[cfg(test)]
mod tests {
    use fanfare_core::Destination;
    use proptest::prelude::*;

    use super::*;

    const TABLE: u32 = 77;

    fn text(text: &str) -> Vec<u8> {
        [text.as_bytes(), &[0]].concat()
    }

    fn relation(table: u32, columns: &[&str]) -> Vec<u8> {
        let mut bytes = [b"R".as_slice(), &table.to_be_bytes()].concat();
        bytes.extend([text("public"), text("fanfare_outbox"), vec![b'd']].concat());
        bytes.extend((columns.len() as u16).to_be_bytes());
        for column in columns {
            bytes.extend([vec![1], text(column), vec![0, 0, 0, 25], vec![0xff; 4]].concat());
        }
        bytes
    }

    fn insert(table: u32, values: &[&str]) -> Vec<u8> {
        let mut bytes = [b"I".as_slice(), &table.to_be_bytes(), b"N"].concat();
        bytes.extend((values.len() as u16).to_be_bytes());
        for value in values {
            bytes.push(b't');
            bytes.extend((value.len() as u32).to_be_bytes());
            bytes.extend(value.as_bytes());
        }
        bytes
    }

    const VALUES: [&str; 9] =
        ["7", "41", "now", "e-1", "t.v1", "k", "topic:orders", r#"[["a","b"]]"#, "{}"];

    fn decoder() -> Decoder {
        let mut decoder = Decoder::new(TABLE);
        let mut columns = COLUMNS.to_vec();
        columns.insert(2, "recorded_at");
        assert!(decoder.row(&relation(TABLE, &columns), |_| true).unwrap().is_none());
        decoder
    }

    #[test]
    fn an_inserted_row_is_read_by_the_names_of_its_columns() {
        let row = decoder().row(&insert(TABLE, &VALUES), |shard| shard == 7).unwrap().unwrap();
        assert_eq!((row.shard, row.id, row.destination.as_str()), (7, 41, "topic:orders"));
        let message = row.message;
        assert_eq!(message.destination, Destination::Topic("orders".into()));
        assert_eq!((message.id.as_str(), message.tag.as_str()), ("e-1", "t.v1"));
        assert_eq!((message.key.as_str(), message.body.as_str()), ("k", "{}"));
        assert_eq!(message.attributes, [("a".to_string(), "b".to_string())]);
    }

    #[test]
    fn other_tables_shards_and_messages_are_passed_over() {
        let mut decoder = decoder();
        assert!(decoder.row(&insert(TABLE, &VALUES), |_| false).unwrap().is_none());
        assert!(decoder.row(&insert(78, &["1"]), |_| true).unwrap().is_none());
        assert!(decoder.row(&relation(78, &["other"]), |_| true).unwrap().is_none());
        assert!(decoder.row(b"Y...", |_| true).unwrap().is_none());
        assert!(decoder.row(&insert(TABLE, &VALUES), |_| true).unwrap().is_some());
    }

    #[test]
    fn what_is_not_in_the_protocol_is_an_error() {
        let refused = |message: &[u8]| decoder().row(message, |_| true).is_err();
        let good = insert(TABLE, &VALUES);
        assert!((0..good.len()).all(|end| refused(&good[..end])));
        let good = relation(TABLE, &COLUMNS);
        assert!((0..good.len()).all(|end| refused(&good[..end])));
        assert!(refused(&relation(TABLE, &COLUMNS[1..])));
        assert!(refused(&insert(TABLE, &VALUES[1..])));
        assert!(refused(&insert(TABLE, &[&["x"], &VALUES[1..]].concat())));
        assert!(Decoder::new(TABLE).row(&insert(TABLE, &VALUES), |_| true).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            tag in prop::sample::select(b"RI".to_vec()),
            rest in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            with in any::<u8>(),
        ) {
            let bytes = [vec![tag], TABLE.to_be_bytes().to_vec(), rest].concat();
            let _ = decoder().row(&bytes, |_| true);
            let mut bytes = insert(TABLE, &VALUES);
            *at.get_mut(&mut bytes) = with;
            let _ = decoder().row(&bytes, |_| true);
        }
    }
}
