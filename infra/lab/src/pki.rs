//! The certificates of a lab's control plane: a CA of its own and what it has signed.
//!
//! What is there is kept, so that a restarted control plane trusts the same clients. Private keys
//! are readable by their owner alone. The lab's CA signs nothing but the control plane of that lab;
//! agents have another one, kept by the operator.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use crate::cache::write_whole;

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Pki {
    pub ca: PathBuf,
    pub server: Pair,
    pub admin: Pair,
    pub controller_manager: Pair,
    /// The identity provider's, and the departments' API's.
    pub dex: Pair,
    pub api: Pair,
    /// The pair that signs service account tokens; the first is a bare public key.
    pub service_accounts: Pair,
}

impl Pki {
    /// Makes what is missing in `dir`. `server_names` are the names and addresses the API server is
    /// reached by.
    pub fn ensure(dir: &Path, server_names: &[String]) -> Result<Self> {
        let ca = Authority::ensure(dir)?;
        let local = ["localhost", "127.0.0.1"].map(str::to_owned);
        Ok(Self {
            ca: ca.pair.cert.clone(),
            server: ca.ensure_signed(dir, "server", "kube-apiserver", None, server_names)?,
            admin: ca.ensure_signed(dir, "admin", "lab-admin", Some("system:masters"), &[])?,
            controller_manager: ca.ensure_signed(
                dir,
                "controller-manager",
                "system:kube-controller-manager",
                None,
                &[],
            )?,
            dex: ca.ensure_signed(dir, "dex", "dex", None, &local)?,
            api: ca.ensure_signed(dir, "api", "dc-api", None, &local)?,
            service_accounts: ensure_token_keys(dir)?,
        })
    }
}

/// One more server's, with the CA that has signed it, which is made if it is not there.
pub fn ensure_server(
    dir: &Path,
    file: &str,
    name: &str,
    server_names: &[String],
) -> Result<(Pair, PathBuf)> {
    let ca = Authority::ensure(dir)?;
    let pair = ca.ensure_signed(dir, file, name, None, server_names)?;
    Ok((pair, ca.pair.cert))
}

struct Authority {
    pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn ensure(dir: &Path) -> Result<Self> {
        let pair = pair_in(dir, "ca");
        if !is_complete(&pair) {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::default();
            params.distinguished_name = subject("lab-ca", None);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            write_pair(&pair, &params.self_signed(&key)?.pem(), &key)?;
        }
        let read = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let key = KeyPair::from_pem(&read(&pair.key)?)?;
        let issuer = Issuer::from_ca_cert_pem(&read(&pair.cert)?, key)
            .with_context(|| format!("{} is damaged", pair.cert.display()))?;
        Ok(Self { pair, issuer })
    }

    fn ensure_signed(
        &self,
        dir: &Path,
        file: &str,
        name: &str,
        group: Option<&str>,
        server_names: &[String],
    ) -> Result<Pair> {
        let pair = pair_in(dir, file);
        if is_complete(&pair) {
            return Ok(pair);
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(server_names)?;
        params.distinguished_name = subject(name, group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = match server_names {
            [] => vec![ExtendedKeyUsagePurpose::ClientAuth],
            _ => vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        write_pair(&pair, &params.signed_by(&key, &self.issuer)?.pem(), &key)?;
        Ok(pair)
    }
}

fn ensure_token_keys(dir: &Path) -> Result<Pair> {
    let pair = Pair {
        cert: dir.join("service-accounts.pub"),
        key: dir.join("service-accounts.key"),
    };
    if !is_complete(&pair) {
        let key = KeyPair::generate()?;
        write_pair(&pair, &key.public_key_pem(), &key)?;
    }
    Ok(pair)
}

/// Kubernetes reads the user from the common name and its groups from the organisations.
fn subject(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject
}

fn pair_in(dir: &Path, name: &str) -> Pair {
    Pair {
        cert: dir.join(format!("{name}.crt")),
        key: dir.join(format!("{name}.key")),
    }
}

fn is_complete(pair: &Pair) -> bool {
    pair.cert.is_file() && pair.key.is_file()
}

fn write_pair(pair: &Pair, public: &str, key: &KeyPair) -> Result<()> {
    write_whole(&pair.key, key.serialize_pem().as_bytes())?;
    write_whole(&pair.cert, public.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_kept_and_only_what_is_missing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let pki = Pki::ensure(dir.path(), &names).unwrap();
        let (ca, admin) = (
            fs::read(&pki.ca).unwrap(),
            fs::read(&pki.admin.cert).unwrap(),
        );
        fs::remove_file(&pki.admin.key).unwrap();
        let again = Pki::ensure(dir.path(), &names).unwrap();
        assert_eq!(fs::read(&again.ca).unwrap(), ca);
        assert_ne!(
            fs::read(&again.admin.cert).unwrap(),
            admin,
            "its key was lost"
        );
    }
}
