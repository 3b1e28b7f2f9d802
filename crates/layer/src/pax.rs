//! PAX extended headers (POSIX.1-2017, pax, "pax Extended Header"): `LENGTH NAME=VALUE\n`.
//!
//! tar-core's reader of records stops without a word at a malformed length, which would hide a `size` record behind it from
//! us and not from others, and it wants names in UTF-8, negative times as errors and fractions of seconds dropped. So records
//! are read and written here.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::entry::{self, Extent, Record, Time};

/// Records of an extended header, in order, as name and value.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    fn record(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let space = self.rest.iter().take(20).position(|byte| *byte == b' ')?;
        let length = usize::try_from(decimal(&self.rest[..space])?).ok()?;
        let (record, rest) = self.rest.split_at_checked(length)?;
        let (name_and_value, end) =
            record.get(space + 1..)?.split_at_checked((length - space).checked_sub(2)?)?;
        let equals = name_and_value.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&name_and_value[..equals], &name_and_value[equals + 1..]);
        self.rest = rest;
        (end == b"\n" && !name.is_empty() && !name.contains(&0)).then_some((name, value))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_none() {
            self.rest = &[];
        }
        Some(record.ok_or("malformed record in an extended header"))
    }
}

/// Appends a record.
pub(crate) fn push(data: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let rest = name.len() + value.len() + 3;
    // The length counts its own digits.
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    data.extend_from_slice(length.to_string().as_bytes());
    data.push(b' ');
    data.extend_from_slice(name);
    data.push(b'=');
    data.extend_from_slice(value);
    data.push(b'\n');
}

/// What the extended header of an entry says.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) uname: Option<Vec<u8>>,
    pub(crate) gname: Option<Vec<u8>>,
    pub(crate) mtime: Option<Time>,
    pub(crate) xattrs: entry::Records,
    pub(crate) records: entry::Records,
    pub(crate) sparse: SparseRecords,
}

/// The `GNU.sparse.` records: versions 0.0 (pairs of offset and length), 0.1 (a map), 1.0 (a map before the body).
#[derive(Debug, Default)]
pub(crate) struct SparseRecords {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    /// The map of versions 0.0 and 0.1.
    pub(crate) map: Option<Vec<Extent>>,
    /// An offset of version 0.0 whose length has not come yet.
    offset: Option<u64>,
}

impl Extensions {
    /// Reads an extended header. The last of equal names wins; an empty value leaves what the entry's own header says, as in
    /// Go's `archive/tar`, with which most layers are read.
    pub(crate) fn parse(data: &[u8]) -> Result<Self, &'static str> {
        let mut this = Self::default();
        let mut xattrs = BTreeMap::new();
        let mut fallback_xattrs = BTreeMap::new();
        let mut records = BTreeMap::new();
        for record in Records::new(data) {
            let (name, value) = record?;
            if let Some(name) = name.strip_prefix(b"SCHILY.xattr.") {
                xattrs.insert(name.to_vec(), value.to_vec());
            } else if let Some((name, value)) = libarchive_xattr(name, value) {
                fallback_xattrs.insert(name, value);
            } else if !value.is_empty() && !this.apply(name, value)? {
                records.insert(name.to_vec(), value.to_vec());
            }
        }
        if this.sparse.offset.is_some() {
            return Err(SPARSE);
        }
        for (name, value) in fallback_xattrs {
            xattrs.entry(name).or_insert(value);
        }
        if xattrs.contains_key(&[][..]) {
            return Err("extended attribute without a name");
        }
        this.xattrs = collect(xattrs);
        this.records = collect(records);
        Ok(this)
    }

    /// Takes a record that is more than text for us; false for the others.
    fn apply(&mut self, name: &[u8], value: &[u8]) -> Result<bool, &'static str> {
        let number = || decimal(value).ok_or("malformed number in an extended header");
        let text = || if value.contains(&0) { Err("NUL in an extended header") } else { Ok(value.to_vec()) };
        match name {
            b"path" => self.path = Some(text()?),
            b"linkpath" => self.link = Some(text()?),
            b"uname" => self.uname = Some(text()?),
            b"gname" => self.gname = Some(text()?),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => self.mtime = Some(time(value).ok_or("malformed time in an extended header")?),
            // How names are encoded: they are bytes here.
            b"hdrcharset" => {}
            _ => match name.strip_prefix(b"GNU.sparse.") {
                Some(name) => self.sparse.apply(name, value)?,
                None => return Ok(false),
            },
        }
        Ok(true)
    }
}

const SPARSE: &str = "malformed sparse map in an extended header";

