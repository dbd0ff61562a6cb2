//! Container images made from programs on this machine, in the archive format that `docker save` writes.
//!
//! There is no registry to pull from: `ctr images import` takes such an archive, with its full reference.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::command::output;

const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const PASSWD: &str =
    "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";

/// What one image is made of.
#[derive(Debug, Clone)]
pub struct Image {
    /// Full reference, such as `ghcr.io/modelgate/operator:0.1.0`.
    pub reference: String,
    /// Programs and where they lie in the image; the first is the entrypoint.
    pub programs: Vec<(PathBuf, String)>,
    /// `user` or `user:group`.
    pub user: String,
    /// Data files and where they lie in the image.
    pub files: Vec<(PathBuf, String)>,
}

impl Image {
    /// An image of one program at `/usr/local/bin`, run as user 65532.
    #[must_use]
    pub fn of_program(reference: &str, program: &Path) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::of_program_at(reference, program, &format!("/usr/local/bin/{name}"))
    }

    /// An image of one program at a path of its own.
    #[must_use]
    pub fn of_program_at(reference: &str, program: &Path, inside: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            programs: vec![(program.to_path_buf(), inside.to_owned())],
            user: "65532:65532".to_owned(),
            files: Vec::new(),
        }
    }

    /// Writes the archive: one layer with the programs, the shared libraries they need, certificates of the
    /// public authorities, a user database and a writable `/tmp`.
    ///
    /// # Errors
    /// When a file cannot be read, a library is not found, or the archive cannot be written.
    pub fn write(&self, archive: &Path) -> Result<()> {
        let entrypoint = self.programs.first().context("an image needs a program")?.1.clone();
        let folder = archive.parent().context("an archive lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut layer = tempfile::NamedTempFile::new_in(folder)?;
        let layer_digest = self.write_layer(layer.as_file_mut())?;

        let config = json!({
            "architecture": architecture()?, "os": "linux",
            "config": {
                "Entrypoint": [entrypoint], "User": self.user, "WorkingDir": "/",
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
            "history": [{"created_by": "testkit"}],
        })
        .to_string();
        let config_name = format!("{}.json", hex(&Sha256::digest(config.as_bytes())));
        let layer_name = format!("{layer_digest}.tar");
        let manifest = json!([{"Config": config_name, "RepoTags": [self.reference], "Layers": [layer_name]}])
            .to_string();

        let mut whole = tempfile::NamedTempFile::new_in(folder)?;
        let mut tar = tar::Builder::new(whole.as_file_mut());
        append_bytes(&mut tar, &config_name, config.as_bytes(), 0o644)?;
        let file = std::fs::File::open(layer.path())?;
        let length = file.metadata()?.len();
        tar.append_data(&mut header(length, 0o644, tar::EntryType::Regular), &layer_name, file)?;
        append_bytes(&mut tar, "manifest.json", manifest.as_bytes(), 0o644)?;
        tar.into_inner()?.flush()?;
        whole.persist(archive).with_context(|| format!("cannot write {}", archive.display()))?;
        Ok(())
    }

    fn write_layer(&self, to: &mut std::fs::File) -> Result<String> {
        let mut hashing = Hashing { inner: to, hash: Sha256::new() };
        let mut tar = tar::Builder::new(&mut hashing);
        tar.append_data(&mut header(0, 0o1777, tar::EntryType::Directory), "tmp/", std::io::empty())?;
        append_bytes(&mut tar, "etc/passwd", PASSWD.as_bytes(), 0o644)?;
        append_bytes(&mut tar, "etc/group", GROUP.as_bytes(), 0o644)?;
        if let Ok(bundle) = std::fs::read(CA_BUNDLE) {
            append_bytes(&mut tar, CA_BUNDLE, &bundle, 0o644)?;
        }
        let mut libraries = BTreeSet::new();
        for (program, inside) in &self.programs {
            append_file(&mut tar, program, inside)?;
            libraries.extend(shared_libraries(program)?);
        }
        for library in libraries {
            append_file(&mut tar, &library, &library.to_string_lossy())?;
        }
        for (file, inside) in &self.files {
            append_file(&mut tar, file, inside)?;
        }
        tar.into_inner()?.flush()?;
        Ok(hex(&hashing.hash.finalize()))
    }
}

/// The libraries that the dynamic linker would load, the linker itself included; none for a static program.
///
/// # Errors
/// When a library is missing on this machine, which would make an image that cannot start.
pub fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listing = output(Command::new("ldd").arg(program), None, Duration::from_secs(30));
    match listing {
        Ok(text) => parse_ldd(&text).with_context(|| format!("libraries of {}", program.display())),
        Err(error) if format!("{error:#}").contains("not a dynamic executable") => Ok(Vec::new()),
        Err(error) => Err(error.context(format!("libraries of {}", program.display()))),
    }
}

