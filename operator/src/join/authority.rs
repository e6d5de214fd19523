//! The agents' certificate authority: signs hosts and operators, and nobody else is believed.
//!
//! A host's certificate carries its name as common name; what a request asks for besides its key is
//! ignored. That a certificate is the host's latest is for the ledger to say, not for the
//! signature.

use std::time::{Duration, SystemTime};

use dc_types::HostName;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// As long as the machines it is for.
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);

/// A host is renewed at two thirds of this, so one that was off for a month comes back by itself.
pub const HOST_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// An operator makes itself a new one at every start, and starts anew before it ends.
pub const OPERATOR_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// Clocks of a data centre may differ by this much.
const CLOCK_SLACK: Duration = Duration::from_secs(300);

#[derive(Debug, Error)]
pub enum AuthorityError {
    #[error("the agents' authority cannot be read or made: check Secret dc-agent-ca")]
    Authority(#[source] rcgen::Error),
    #[error("the certificate request is not a PKCS #10 in PEM, or its signature is wrong")]
    Request(#[source] rcgen::Error),
    #[error("the certificate cannot be signed")]
    Sign(#[source] rcgen::Error),
    #[error("the peer's certificate does not name a host")]
    NoHost,
}

/// A certificate that was signed.
#[derive(Clone, Debug)]
pub struct Issued {
    pub pem: String,
    pub fingerprint: String,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// Certificate and key of an operator, for its server.
#[derive(Clone)]
pub struct ServerIdentity {
    pub certificate_pem: String,
    pub key_pem: String,
}

pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority: certificate and key in PEM, to be kept.
    pub fn generate(cluster: &str, now: SystemTime) -> Result<(String, String), AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Authority)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("dc agents of {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - CLOCK_SLACK).into();
        params.not_after = (now + AUTHORITY_LIFE).into();
        let certificate = params
            .self_signed(&key)
            .map_err(AuthorityError::Authority)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key).map_err(AuthorityError::Authority)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key);
        Ok(Self {
            certificate_pem: certificate.to_owned(),
            issuer: issuer.map_err(AuthorityError::Authority)?,
        })
    }

    /// What agents and operators verify each other against.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Signs a host's request. Its key must be in it; its name is ours to say.
    pub fn sign_host(
        &self,
        host: &HostName,
        request_pem: &str,
        now: SystemTime,
        life: Duration,
    ) -> Result<Issued, AuthorityError> {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)
            .map_err(AuthorityError::Request)?;
        let not_after = now + life;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(host.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = (now - CLOCK_SLACK).into();
        params.not_after = not_after.into();
        request.params = params;
        let certificate = request.signed_by(&self.issuer);
        let certificate = certificate.map_err(AuthorityError::Sign)?;
        Ok(Issued {
            pem: certificate.pem(),
            fingerprint: fingerprint(certificate.der()),
            not_after: unix(not_after),
        })
    }

    /// A certificate for an operator that is reached under these names or addresses.
    pub fn sign_operator(
        &self,
        names: &[String],
        now: SystemTime,
    ) -> Result<ServerIdentity, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Sign)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named("dc-operator");
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into().map_err(AuthorityError::Sign)?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = (now - CLOCK_SLACK).into();
        params.not_after = (now + OPERATOR_LIFE).into();
        let certificate = params.signed_by(&key, &self.issuer);
        Ok(ServerIdentity {
            certificate_pem: certificate.map_err(AuthorityError::Sign)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// The host that a verified certificate (DER) names.
pub fn host_of_certificate(der: &[u8]) -> Result<HostName, AuthorityError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| AuthorityError::NoHost)?;
    let mut names = certificate.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(AuthorityError::NoHost);
    };
    let name = name.as_str().map_err(|_| AuthorityError::NoHost)?;
    HostName::new(name).map_err(|_| AuthorityError::NoHost)
}

/// When a certificate (DER) ends, seconds since 1970.
pub fn end_of_certificate(der: &[u8]) -> Result<i64, AuthorityError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| AuthorityError::NoHost)?;
    Ok(certificate.validity().not_after.timestamp())
}

/// SHA-256 of a certificate's DER form.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    hex::encode(Sha256::digest(der))
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> Authority {
        let (certificate, key) = Authority::generate("test", SystemTime::now()).unwrap();
        Authority::from_pem(&certificate, &key).unwrap()
    }

    fn request(name: &str) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        let key = KeyPair::generate().unwrap();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    fn der(pem: &str) -> Vec<u8> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        pem.contents
    }

    #[test]
    fn the_certificate_names_the_host_whatever_the_request_says() {
        let host = HostName::new("h1").unwrap();
        let now = SystemTime::now();
        let issued = authority().sign_host(&host, &request("h2"), now, HOST_LIFE);
        let issued = issued.unwrap();
        let der = der(&issued.pem);
        assert_eq!(host_of_certificate(&der).unwrap(), host);
        assert_eq!(fingerprint(&der), issued.fingerprint);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(
            certificate.validity().not_after.timestamp(),
            issued.not_after
        );
        assert!(!certificate.is_ca());
    }

    #[test]
    fn an_operators_certificate_cannot_be_used_as_a_hosts() {
        let identity = authority()
            .sign_operator(&["127.0.0.1".into(), "operator".into()], SystemTime::now())
            .unwrap();
        let der = der(&identity.certificate_pem);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.client_auth);
    }

    #[test]
    fn a_request_that_is_none_is_refused() {
        let host = HostName::new("h1").unwrap();
        let error = authority().sign_host(&host, "no", SystemTime::now(), HOST_LIFE);
        assert!(matches!(error, Err(AuthorityError::Request(_))));
    }
}
