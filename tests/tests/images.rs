//! `tollgate package` and `tollgate push` against a real registry, checked with crane.

use std::{
    io::{Read as _, Write as _},
    net::IpAddr,
    path::Path,
    process::{Command, Output, Stdio},
};

use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tollgate_cli::certificates::Leaf;
use tollgate_tests::{
    artifacts,
    registry::{Options, PASSWORD, Registry, USER, crane, free_address, manifest},
};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const WASM: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// A home without any credentials but those that a test puts there.
fn home() -> TempDir {
    tempfile::tempdir().expect("a directory for temporary files")
}

fn tollgate(home: &Path) -> Command {
    let mut command = Command::new(artifacts::tollgate());
    command.env_clear().env("HOME", home).env("DOCKER_CONFIG", home).stdin(Stdio::null());
    command
}

fn module() -> String {
    artifacts::module("rate-limit").display().to_string()
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    tollgate(home).args(arguments).output().expect("tollgate runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it prints when all went well.
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// What it says when it did not.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The module in the one layer of an image.
fn unpacked(layer: &[u8]) -> Vec<u8> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer));
    let mut entry = archive.entries().expect("an archive").next().expect("one file").expect("readable");
    assert_eq!(entry.path().expect("a name").to_str(), Some("plugin.wasm"));
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).expect("readable");
    bytes
}

#[tokio::test]
async fn a_pushed_module_comes_back_as_it_was_in_either_form() {
    let (registry, home) = (Registry::start(&Options::default()).await, home());
    let module = module();
    for (form, media_type) in [("layer", LAYER), ("artifact", WASM)] {
        let reference = format!("{}/team/{form}:1", registry.address());
        let push = ["push", &module, &reference, "--form", form, "--plain-http", "-o", "json"];
        let report: Value = serde_json::from_str(&done(&run(home.path(), &push))).expect("JSON");

        let digest = text(&crane(home.path(), &["digest", &reference]));
        assert_eq!(report["digest"], digest.trim());
        assert_eq!(report["url"], format!("oci://{reference}"));
        let manifest = manifest(home.path(), &reference);
        assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], "rate-limit");
        assert_eq!(manifest["annotations"]["org.opencontainers.image.licenses"], "Apache-2.0");
        let layers = manifest["layers"].as_array().expect("layers");
        assert_eq!(layers.len(), if form == "layer" { 1 } else { 2 });
        let layer = layers.iter().find(|layer| layer["mediaType"] == media_type).expect("the module's layer");
        let blob = format!("{}/team/{form}@{}", registry.address(), layer["digest"].as_str().expect("a digest"));
        let blob = crane(home.path(), &["blob", &blob]);
        let pulled = if form == "layer" { unpacked(&blob) } else { blob };
        assert_eq!(pulled, std::fs::read(&module).expect("the module"));
        assert_eq!(report["moduleSha256"], sha256(&pulled));

        let again: Value = serde_json::from_str(&done(&run(home.path(), &push))).expect("JSON");
        assert_eq!(again["digest"], report["digest"]);
        assert!(again["bytesSent"].as_u64() < Some(2_000), "the blobs were there: {again}");
        assert!(report["bytesSent"].as_u64() > Some(50_000), "{report}");
    }
}

#[tokio::test]
async fn a_digest_is_pushed_only_where_the_module_has_it() {
    let (registry, home) = (Registry::start(&Options::default()).await, home());
    let module = module();
    let digest = done(&run(home.path(), &["package", &module]));
    let reference = format!("{}/a@{digest}", registry.address());
    assert_eq!(done(&run(home.path(), &["push", &module, &reference, "--plain-http"])), digest);
    assert_eq!(text(&crane(home.path(), &["digest", &reference])).trim(), digest);

    let other = format!("{}/b@sha256:{}", registry.address(), "0".repeat(64));
    let said = refused(&run(home.path(), &["push", &module, &other, "--plain-http"]));
    assert!(said.contains(&digest), "{said}");
    let catalog = text(&crane(home.path(), &["catalog", &registry.address().to_string()]));
    assert_eq!(catalog.trim(), "a");
}

