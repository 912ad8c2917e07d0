//! A function's zip.

use std::fs::{self, File};
use std::io::{Cursor, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// How hard to pack.
#[derive(Clone, Copy)]
pub(super) enum Effort {
    /// As zip itself: for big programs that go nowhere
    Fast,
    /// Half a minute for a function, and 2 % smaller than zlib can
    Best,
}

impl Effort {
    /// Up to 9 it is zlib's; above, 9 more than the iterations of zopfli.
    fn level(self) -> i64 {
        match self {
            Self::Fast => 6,
            Self::Best => 24,
        }
    }
}

/// Packs `bootstrap` as `zip`; gives the zip's size in bytes.
pub(super) fn write(bootstrap: &Path, zip: &Path, effort: Effort) -> Result<u64> {
    let program =
        fs::read(bootstrap).with_context(|| format!("{} cannot be read", bootstrap.display()))?;
    let written = pack(&program, effort, Cursor::new(Vec::new()))?.into_inner();
    let mut file =
        File::create(zip).with_context(|| format!("{} cannot be written", zip.display()))?;
    file.write_all(&written)?;
    Ok(written.len() as u64)
}

/// One file, `bootstrap`, that everybody may run, and of no time: the same program makes the same zip.
fn pack<W: Write + Seek>(program: &[u8], effort: Effort, to: W) -> Result<W> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(effort.level()))
        .last_modified_time(DateTime::default())
        .unix_permissions(0o755);
    let mut zip = ZipWriter::new(to);
    zip.start_file("bootstrap", options)?;
    zip.write_all(program)?;
    Ok(zip.finish()?)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, FileTimes};
    use std::io::Read;
    use std::time::{Duration, SystemTime};

    use zip::ZipArchive;

    use super::{Effort, write};

    #[test]
    fn a_zip_has_the_program_as_a_bootstrap_that_everybody_may_run() {
        let folder = tempfile::tempdir().unwrap();
        let [bootstrap, zip] = ["bootstrap", "products.zip"].map(|name| folder.path().join(name));
        let program = b"\x7fELF and so on, ".repeat(1_000);
        fs::write(&bootstrap, &program).unwrap();
        for effort in [Effort::Fast, Effort::Best] {
            let size = write(&bootstrap, &zip, effort).unwrap();
            assert_eq!(size, fs::metadata(&zip).unwrap().len());
            assert!(size < 1_000, "{size} bytes: not compressed");

            let mut archive = ZipArchive::new(fs::File::open(&zip).unwrap()).unwrap();
            assert_eq!(archive.len(), 1);
            let mut file = archive.by_name("bootstrap").unwrap();
            assert_eq!(file.unix_mode().unwrap() & 0o777, 0o755);
            let mut unpacked = Vec::new();
            file.read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, program);
        }
    }

    #[test]
    fn the_same_program_makes_the_same_zip_whenever_it_was_built() {
        let folder = tempfile::tempdir().unwrap();
        let [bootstrap, zip] = ["bootstrap", "products.zip"].map(|name| folder.path().join(name));
        fs::write(&bootstrap, "a program").unwrap();
        let mut zips = [0, 1_000_000_000].map(|age| {
            let time = SystemTime::now() - Duration::from_secs(age);
            let file = fs::File::options().write(true).open(&bootstrap).unwrap();
            file.set_times(FileTimes::new().set_modified(time)).unwrap();
            write(&bootstrap, &zip, Effort::Best).unwrap();
            fs::read(&zip).unwrap()
        });
        assert_eq!(zips[0], zips[1]);
        fs::write(&bootstrap, "another").unwrap();
        write(&bootstrap, &zip, Effort::Best).unwrap();
        zips[1] = fs::read(&zip).unwrap();
        assert_ne!(zips[0], zips[1]);
        // No time: the first that a zip can say.
        assert_eq!(zips[0][10..14], [0, 0, 0x21, 0], "modified");
    }
}
