//! An initiator that stops in the middle of a login, which no well-behaved one does.
//!
//! The form of the messages is RFC 7143, section 11.12 and 11.13.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::initiator::Initiator;
use crate::site::PORTAL;

const HEADER: usize = 48;
/// Stay in the security stage.
const SECURITY: u8 = 0x00;
/// From the security stage to the operational one.
const TO_OPERATIONAL: u8 = 0x81;
/// From the operational stage to the session itself.
const TO_FULL: u8 = 0x87;

pub struct HalfLogin {
    stream: TcpStream,
    sent: u32,
}

/// What the target answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on, with these keys.
    Goes(String),
    Refused,
    Closed,
}

/// The answer to a CHAP challenge (RFC 1994): MD5 of its number, the secret and the challenge.
fn respond(number: &str, secret: &str, challenge: &str) -> String {
    let mut input = vec![number.parse::<u8>().unwrap()];
    input.extend(secret.bytes());
    let hex = challenge.strip_prefix("0x").unwrap();
    for pair in hex.as_bytes().chunks(2) {
        let pair = std::str::from_utf8(pair).unwrap();
        input.push(u8::from_str_radix(pair, 16).unwrap());
    }
    std::fs::write("/mnt/challenge", input).unwrap();
    let sum = crate::inside::run(&["md5sum", "/mnt/challenge"]);
    format!("0x{}", sum.split(' ').next().unwrap())
}

impl HalfLogin {
    /// Names initiator and target, and so passes the access list.
    pub fn begin(initiator: &Initiator) -> (Self, Answer) {
        let stream = TcpStream::connect(PORTAL).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut this = Self { stream, sent: 0 };
        let answer = this.say(
            SECURITY,
            &[
                ("InitiatorName", &initiator.name),
                ("TargetName", &initiator.target),
                ("SessionType", "Normal"),
                ("AuthMethod", "CHAP"),
            ],
        );
        (this, answer)
    }

    /// The rest of the login, as an initiator that knows the secret does it.
    pub fn finish(mut self, initiator: &Initiator) -> Answer {
        let challenge = match self.say(SECURITY, &[("CHAP_A", "5")]) {
            Answer::Goes(keys) => keys,
            other => return other,
        };
        let key = |name: &str| {
            let mut keys = challenge.split('\0').filter_map(|key| key.split_once('='));
            keys.find(|(key, _)| *key == name).unwrap().1.to_owned()
        };
        let response = respond(&key("CHAP_I"), &initiator.secret, &key("CHAP_C"));
        let user = initiator.user.as_deref().unwrap();
        let known = self.say(TO_OPERATIONAL, &[("CHAP_N", user), ("CHAP_R", &response)]);
        match known {
            Answer::Goes(_) => self.say(TO_FULL, &[("HeaderDigest", "None")]),
            other => other,
        }
    }

    fn say(&mut self, stage: u8, keys: &[(&str, &str)]) -> Answer {
        match self.exchange(stage, keys) {
            Ok(answer) => answer,
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => Answer::Closed,
                _ => panic!("the target does not answer a login: {error}"),
            },
        }
    }

    fn exchange(&mut self, stage: u8, keys: &[(&str, &str)]) -> io::Result<Answer> {
        let mut text = Vec::new();
        for (name, value) in keys {
            text.extend(format!("{name}={value}\0").into_bytes());
        }
        let mut message = vec![0; HEADER];
        message[0] = 0x43;
        message[1] = stage;
        message[5..8].copy_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes()[1..]);
        // A session id of a random kind, the same in all messages of a login.
        message[8..14].copy_from_slice(&[0x80, 1, 2, 3, 4, 5]);
        message[16..20].copy_from_slice(&1u32.to_be_bytes());
        message[24..28].copy_from_slice(&1u32.to_be_bytes());
        message[28..32].copy_from_slice(&self.sent.to_be_bytes());
        self.sent += 1;
        text.resize(text.len().div_ceil(4) * 4, 0);
        message.extend(text);
        self.stream.write_all(&message)?;
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header)?;
        assert_eq!(header[0] & 0x3f, 0x23, "not an answer to a login");
        let length = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
        let mut text = vec![0; length.div_ceil(4) * 4];
        self.stream.read_exact(&mut text)?;
        // The class of the status: 0 is success.
        Ok(match header[36] {
            0 => Answer::Goes(String::from_utf8_lossy(&text[..length]).into_owned()),
            _ => Answer::Refused,
        })
    }
}
