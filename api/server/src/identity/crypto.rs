//! The signatures of tokens, checked by ring, as everything else here that is signed.
//!
//! The token library parses and judges; it leaves the mathematics to a provider. Only public-key
//! algorithms are there: a token "signed" with a shared secret, or with none, has no verifier.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature as algorithms;

/// What a token may be signed with.
pub const ALLOWED: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring the provider of the process; may be called again.
pub fn install() {
    if PROVIDER.install_default().is_err() {
        tracing::debug!("the provider of signatures was installed before");
    }
}

/// How one signature is checked.
enum Scheme {
    Rsa(&'static algorithms::RsaParameters),
    Other(&'static dyn algorithms::VerificationAlgorithm),
}

struct RingVerifier {
    algorithm: Algorithm,
    scheme: Scheme,
    key: DecodingKey,
}

fn scheme(algorithm: Algorithm) -> Option<Scheme> {
    Some(match algorithm {
        Algorithm::RS256 => Scheme::Rsa(&algorithms::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Scheme::Rsa(&algorithms::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Scheme::Rsa(&algorithms::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Scheme::Rsa(&algorithms::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Scheme::Rsa(&algorithms::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Scheme::Rsa(&algorithms::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Scheme::Other(&algorithms::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Scheme::Other(&algorithms::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Scheme::Other(&algorithms::ED25519),
        _ => return None,
    })
}

fn verifier_factory(
    algorithm: &Algorithm,
    key: &DecodingKey,
) -> Result<Box<dyn JwtVerifier>, Error> {
    // A key of one family must not be read as one of another.
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let scheme = scheme(*algorithm).ok_or(ErrorKind::InvalidAlgorithm)?;
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        scheme,
        key: key.clone(),
    }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        let checked = match (&self.scheme, self.key.kind()) {
            (Scheme::Rsa(how), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                algorithms::RsaPublicKeyComponents { n, e }.verify(how, message, signed)
            }
            (Scheme::Other(how), DecodingKeyKind::SecretOrDer(bytes)) => {
                algorithms::UnparsedPublicKey::new(*how, bytes).verify(message, signed)
            }
            _ => return Err(signature::Error::new()),
        };
        checked.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Validation, decode};
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn token(alg: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let head = part(&json!({"alg": alg, "typ": "JWT"}));
        let claims = part(&json!({"iss": "i", "aud": "a", "exp": 4_000_000_000_u64, "sub": "s"}));
        let message = format!("{head}.{claims}");
        let signed = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
        format!("{message}.{signed}")
    }

    fn check(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Value, Error> {
        install();
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&["a"]);
        decode::<Value>(token, key, &rules).map(|data| data.claims)
    }

    #[test]
    fn what_was_signed_is_believed_and_nothing_else() {
        let random = SystemRandom::new();
        let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random).unwrap();
        let public = DecodingKey::from_ec_der(pair.public_key().as_ref());
        let sign = |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
        let good = token("ES256", sign);
        assert_eq!(check(&good, &public, Algorithm::ES256).unwrap()["sub"], "s");
        let other = token("ES256", |_| sign(b"something else"));
        assert!(check(&other, &public, Algorithm::ES256).is_err());
        // The same bytes under another name of the algorithm.
        assert!(check(&good, &public, Algorithm::ES384).is_err());
        assert!(check(&token("none", |_| Vec::new()), &public, Algorithm::ES256).is_err());
    }

    #[test]
    fn an_edwards_key_is_checked_as_one() {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
        let good = token("EdDSA", |message| pair.sign(message).as_ref().to_vec());
        assert!(check(&good, &public, Algorithm::EdDSA).is_ok());
        assert!(check(&good, &public, Algorithm::ES256).is_err());
    }

    #[test]
    fn a_public_key_is_never_taken_as_a_shared_secret() {
        let secret = DecodingKey::from_secret(b"the public key's bytes");
        let signed = token("HS256", |_| vec![0; 32]);
        assert!(check(&signed, &secret, Algorithm::HS256).is_err());
    }
}