#[tokio::test]
async fn crane_reads_what_package_writes() {
    let (registry, home) = (Registry::start(&Options::default()).await, home());
    let (directory, tar) = (home.path().join("image"), home.path().join("image.tar"));
    let (directory, tar) = (directory.display().to_string(), tar.display().to_string());
    let digest = done(&run(home.path(), &["package", &module(), "--to", &directory]));
    assert_eq!(done(&run(home.path(), &["package", &module(), "--to", &tar])), digest);

    let reference = format!("{}/a:1", registry.address());
    crane(home.path(), &["push", &directory, &reference]);
    assert_eq!(text(&crane(home.path(), &["digest", &reference])).trim(), digest);
    let unpacked = home.path().join("unpacked");
    tar::Archive::new(std::fs::File::open(&tar).expect("written")).unpack(&unpacked).expect("a tar file");
    let reference = format!("{}/a:2", registry.address());
    crane(home.path(), &["push", &unpacked.display().to_string(), &reference]);
    assert_eq!(text(&crane(home.path(), &["digest", &reference])).trim(), digest);
}

#[tokio::test]
async fn a_registry_with_passwords_takes_them_from_wherever_users_keep_them() {
    let registry = Registry::start(&Options { password: true, ..Options::default() }).await;
    let server = registry.address().to_string();
    let (reference, module) = (format!("{server}/a:1"), module());
    let push = ["push", module.as_str(), &reference, "--plain-http"];

    let nobody = home();
    let said = refused(&run(nobody.path(), &push));
    assert!(said.contains("no credentials were found") && said.contains("docker login"), "{said}");

    let typed = |password: &str| {
        let mut process = tollgate(nobody.path())
            .args(push)
            .args(["--username", USER, "--password-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tollgate runs");
        process.stdin.take().expect("piped").write_all(password.as_bytes()).expect("it reads");
        process.wait_with_output().expect("it ends")
    };
    let said = refused(&typed("wrong\n"));
    assert!(said.contains("does not let the user of the command line push"), "{said}");
    let digest = done(&typed(&format!("{PASSWORD}\n")));

    let file = home();
    let auth = data_encoding::BASE64.encode(format!("{USER}:{PASSWORD}").as_bytes());
    let configuration = serde_json::json!({ "auths": { &server: { "auth": auth } } });
    std::fs::write(file.path().join("config.json"), configuration.to_string()).expect("writable");
    assert_eq!(done(&run(file.path(), &push)), digest);
    assert_eq!(text(&crane(file.path(), &["digest", &reference])).trim(), digest);

    let helped = home();
    let configuration = serde_json::json!({ "credHelpers": { &server: "test" } });
    std::fs::write(helped.path().join("config.json"), configuration.to_string()).expect("writable");
    let helper = helped.path().join("docker-credential-test");
    let script = format!("#!/bin/sh\ncat > /dev/null\necho '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n");
    std::fs::write(&helper, script).expect("writable");
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let path = format!("{}:/usr/bin:/bin", helped.path().display());
    assert_eq!(done(&tollgate(helped.path()).args(push).env("PATH", path).output().expect("runs")), digest);
}

#[tokio::test]
async fn a_registry_that_is_away_for_a_moment_is_waited_for_and_one_that_stays_away_is_an_error() {
    let (address, home) = (free_address(), home());
    let reference = format!("{address}/a:1");
    let module = module();
    let said = refused(&run(home.path(), &["push", &module, &reference, "--plain-http", "--retries", "1"]));
    assert_eq!(said.matches("trying again").count(), 1, "{said}");
    assert!(said.contains("Connection refused") && said.contains("can be reached"), "{said}");

    let waiting = tollgate(home.path())
        .args(["push", &module, &reference, "--plain-http", "--retries", "8"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tollgate runs");
    let _registry = Registry::start(&Options { address: Some(address), ..Options::default() }).await;
    let output = tokio::task::spawn_blocking(|| waiting.wait_with_output()).await.expect("no panic").expect("ends");
    assert!(done(&output).starts_with("sha256:"));
}

#[tokio::test]
async fn tls_is_verified_unless_told_otherwise() {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress(IpAddr::from([127, 0, 0, 1]))];
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let leaf = Leaf { certificate: certificate.clone(), key: key.serialize_pem() };
    let (registry, home) = (Registry::start(&Options { certificate: Some(leaf), ..Options::default() }).await, home());
    let (reference, module) = (format!("{}/a:1", registry.address()), module());
    let authority = home.path().join("authority.pem");
    std::fs::write(&authority, certificate).expect("writable");

    let said = refused(&run(home.path(), &["push", &module, &reference]));
    assert!(said.contains("certificate") && said.contains("--ca-cert"), "{said}");
    assert!(!said.contains("trying again"), "{said}");
    let trusted = run(home.path(), &["push", &module, &reference, "--ca-cert", &authority.display().to_string()]);
    assert_eq!(done(&trusted), done(&run(home.path(), &["push", &module, &reference, "--insecure"])));

    let plain = Registry::start(&Options::default()).await;
    let said = refused(&run(home.path(), &["push", &module, &format!("{}/a:1", plain.address())]));
    assert!(said.contains("--plain-http"), "{said}");
}

#[tokio::test]
async fn update_writes_the_url_and_the_digest_and_nothing_else() {
    let (registry, home) = (Registry::start(&Options::default()).await, home());
    let base = artifacts::project().join("istio/base");
    let copy = home.path().join("base");
    std::fs::create_dir(&copy).expect("writable");
    for entry in std::fs::read_dir(&base).expect("the base") {
        let path = entry.expect("readable").path();
        std::fs::copy(&path, copy.join(path.file_name().expect("a name"))).expect("copied");
    }
    let reference = format!("{}/own/rate-limit:2", registry.address());
    let directory = copy.display().to_string();
    let push = ["push", &module(), &reference, "--plain-http", "--update", &directory];
    let digest = done(&run(home.path(), &push));

    for entry in std::fs::read_dir(&base).expect("the base") {
        let path = entry.expect("readable").path();
        let before = std::fs::read_to_string(&path).expect("text");
        let after = std::fs::read_to_string(copy.join(path.file_name().expect("a name"))).expect("text");
        let changed: Vec<_> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
        if path.ends_with("rate-limit.yaml") {
            let sha256 = digest.strip_prefix("sha256:").expect("a digest");
            assert_eq!(changed, [format!("  url: oci://{reference}"), format!("  sha256: {sha256}")]);
        } else {
            assert_eq!(after, before, "{}", path.display());
        }
    }

    let none = home.path().join("none");
    std::fs::create_dir(&none).expect("writable");
    let reference = format!("{}/own/unseen:1", registry.address());
    let push = ["push", &module(), &reference, "--plain-http", "--update", &none.display().to_string()];
    let said = refused(&run(home.path(), &push));
    assert!(said.contains("no WasmPlugin in its files"), "{said}");
    let catalog = text(&crane(home.path(), &["catalog", &registry.address().to_string()]));
    assert!(!catalog.contains("unseen"), "nothing is pushed when the manifests can't be written: {catalog}");
}

#[test]
fn what_is_no_module_is_never_packed() {
    let home = home();
    let path = home.path().join("not-a-module.wasm");
    for content in [&b""[..], b"\0asm\x01\0\0\0\x01", b"plain text"] {
        std::fs::write(&path, content).expect("writable");
        let said = refused(&run(home.path(), &["package", &path.display().to_string()]));
        assert!(said.contains("is not a valid Wasm module"), "{said}");
    }
}
