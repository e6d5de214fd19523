//! Tokens of an issuer whose clock and keys are in our hands: expired, too early, of another
//! issuer, signed by what is no key of its. (A real provider signs none of these.)

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dc_api::identity::provider::{Config, Provider};
use dc_api::listen;
use dc_api::problem::{Part, Problem, TokenFault};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const AUDIENCE: &str = "dc-api";

struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random).unwrap();
        Self { id, pair }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
               "x": part(&point[1..33]), "y": part(&point[33..])})
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({"alg": "ES256", "typ": "JWT", "kid": self.id});
        let message = format!("{}.{}", part(&head), part(claims));
        let signed = self
            .pair
            .sign(&SystemRandom::new(), message.as_bytes())
            .unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signed.as_ref()))
    }
}

/// What an issuer answers, and where it is.
struct Issuer {
    url: String,
    ca: Vec<u8>,
    set: Arc<Mutex<Value>>,
}

type Served = (String, Arc<Mutex<Value>>);

impl Issuer {
    async fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let tls = listen::tls(cert.as_bytes(), key.as_bytes()).unwrap();
        let set = Arc::new(Mutex::new(key_set(keys)));
        let router = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(async |State((url, _)): State<Served>| {
                    json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string()
                }),
            )
            .route(
                "/keys",
                get(async |State((_, set)): State<Served>| set.lock().unwrap().to_string()),
            )
            .with_state((url.clone(), set.clone()));
        let deadline = Duration::from_secs(60);
        tokio::spawn(listen::serve(
            listener,
            Some(tls),
            router,
            deadline,
            std::future::pending(),
        ));
        let ca = cert.into_bytes();
        Self { url, ca, set }
    }

    fn provider(&self) -> Arc<Provider> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = Config {
            issuer: self.url.clone(),
            audiences: vec![AUDIENCE.to_owned()],
            ca: Some(self.ca.clone()),
        };
        Provider::new(config).unwrap()
    }

    fn claims(&self) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({"iss": self.url, "aud": AUDIENCE, "sub": "s", "iat": now, "exp": now + 600})
    }
}

fn key_set(keys: &[&Key]) -> Value {
    let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
    json!({ "keys": keys })
}

#[tokio::test]
async fn a_token_is_believed_only_while_everything_about_it_is_right() {
    let (key, stranger) = (Key::new("k"), Key::new("k"));
    let issuer = Issuer::start(&[&key]).await;
    let provider = issuer.provider();
    let now = jiff::Timestamp::now().as_second();
    let with = |name: &str, value: Value| {
        let mut claims = issuer.claims();
        claims[name] = value;
        claims
    };
    let good = key.sign(&issuer.claims());
    assert_eq!(provider.check(&good).await.unwrap().claims["sub"], "s");
    let listed = key.sign(&with("aud", json!(["another", AUDIENCE])));
    assert!(provider.check(&listed).await.is_ok());
    let mut timeless = issuer.claims();
    timeless.as_object_mut().unwrap().remove("exp");
    for (token, fault) in [
        (
            key.sign(&with("exp", json!(now - 3600))),
            TokenFault::Expired,
        ),
        (
            key.sign(&with("nbf", json!(now + 3600))),
            TokenFault::NotYetValid,
        ),
        (
            key.sign(&with("aud", json!("another"))),
            TokenFault::OtherAudience,
        ),
        (
            key.sign(&with("iss", json!("https://elsewhere"))),
            TokenFault::Invalid,
        ),
        (
            key.sign(&with("nbf", json!("tomorrow"))),
            TokenFault::Invalid,
        ),
        (key.sign(&with("exp", json!("never"))), TokenFault::Invalid),
        (key.sign(&timeless), TokenFault::Invalid),
        // The same id, another key.
        (stranger.sign(&issuer.claims()), TokenFault::Invalid),
    ] {
        let refused = provider.check(&token).await.err();
        assert_eq!(refused, Some(Problem::NotSignedIn(fault)), "{token}");
    }
}

#[tokio::test]
async fn a_key_that_is_new_is_read_and_one_that_is_unknown_is_not_asked_for_again_and_again() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::start(&[&old]).await;
    let provider = issuer.provider();
    assert!(provider.check(&old.sign(&issuer.claims())).await.is_ok());
    *issuer.set.lock().unwrap() = key_set(&[&new]);
    // Keys were read a moment ago, so it takes a moment until they are again.
    let token = new.sign(&issuer.claims());
    let believed = async {
        while provider.check(&token).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let wait = tokio::time::timeout(Duration::from_secs(60), believed);
    wait.await.expect("the new key is believed");
    let withdrawn = provider.check(&old.sign(&issuer.claims())).await;
    let invalid = Problem::NotSignedIn(TokenFault::Invalid);
    assert_eq!(withdrawn.err(), Some(invalid));
}

#[tokio::test]
async fn while_the_issuer_was_never_reached_it_is_said_that_it_is_not_there() {
    let key = Key::new("k");
    let mut issuer = Issuer::start(&[&key]).await;
    let token = key.sign(&issuer.claims());
    issuer.url = "https://localhost:1".to_owned();
    let refused = issuer.provider().check(&token).await.err();
    assert_eq!(refused, Some(Problem::Unavailable(Part::Identity)));
}
