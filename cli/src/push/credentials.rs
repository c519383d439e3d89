//! Who pushes: a name and a password given here, else what `docker login` or `podman login` left behind.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;

use crate::args::image::RegistryArguments;
use crate::problem::Problem;

/// What Docker calls its own registry in its configuration.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Who pushes, and where that is from.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// What is sent to the registry.
    pub auth: RegistryAuth,
    /// Where it is from, for people.
    pub origin: &'static str,
}

impl Credentials {
    /// Looks for them.
    pub fn find(registry: &str, arguments: &RegistryArguments) -> Result<Self, Problem> {
        if let Some(name) = &arguments.username {
            let auth = RegistryAuth::Basic(name.clone(), password()?);
            return Ok(Self { auth, origin: "the command line" });
        }
        let server = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
        let stored: [(_, fn(&str) -> _, _); 2] = [
            (docker_configuration(), docker_credential::get_credential, "docker's configuration"),
            (podman_configuration(), docker_credential::get_podman_credential, "podman's configuration"),
        ];
        for (file, credential, origin) in stored {
            if let Some(file) = file.filter(|file| file.is_file())
                && let Some(auth) = of(credential(server), &file)?
            {
                return Ok(Self { auth, origin });
            }
        }
        Ok(Self { auth: RegistryAuth::Anonymous, origin: "nobody" })
    }
}

fn password() -> Result<String, Problem> {
    let mut password = String::new();
    std::io::stdin()
        .read_to_string(&mut password)
        .map_err(|error| Problem::new(format!("can't read the password from standard input: {error}")))?;
    let password = password.strip_suffix('\n').unwrap_or(&password);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(Problem::new("the password on standard input is empty"));
    }
    Ok(password.to_owned())
}

/// None where a file has nothing for this registry.
fn of(found: Result<DockerCredential, CredentialRetrievalError>, file: &Path) -> Result<Option<RegistryAuth>, Problem> {
    let wrong = |reason: String| Problem::new(format!("{}: {reason}", file.display()));
    match found {
        Ok(DockerCredential::UsernamePassword(name, password)) => Ok(Some(RegistryAuth::Basic(name, password))),
        Ok(DockerCredential::IdentityToken(_)) => {
            Err(wrong("has an identity token for this registry, which can't be used to push here".to_owned())
                .cure("give a name and a password or access token: --username NAME --password-stdin"))
        }
        Err(CredentialRetrievalError::NoCredentialConfigured | CredentialRetrievalError::ConfigNotFound) => Ok(None),
        // What every helper of Docker's says when it has nothing for a registry.
        Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => {
            Ok(None)
        }
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, stderr }) => {
            Err(wrong(format!("{helper} failed: {}", [stdout.trim(), stderr.trim()].join(" ").trim())))
        }
        Err(CredentialRetrievalError::HelperCommunicationError) => {
            Err(wrong("names a credential helper that can't be run".to_owned())
                .cure("install docker-credential-NAME on PATH, or give --username NAME --password-stdin"))
        }
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn docker_configuration() -> Option<PathBuf> {
    let directory = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")))?;
    Some(directory.join("config.json"))
}

/// The first of the places where podman looks that has a file, as `docker_credential` reads it.
fn podman_configuration() -> Option<PathBuf> {
    let runtime = || set("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json"));
    set("REGISTRY_AUTH_FILE").or_else(runtime)
}

fn set(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(stdout: &str) -> Result<DockerCredential, CredentialRetrievalError> {
        let helper = "docker-credential-pass".to_owned();
        Err(CredentialRetrievalError::HelperFailure { helper, stdout: stdout.to_owned(), stderr: "exit 1".to_owned() })
    }

    #[test]
    fn a_helper_that_has_nothing_is_no_error_and_one_that_fails_is_named() {
        let file = Path::new("config.json");
        assert_eq!(of(failure("credentials not found in native keychain"), file), Ok(None));
        let error = of(failure("no such wallet"), file).unwrap_err().to_string();
        assert!(error.contains("docker-credential-pass failed: no such wallet exit 1"), "{error}");
    }

    #[test]
    fn an_identity_token_is_refused_with_what_to_do() {
        let error = of(Ok(DockerCredential::IdentityToken("x".into())), Path::new("c")).unwrap_err();
        assert!(error.cure.unwrap().contains("--password-stdin"));
    }
}