fn parse_ldd(text: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.contains("=> not found") {
            bail!("{line}");
        }
        // "libc.so.6 => /lib/…/libc.so.6 (0x…)" or "/lib64/ld-linux-x86-64.so.2 (0x…)"; the vdso has no path.
        let path = line.split("=> ").last().and_then(|rest| rest.split(" (").next()).unwrap_or_default();
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no image architecture is known for {other}"),
    }
}

fn header(length: u64, mode: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(mode);
    header.set_entry_type(kind);
    // No time and no owner of this machine: the same inputs make the same image.
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append_bytes<W: Write>(tar: &mut tar::Builder<W>, inside: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let mut header = header(bytes.len() as u64, mode, tar::EntryType::Regular);
    tar.append_data(&mut header, inside.trim_start_matches('/'), bytes)
        .with_context(|| format!("cannot add {inside}"))
}

fn append_file<W: Write>(tar: &mut tar::Builder<W>, from: &Path, inside: &str) -> Result<()> {
    let file = std::fs::File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let meta = file.metadata()?;
    let executable = meta.permissions().mode() & 0o111 != 0;
    let mut header = header(meta.len(), if executable { 0o755 } else { 0o644 }, tar::EntryType::Regular);
    tar.append_data(&mut header, inside.trim_start_matches('/'), file)
        .with_context(|| format!("cannot add {}", from.display()))
}

struct Hashing<'a> {
    inner: &'a mut std::fs::File,
    hash: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When the file cannot be read.
pub fn file_digest(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(archive: &Path) -> Vec<(String, u32, Vec<u8>)> {
        let mut tar = tar::Archive::new(std::fs::File::open(archive).unwrap());
        tar.entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let name = entry.path().unwrap().to_string_lossy().into_owned();
                let mode = entry.header().mode().unwrap();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                (name, mode, bytes)
            })
            .collect()
    }

    #[test]
    fn an_archive_holds_a_config_a_layer_with_its_digest_and_a_manifest_that_names_both() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("image.tar");
        let program = std::env::current_exe().unwrap();
        let mut image = Image::of_program_at("registry.test/a/b:1.0", &program, "/usr/local/bin/server");
        let notes = folder.path().join("notes.txt");
        std::fs::write(&notes, "a file of no program").unwrap();
        image.files.push((notes, "/srv/notes.txt".to_owned()));
        image.write(&archive).unwrap();

        let parts = entries(&archive);
        let part =
            |name: &str| parts.iter().find(|(n, ..)| n == name).map(|(.., bytes)| bytes.clone()).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&part("manifest.json")).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "registry.test/a/b:1.0");
        let config: serde_json::Value =
            serde_json::from_slice(&part(manifest[0]["Config"].as_str().unwrap())).unwrap();
        assert_eq!(config["config"]["Entrypoint"][0], "/usr/local/bin/server");
        let layer = part(manifest[0]["Layers"][0].as_str().unwrap());
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&Sha256::digest(&layer))));

        let layer_file = folder.path().join("layer.tar");
        std::fs::write(&layer_file, layer).unwrap();
        let files = entries(&layer_file);
        let mode = |name: &str| files.iter().find(|(n, ..)| n == name).map(|(_, mode, _)| *mode);
        assert_eq!(mode("usr/local/bin/server"), Some(0o755));
        assert_eq!(mode("srv/notes.txt"), Some(0o644));
        assert_eq!(mode("tmp/"), Some(0o1777));
        assert!(files.iter().any(|(name, ..)| name.contains("libc.so")), "a test binary needs libc");
    }

    #[test]
    fn the_same_inputs_make_the_same_archive() {
        let folder = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        let image = Image::of_program("registry.test/a:1", &program);
        image.write(&folder.path().join("one.tar")).unwrap();
        image.write(&folder.path().join("two.tar")).unwrap();
        let digest = |name: &str| file_digest(&folder.path().join(name)).unwrap();
        assert_eq!(digest("one.tar"), digest("two.tar"));
    }

    #[test]
    fn a_missing_library_is_an_error_and_the_vdso_is_none() {
        let listing =
            "\tlinux-vdso.so.1 (0x0)\n\tlibm.so.6 => /lib/libm.so.6 (0x7f)\n\t/lib64/ld.so.2 (0x7f)\n";
        let expected: Vec<PathBuf> = ["/lib/libm.so.6", "/lib64/ld.so.2"].map(PathBuf::from).into();
        assert_eq!(parse_ldd(listing).unwrap(), expected);
        assert!(parse_ldd("\tlibgomp.so.1 => not found\n").is_err());
    }
}
