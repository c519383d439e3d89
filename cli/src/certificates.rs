//! The mesh's certificate authority and the workloads' SPIFFE certificates.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::mesh::workload::ServiceAccount;
use crate::problem::Problem;
use crate::resources::is_kubernetes_name;

/// A certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// A certificate authority; ECDSA P-256, as Istio's.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Result<Self, Problem> {
        Self::with_key(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed(&error))?, None)
    }

    fn with_key(key: KeyPair, certificate: Option<String>) -> Result<Self, Problem> {
        let pem = key.serialize_pem();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "cluster.local");
        params.distinguished_name.push(DnType::CommonName, "Tollgate's local mesh CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid_for(&mut params, Duration::days(3650));
        let certificate = match certificate {
            Some(certificate) => certificate,
            None => params.self_signed(&key).map_err(|error| failed(&error))?.pem(),
        };
        Ok(Self { certificate, key: pem, issuer: Issuer::new(params, key) })
    }

    /// The one kept in a directory, or a new one kept there.
    pub fn kept_in(directory: &Path) -> Result<Self, Problem> {
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        if let (Ok(certificate), Ok(key)) = (fs::read_to_string(&certificate), fs::read_to_string(&key)) {
            let key = KeyPair::from_pem(&key).map_err(|error| {
                Problem::new(format!("{}/ca.key is no key: {error}", directory.display()))
                    .cure("remove ca.pem and ca.key there; a new authority is made")
            })?;
            return Self::with_key(key, Some(certificate));
        }
        let authority = Self::new()?;
        write_private(&certificate, &authority.certificate)?;
        write_private(&key, &authority.key)?;
        Ok(authority)
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a service account: exactly one URI SAN, as SPIFFE asks, and no subject, as Istio's.
    pub fn issue(&self, account: &ServiceAccount) -> Result<Leaf, Problem> {
        let id = account.spiffe_id();
        // They become file names, too.
        if !is_kubernetes_name(&account.namespace) || !is_kubernetes_name(&account.name) {
            return Err(Problem::new(format!("no certificate can be made out to {id:?}: not a Kubernetes name")));
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed(&error))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let uri = id
            .as_str()
            .try_into()
            .map_err(|error| Problem::new(format!("no certificate can be made out to {id:?}: {error}")))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, Duration::days(365));
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| failed(&error))?;
        Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// An hour's grace for clocks that are behind.
fn valid_for(params: &mut CertificateParams, duration: Duration) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now.checked_sub(Duration::hours(1)).unwrap_or(now);
    params.not_after = now.checked_add(duration).unwrap_or(now);
}

fn failed(error: &rcgen::Error) -> Problem {
    Problem::new(format!("can't make a certificate: {error}"))
}

/// The certificates of a mesh, in memory or in a directory.
pub struct Certificates {
    authority: Authority,
    directory: Option<PathBuf>,
    leaves: BTreeMap<ServiceAccount, Leaf>,
}

/// Paths of one service account's certificate and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Certificates {
    /// Certificates that are put into the configuration itself.
    pub fn inline() -> Result<Self, Problem> {
        Ok(Self { authority: Authority::new()?, directory: None, leaves: BTreeMap::new() })
    }

    /// Certificates kept in a directory: `ca.pem`, `certs/<namespace>/<service account>.pem` and `.key`.
    pub fn in_directory(directory: &Path) -> Result<Self, Problem> {
        let authority = Authority::kept_in(directory)?;
        Ok(Self { authority, directory: Some(directory.to_owned()), leaves: BTreeMap::new() })
    }

    /// Makes sure of certificates for all of these.
    pub fn issue<'a>(&mut self, accounts: impl IntoIterator<Item = &'a ServiceAccount>) -> Result<(), Problem> {
        for account in accounts {
            if self.leaves.contains_key(account) {
                continue;
            }
            let leaf = self.authority.issue(account)?;
            if let Some(files) = self.files(account) {
                write_private(&files.key, &leaf.key)?;
                write_private(&files.certificate, &leaf.certificate)?;
            }
            self.leaves.insert(account.clone(), leaf);
        }
        Ok(())
    }

    /// The authority's certificate, PEM.
    pub fn authority(&self) -> &str {
        self.authority.certificate()
    }

    /// The file with the authority's certificate.
    pub fn authority_file(&self) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join("ca.pem"))
    }

    /// An account's certificate, if it was issued.
    pub fn leaf(&self, account: &ServiceAccount) -> Option<&Leaf> {
        self.leaves.get(account)
    }

    /// Everybody who has one.
    pub fn accounts(&self) -> impl Iterator<Item = &ServiceAccount> {
        self.leaves.keys()
    }

    /// Where an account's certificate is kept.
    pub fn files(&self, account: &ServiceAccount) -> Option<Files> {
        let directory = self.directory.as_ref()?.join("certs").join(&account.namespace);
        Some(Files {
            certificate: directory.join(format!("{}.pem", account.name)),
            key: directory.join(format!("{}.key", account.name)),
        })
    }
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) -> Result<(), Problem> {
    let write = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|error| Problem::new(format!("can't write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn certificates_are_kept_privately_and_the_authority_is_kept_on() {
        let directory = tempfile::tempdir().unwrap();
        let account = ServiceAccount::new("prod", "users");
        let mut certificates = Certificates::in_directory(directory.path()).unwrap();
        certificates.issue([&account]).unwrap();
        let files = certificates.files(&account).unwrap();
        assert_eq!(files.certificate, directory.path().join("certs/prod/users.pem"));
        assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Certificates::in_directory(directory.path()).unwrap();
        assert_eq!(again.authority(), certificates.authority());
    }
}