impl SparseRecords {
    /// Whether there was none.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self { major: None, minor: None, name: None, size: None, map: None, offset: None })
    }

    fn apply(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let number = || decimal(value).ok_or(SPARSE);
        match name {
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"size" | b"realsize" => self.size = Some(number()?),
            b"name" if value.contains(&0) => return Err("NUL in an extended header"),
            b"name" => self.name = Some(value.to_vec()),
            b"offset" if self.offset.is_some() => return Err(SPARSE),
            b"offset" => self.offset = Some(number()?),
            b"numbytes" => {
                let extent = Extent { offset: self.offset.take().ok_or(SPARSE)?, length: number()? };
                self.map.get_or_insert_default().push(extent);
            }
            b"map" => {
                let numbers: Option<Vec<u64>> = value.split(|byte| *byte == b',').map(decimal).collect();
                let numbers = numbers.ok_or(SPARSE)?;
                let (pairs, []) = numbers.as_chunks() else { return Err(SPARSE) };
                self.map = Some(pairs.iter().map(|&[offset, length]| Extent { offset, length }).collect());
            }
            // numblocks: counts what is there anyway.
            _ => {}
        }
        Ok(())
    }
}

fn collect(records: BTreeMap<Vec<u8>, Vec<u8>>) -> entry::Records {
    let record = |(name, value): (Vec<u8>, Vec<u8>)| Record { name: name.into(), value: value.into() };
    records.into_iter().map(record).collect()
}

/// An extended attribute in libarchive's form: the name percent-encoded, the value in base64 with or without padding.
fn libarchive_xattr(name: &[u8], value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let name = name.strip_prefix(b"LIBARCHIVE.xattr.")?;
    let value = BASE64.decode(value).ok()?;
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [byte, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        plain.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &rest[3..] } else { tail };
    }
    // A name is written back between `SCHILY.xattr.` and `=`.
    (!plain.contains(&b'=') && !plain.contains(&0)).then_some((plain, value))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A decimal number without sign, below 2^63.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut number = 0_i64;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    u64::try_from(number).ok()
}

const SECOND: u32 = 1_000_000_000;

/// Seconds with an optional fraction, of which nine digits count.
fn time(value: &[u8]) -> Option<Time> {
    let (negative, value) = match value {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, value),
    };
    let dot = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let seconds = i64::try_from(decimal(&value[..dot])?).ok()?;
    let fraction = value.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().map(|digit| u32::from(digit - b'0')).chain(std::iter::repeat(0));
    let nanoseconds = digits.take(9).fold(0, |number, digit| number * 10 + digit);
    Some(match (negative, nanoseconds) {
        (false, _) => Time::new(seconds, nanoseconds),
        (true, 0) => Time::new(-seconds, nanoseconds),
        (true, _) => Time::new(-seconds - 1, SECOND - nanoseconds),
    })
}

