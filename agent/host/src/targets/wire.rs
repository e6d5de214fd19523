//! The control protocol of tgtd: one request and one answer for each connection of its socket.
//!
//! It has no specification. The form below was read off a running tgtadm of tgt 1.0.85 with
//! strace, one argument at a time; it has not changed for many years. Numbers are in the
//! machine's own order, because both ends are on it.
//!
//! ```text
//! request:  mode u32 · op u32 · driver 64 bytes · length u32 · tid i32 · sid u64 · lun u64
//!           · cid u32 · 20 bytes of zero (host, device type, account direction, force)
//!           · text, ended by a zero      (length counts everything)
//! answer:   error u32 · length u32 · text
//! ```

use super::TargetsError;

/// The fixed part of a request.
pub const HEADER: usize = 120;
/// The fixed part of an answer.
pub const ANSWER_HEADER: usize = 8;
/// Far more than a listing of ten thousand targets.
pub const MAX_ANSWER: usize = 32 << 20;
/// tgtd takes no longer request texts.
const MAX_TEXT: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    Target = 1,
    LogicalUnit = 2,
    Connection = 6,
    Account = 7,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Op {
    New = 0,
    Delete = 1,
    Show = 2,
    Bind = 3,
    Unbind = 4,
    Update = 5,
}

/// One request. `text` may hold a secret and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub mode: Mode,
    pub op: Op,
    /// -1 for all.
    pub tid: i32,
    pub session: u64,
    pub lun: u64,
    pub connection: u32,
    pub text: Option<String>,
}

impl Request {
    pub fn new(mode: Mode, op: Op, tid: i32) -> Self {
        Self {
            mode,
            op,
            tid,
            session: 0,
            lun: u64::MAX,
            connection: 0,
            text: None,
        }
    }

    pub fn text(mut self, text: String) -> Self {
        self.text = Some(text);
        self
    }

    /// What is asked, for messages: without the text.
    pub fn what(&self) -> String {
        format!("{:?} {:?} of target {}", self.op, self.mode, self.tid)
    }

    pub fn encode(&self) -> Result<Vec<u8>, TargetsError> {
        let text = self.text.as_deref().map(str::as_bytes).unwrap_or_default();
        if text.len() >= MAX_TEXT || text.contains(&0) {
            return Err(TargetsError::Nonsense {
                what: self.what(),
                why: "it holds a text that cannot be sent".to_owned(),
            });
        }
        let length = HEADER + self.text.as_ref().map_or(0, |text| text.len() + 1);
        let mut out = Vec::with_capacity(length);
        out.extend((self.mode as u32).to_ne_bytes());
        out.extend((self.op as u32).to_ne_bytes());
        let mut driver = [0; 64];
        driver[..5].copy_from_slice(b"iscsi");
        out.extend(driver);
        out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        out.extend(self.tid.to_ne_bytes());
        out.extend(self.session.to_ne_bytes());
        out.extend(self.lun.to_ne_bytes());
        out.extend(self.connection.to_ne_bytes());
        out.resize(HEADER, 0);
        if self.text.is_some() {
            out.extend(text);
            out.push(0);
        }
        Ok(out)
    }
}

/// The fixed part of an answer: tgtd's error number, 0 for none, and how much text follows.
pub fn decode_header(bytes: [u8; ANSWER_HEADER]) -> Option<(u32, usize)> {
    let number = |at: usize| {
        let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        u32::from_ne_bytes(four)
    };
    let text = (number(4) as usize).checked_sub(ANSWER_HEADER)?;
    (text <= MAX_ANSWER).then_some((number(0), text))
}

/// Error numbers of tgtd that mean something to us.
pub mod errors {
    pub const NO_TARGET: u32 = 4;
    pub const NO_SESSION: u32 = 6;
    pub const NO_CONNECTION: u32 = 7;
    pub const ACL_EXISTS: u32 = 12;
    pub const ACL_MISSING: u32 = 13;
    pub const NO_USER: u32 = 15;
    pub const TARGET_ACTIVE: u32 = 19;
    pub const LUN_ACTIVE: u32 = 20;
}

/// tgtd's error numbers in words.
pub fn reason(number: u32) -> &'static str {
    match number {
        1 => "unknown error",
        2 => "it is out of memory",
        3 => "it has no iscsi driver",
        4 => "there is no such target",
        5 => "there is no such LUN",
        6 => "there is no such session",
        7 => "there is no such connection",
        9 => "the target is there already",
        11 => "the LUN is there already",
        12 => "the initiator is allowed already",
        13 => "the initiator is not allowed",
        14 => "the account is there already",
        15 => "there is no such account",
        16 => "it has too many accounts",
        17 => "the request is invalid",
        19 => "the target is still active",
        20 => "the LUN is still active",
        22 => "it does not know the operation",
        23 => "it does not know the parameter",
        _ => "it gave an error number that is not known here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_form_that_tgtadm_sends() {
        // tgtadm -C 91 --lld iscsi --op delete --mode conn --tid 258
        //        --sid 0x0102030405060708 --cid 0x12345678
        let mut request = Request::new(Mode::Connection, Op::Delete, 258);
        request.session = 0x0102_0304_0506_0708;
        request.connection = 0x1234_5678;
        let sent = request.encode().unwrap();
        assert_eq!(sent.len(), 120);
        assert_eq!(sent[..8], [6, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(sent[8..13], *b"iscsi");
        assert_eq!(sent[72..80], [0x78, 0, 0, 0, 2, 1, 0, 0]);
        assert_eq!(sent[80..88], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(sent[88..96], [0xff; 8]);
        assert_eq!(sent[96..100], [0x78, 0x56, 0x34, 0x12]);
        assert_eq!(sent[100..], [0; 20]);
    }

    #[test]
    fn the_length_counts_the_text_and_its_end() {
        // tgtadm -C 91 --lld iscsi --op bind --mode account --tid 258 --user u1
        let request = Request::new(Mode::Account, Op::Bind, 258).text("user=u1".into());
        let sent = request.encode().unwrap();
        assert_eq!(sent[72], 0x80);
        assert_eq!(sent[120..], *b"user=u1\0");
    }

    #[test]
    fn a_text_that_would_end_early_is_not_sent() {
        let bad = Request::new(Mode::Account, Op::New, -1).text("user=a\0b".into());
        assert!(bad.encode().is_err());
        let long = Request::new(Mode::Account, Op::New, -1).text("x".repeat(9000));
        let told = long.encode().unwrap_err().to_string();
        assert!(!told.contains("xxx"), "{told}");
    }

    #[test]
    fn an_answer_says_how_much_follows() {
        assert_eq!(decode_header([4, 0, 0, 0, 8, 0, 0, 0]), Some((4, 0)));
        assert_eq!(decode_header([0, 0, 0, 0, 30, 0, 0, 0]), Some((0, 22)));
        assert_eq!(decode_header([0, 0, 0, 0, 7, 0, 0, 0]), None);
        assert_eq!(decode_header([0, 0, 0, 0, 0, 0, 0, 0xff]), None);
    }
}
