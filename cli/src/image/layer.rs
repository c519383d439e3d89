//! The one layer of an image: a gzipped tar archive with `plugin.wasm` in it.

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};

/// The archive, and the same compressed. Owner, times and the header of gzip are fixed.
pub(super) fn plugin(module: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let tar = archive([("plugin.wasm".to_owned(), module)])?;
    // Operating system 255 is "unknown"; the time is none.
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    gzip.write_all(&tar)?;
    let compressed = gzip.finish()?;
    Ok((tar, compressed))
}

/// A tar archive of these files, in this order, that nobody owns and that have no time.
pub(super) fn archive<'a>(files: impl IntoIterator<Item = (String, &'a [u8])>) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, name, bytes)?;
    }
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_module_comes_out_as_it_went_in() {
        let (_, compressed) = plugin(b"a module").unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(compressed.as_slice()));
        let mut entries = archive.entries().unwrap();
        let mut entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("plugin.wasm"));
        assert_eq!(entry.header().mtime().unwrap(), 0);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"a module");
        assert!(entries.next().is_none());
    }
}
