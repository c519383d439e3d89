//! An image on disk, in the OCI image layout, as a directory or as one tar file.

use std::io;
use std::path::Path;

use serde_json::json;

use super::{Blob, Image, layer};
use crate::problem::{Origin, Problem};

const MARKER: &str = "oci-layout";

/// Writes the image: to a tar file when the name ends so, else to a directory. A layout that is already there is
/// replaced; a directory with anything else in it is left alone.
pub fn write(image: &Image, to: &Path) -> Result<(), Problem> {
    let failed = |error: io::Error| Problem::at(&Origin::file(to.display().to_string()), "", error.to_string());
    if to.extension().is_some_and(|extension| extension == "tar") {
        let files = files(image);
        let archive = layer::archive(files.iter().map(|(name, bytes)| (name.clone(), bytes.as_slice())));
        return archive.and_then(|bytes| replace(to, &bytes)).map_err(failed);
    }
    if !is_free(to).map_err(failed)? {
        return Err(Problem::at(&Origin::file(to.display().to_string()), "", "has other things in it")
            .cure("name a new or empty directory, or a file that ends in .tar"));
    }
    for (name, bytes) in files(image) {
        let path = to.join(name);
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| replace(&path, &bytes)).map_err(failed)?;
    }
    Ok(())
}

/// All files of the layout by their names, the index last: a layout is complete when it is there.
fn files(image: &Image) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![(MARKER.to_owned(), json!({ "imageLayoutVersion": "1.0.0" }).to_string().into_bytes())];
    let blobs = image.blobs.iter().chain([&image.manifest]);
    files.extend(blobs.map(|blob| (path(blob), blob.bytes.to_vec())));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [image.manifest.descriptor(None)],
    });
    files.push(("index.json".to_owned(), index.to_string().into_bytes()));
    files
}

fn path(blob: &Blob) -> String {
    format!("blobs/{}", blob.digest.replacen(':', "/", 1))
}

fn is_free(directory: &Path) -> io::Result<bool> {
    if directory.join(MARKER).is_file() {
        return Ok(true);
    }
    match std::fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Writes beside the file and renames, so that nobody ever reads half of it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut staged = tempfile::Builder::new().prefix(".tollgate-").tempfile_in(directory)?;
    io::Write::write_all(&mut staged, bytes)?;
    let permissions = match std::fs::metadata(path) {
        Ok(metadata) => metadata.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    staged.as_file().set_permissions(permissions)?;
    staged.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::args::image::ImageForm;

    fn image() -> Image {
        Image::pack(b"\0asm\x01\0\0\0", ImageForm::Layer, &BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_directory_is_written_twice_to_the_same_bytes() {
        let home = tempfile::tempdir().unwrap();
        let to = home.path().join("image");
        write(&image(), &to).unwrap();
        let index = std::fs::read(to.join("index.json")).unwrap();
        write(&image(), &to).unwrap();
        assert_eq!(std::fs::read(to.join("index.json")).unwrap(), index);
        for (name, bytes) in files(&image()) {
            assert_eq!(std::fs::read(to.join(name)).unwrap(), bytes);
        }
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("precious"), "").unwrap();
        let error = write(&image(), home.path()).unwrap_err().to_string();
        assert!(error.contains("has other things in it"), "{error}");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_tar_file_has_the_files_of_the_layout() {
        let home = tempfile::tempdir().unwrap();
        let to = home.path().join("image.tar");
        write(&image(), &to).unwrap();
        let mut archive = tar::Archive::new(std::fs::File::open(&to).unwrap());
        let names: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, files(&image()).into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    }
}