/// The text of a time, with as many digits as it needs.
pub(crate) fn time_text(time: Time) -> String {
    // A time before 1970 is a negative number whose fraction counts down.
    let (sign, seconds, nanoseconds) = match (time.seconds() < 0, time.nanoseconds()) {
        (true, 0) => ("-", time.seconds().unsigned_abs(), 0),
        (true, nanoseconds) => ("-", (time.seconds() + 1).unsigned_abs(), SECOND.saturating_sub(nanoseconds)),
        (false, nanoseconds) => ("", time.seconds().unsigned_abs(), nanoseconds),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(records: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut data = Vec::new();
        for (name, value) in records {
            push(&mut data, name, value);
        }
        data
    }

    #[test]
    fn lengths_count_themselves() {
        for (value, text) in [("", "5 a=\n"), ("xxxx", "9 a=xxxx\n"), ("xxxxx", "11 a=xxxxx\n")] {
            assert_eq!(header(&[(b"a", value.as_bytes())]), text.as_bytes());
        }
        for length in [80, 90, 91, 92, 93, 94, 95, 96, 97, 990, 991, 992, 993, 994, 995, 9990] {
            let value = vec![b'v'; length];
            let data = header(&[(b"name", &value)]);
            assert_eq!(Records::new(&data).collect::<Vec<_>>(), [Ok((&b"name"[..], &value[..]))]);
        }
    }

    #[test]
    fn malformed_records_are_errors_not_ends() {
        let good = header(&[(b"a", b"1")]);
        for bad in [
            &b"x 30 size=1\n"[..],
            b"99 a=b\n",
            b"6 a=b\nx",
            b" a=b\n",
            b"+6 a=b\n",
            b"6 a=b\0",
            b"5 ab\n",
            b"5 =b\n",
            b"0 a=b\n",
            b"1 a=b\n",
            b"2 a=b\n",
            b"3 \n",
            b"99999999999999999999 a=b\n",
            b"\0\0\0\0",
            b"8 a\0=bc\n",
        ] {
            let data = [&good[..], bad].concat();
            assert!(Records::new(&data).any(|record| record.is_err()), "{}", bad.escape_ascii());
            assert!(Extensions::parse(&data).is_err());
        }
    }

    #[test]
    fn values_that_matter_must_be_right() {
        for (name, value) in [
            ("size", "-1"),
            ("size", "1x"),
            ("size", " 1"),
            ("size", "9223372036854775808"),
            ("uid", "+1"),
            ("mtime", "1.x"),
            ("mtime", "."),
            ("mtime", "--1"),
            ("path", "a\0b"),
            ("linkpath", "\0"),
            ("GNU.sparse.map", "1"),
            ("GNU.sparse.map", "1,2,"),
            ("GNU.sparse.numbytes", "1"),
            ("GNU.sparse.offset", "1"),
            ("SCHILY.xattr.", "x"),
        ] {
            let data = header(&[(name.as_bytes(), value.as_bytes())]);
            assert!(Extensions::parse(&data).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn last_record_wins_and_empty_ones_do_not_count() {
        let data = header(&[
            (b"size", b"1"),
            (b"size", b"2"),
            (b"size", b""),
            (b"comment", b"x"),
            (b"comment", b"y"),
        ]);
        let extensions = Extensions::parse(&data).unwrap();
        assert_eq!(extensions.size, Some(2));
        let comment = Record { name: (*b"comment").into(), value: (*b"y").into() };
        assert_eq!(*extensions.records, [comment]);
    }

    #[test]
    fn extended_attributes_of_both_kinds() {
        let data = header(&[
            (b"LIBARCHIVE.xattr.user.a%3Db", b"YQ"),
            (b"LIBARCHIVE.xattr.user.both", b"YWJj"),
            (b"LIBARCHIVE.xattr.user.%e4%zz", b"YQ=="),
            (b"LIBARCHIVE.xattr.user.bad", b"?"),
            (b"SCHILY.xattr.user.both", b"raw\0\n"),
            (b"SCHILY.xattr.user.empty", b""),
        ]);
        let extensions = Extensions::parse(&data).unwrap();
        let xattrs: Vec<_> = extensions.xattrs.iter().map(|record| (&*record.name, &*record.value)).collect();
        assert_eq!(
            xattrs,
            [(&b"user.both"[..], &b"raw\0\n"[..]), (b"user.empty", b""), (b"user.\xe4%zz", b"a")]
        );
        // What cannot be a SCHILY record stays as it came.
        let names: Vec<_> =
            extensions.records.iter().map(|record| record.name.escape_ascii().to_string()).collect();
        assert_eq!(names, ["LIBARCHIVE.xattr.user.a%3Db", "LIBARCHIVE.xattr.user.bad"]);
    }

    #[test]
    fn times() {
        for (text, seconds, nanoseconds, canonical) in [
            ("0", 0, 0, "0"),
            ("1.5", 1, 500_000_000, "1.5"),
            ("1.", 1, 0, "1"),
            ("1.1234567899", 1, 123_456_789, "1.123456789"),
            ("1700000000.000000001", 1_700_000_000, 1, "1700000000.000000001"),
            ("-1", -1, 0, "-1"),
            ("-1.5", -2, 500_000_000, "-1.5"),
            ("-0.25", -1, 750_000_000, "-0.25"),
        ] {
            let expected = Time::new(seconds, nanoseconds);
            assert_eq!(time(text.as_bytes()), Some(expected), "{text}");
            assert_eq!(time_text(expected), canonical);
        }
    }

    proptest! {
        #[test]
        fn times_survive(seconds in -(1_i64 << 60)..1 << 60, nanoseconds in 0..SECOND) {
            let expected = Time::new(seconds, nanoseconds);
            prop_assert_eq!(time(time_text(expected).as_bytes()), Some(expected));
        }

        #[test]
        fn records_survive(
            records in proptest::collection::vec(("[a-zA-Z.]{1,20}", proptest::collection::vec(any::<u8>(), 0..200)), 0..8),
        ) {
            let mut data = Vec::new();
            for (name, value) in &records {
                push(&mut data, name.as_bytes(), value);
            }
            let read: Result<Vec<_>, _> = Records::new(&data).collect();
            let expected: Vec<_> = records.iter().map(|(name, value)| (name.as_bytes(), &value[..])).collect();
            prop_assert_eq!(read, Ok(expected));
        }

        #[test]
        fn nothing_panics(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Extensions::parse(&data);
        }
    }
}
