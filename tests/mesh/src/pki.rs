//! Certificates of the Kubernetes control plane, and the key that signs tokens.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;

/// The cluster's authority, and a directory for what it issues.
pub struct Pki {
    directory: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// A new authority, and the key that signs tokens in `service-account.key` and `.pub`.
    pub fn new(directory: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = named("cluster", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let pki = Self { directory: directory.to_owned(), certificate, issuer: Issuer::new(params, key) };
        pki.write("ca.crt", &pki.certificate);
        pki.write("ca.key", &pki.issuer.key().serialize_pem());
        let tokens = KeyPair::generate().expect("a key");
        pki.write("service-account.key", &tokens.serialize_pem());
        pki.write("service-account.pub", &tokens.public_key_pem());
        pki
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("writable");
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The API server's certificate, in `api.crt` and `api.key`.
    pub fn issue_server(&self, addresses: &[Ipv4Addr]) {
        let mut params = named("kube-apiserver", None);
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        params.subject_alt_names = names.map(|name| SanType::DnsName(name.try_into().expect("ASCII"))).to_vec();
        params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(IpAddr::V4(*address))));
        let (certificate, key) = self.issue(&params);
        self.write("api.crt", &certificate);
        self.write("api.key", &key);
    }

    fn issue(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key.serialize_pem())
    }

    /// Configuration of a client with a certificate, in `NAME.kubeconfig`.
    pub fn kubeconfig_with_certificate(&self, name: &str, server: &str, user: &str, group: Option<&str>) -> PathBuf {
        let mut params = named(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = self.issue(&params);
        self.kubeconfig(
            name,
            server,
            &json!({
                "client-certificate-data": BASE64.encode(certificate.as_bytes()),
                "client-key-data": BASE64.encode(key.as_bytes()),
            }),
        )
    }

    /// Configuration of a client with a token.
    pub fn kubeconfig_with_token(&self, name: &str, server: &str, token: &str) -> PathBuf {
        self.kubeconfig(name, server, &json!({ "token": token }))
    }

    fn kubeconfig(&self, name: &str, server: &str, user: &serde_json::Value) -> PathBuf {
        let configuration = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "mesh",
            "clusters": [{ "name": "mesh", "cluster": {
                "server": server,
                "certificate-authority-data": BASE64.encode(self.certificate.as_bytes()),
            } }],
            "users": [{ "name": name, "user": user }],
            "contexts": [{ "name": "mesh", "context": { "cluster": "mesh", "user": name } }],
        });
        let file = format!("{name}.kubeconfig");
        self.write(&file, &configuration.to_string());
        self.path(&file)
    }
}

fn named(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params
}
