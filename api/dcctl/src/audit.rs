//! `dcctl audit verify`: the audit log's chain, from the file alone. What a line says about itself is
//! judged by `dc_audit`; here are the words for whoever has to act, and the exit codes.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use dc_audit::verify::{Cause, Whole, Wrong, verify};
use serde_json::{Value, json};

use crate::Language;
use crate::show::Output;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Verifies that no line was changed, removed, inserted or moved. It needs nothing but the files;
    /// that no line is missing at the end only a noted head shows.
    ///
    /// Exit codes: 0 all is whole; 1 a file cannot be read; 2 the command line is wrong; 3 a line is
    /// wrong; 4 a noted head is in none of the files.
    Verify {
        /// `-` for standard input. Each file is a chain of its own.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A head that was noted elsewhere: the server's own log says each as "audit head". May be
        /// given several times.
        #[arg(long = "head", value_parser = head)]
        heads: Vec<String>,
    },
}

const UNREADABLE: u8 = 1;
const BROKEN: u8 = 3;
const HEAD_MISSING: u8 = 4;

/// A SHA-256, as the log writes it.
fn head(text: &str) -> Result<String, String> {
    let hash = text.trim().to_ascii_lowercase();
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash
        .then_some(hash)
        .ok_or_else(|| "a head is 64 hexadecimal digits, all of them".to_owned())
}

/// What was found in one file.
type Found = (PathBuf, Result<Whole, Wrong>);

pub fn run(command: Command, output: Output, language: Language) -> Result<ExitCode> {
    let Command::Verify { files, heads } = command;
    let found: Vec<Found> = files
        .into_iter()
        .map(|file| {
            let verified = verify_file(&file, &heads);
            (file, verified)
        })
        .collect();
    let absent = absent(&found, &heads);
    match output {
        Output::Table => print!("{}", text(&found, &absent, language)),
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&value(&found, &absent, language))?
        ),
        Output::Yaml => print!(
            "{}",
            serde_norway::to_string(&value(&found, &absent, language))?
        ),
    }
    Ok(ExitCode::from(code(&found, &absent)))
}

fn verify_file(file: &Path, heads: &[String]) -> Result<Whole, Wrong> {
    if file.as_os_str() == "-" {
        return verify(std::io::stdin().lock(), heads);
    }
    let opened = File::open(file).map_err(Wrong::Unreadable)?;
    verify(BufReader::new(opened), heads)
}

/// The noted heads that no sound file has.
fn absent(found: &[Found], heads: &[String]) -> Vec<String> {
    let is_there = |at: usize| {
        let mut noted = found.iter().filter_map(|(_, whole)| whole.as_ref().ok());
        noted.any(|whole| whole.noted.get(at).copied().flatten().is_some())
    };
    let absent = heads.iter().enumerate().filter(|(at, _)| !is_there(*at));
    absent.map(|(_, head)| head.clone()).collect()
}

/// The gravest. A head that is not found says nothing while a file is broken or was not read: it may
/// be behind the break.
fn code(found: &[Found], absent: &[String]) -> u8 {
    let broken = |wrong: &Wrong| !matches!(wrong, Wrong::Unreadable(_));
    let mut wrongs = found.iter().filter_map(|(_, whole)| whole.as_ref().err());
    match (wrongs.clone().any(broken), wrongs.next().is_some()) {
        (true, _) => BROKEN,
        (false, true) => UNREADABLE,
        (false, false) if !absent.is_empty() => HEAD_MISSING,
        (false, false) => 0,
    }
}

fn text(found: &[Found], absent: &[String], language: Language) -> String {
    let mut text = String::new();
    for (file, verified) in found {
        text.push_str(&format!(
            "{}: {}\n",
            file.display(),
            words(verified, language)
        ));
    }
    for head in absent {
        text.push_str(&format!("{}\n", absent_words(head, language)));
    }
    text
}

fn value(found: &[Found], absent: &[String], language: Language) -> Value {
    let files: Vec<Value> = found
        .iter()
        .map(|(file, verified)| {
            let mut value = json!({
                "file": file.display().to_string(),
                "whole": verified.is_ok(),
                "message": words(verified, language),
            });
            match verified {
                Ok(Whole { head, .. }) => {
                    value["lines"] = json!(head.sequence);
                    value["head"] = json!(head.hash);
                }
                Err(wrong) => value["line"] = json!(line_of(wrong)),
            }
            value
        })
        .collect();
    json!({ "files": files, "headsMissing": absent })
}

/// The first wrong line; `None` if the file could not be read.
fn line_of(wrong: &Wrong) -> Option<u64> {
    use dc_audit::chain::Broken;
    match wrong {
        Wrong::Unreadable(_) => None,
        Wrong::Torn { line } => Some(*line),
        Wrong::Line { broken, .. } => match broken {
            Broken::Malformed { line } | Broken::Hash { line } | Broken::Sequence { line, .. } => {
                Some(*line)
            }
        },
    }
}

fn words(verified: &Result<Whole, Wrong>, language: Language) -> String {
    let wrong = match verified {
        Ok(whole) => return whole_words(whole, language),
        Err(wrong) => wrong,
    };
    let line = line_of(wrong).unwrap_or_default();
    let before = line.saturating_sub(1);
    let cause = match (wrong, language) {
        (Wrong::Unreadable(error), Language::Vi) => {
            return format!("không đọc được ({error}); kiểm tra đường dẫn và quyền đọc");
        }
        (Wrong::Unreadable(error), Language::En) => {
            return format!("it cannot be read ({error}); check the path and the right to read it");
        }
        (Wrong::Torn { .. }, Language::Vi) => {
            return format!(
                "dòng {line} bị cắt dở; {before} dòng trước đó nguyên vẹn. Nếu máy chủ vừa dừng đột \
                 ngột thì khi khởi động lại nó sẽ cắt bỏ phần dở và ghi một dòng Recovered; nếu không, \
                 hãy giữ nguyên tệp và báo kiểm toán"
            );
        }
        (Wrong::Torn { .. }, Language::En) => {
            return format!(
                "line {line} was cut short; the {before} lines before it are whole. If the server has \
                 just died, its next start cuts the rest off and writes a line Recovered; if not, keep \
                 the file as it is and tell the auditor"
            );
        }
        (Wrong::Line { cause, .. }, language) => cause_words(cause, line, language),
    };
    match language {
        Language::Vi => format!(
            "HỎNG ở dòng {line}: {cause}; {before} dòng trước đó nối tiếp nhau, còn từ dòng {line} trở \
             đi không có gì được bảo đảm. Giữ nguyên tệp (sao ra nơi chỉ đọc), so với các \"audit \
             head\" trong nhật ký của máy chủ và với bản sao lưu, báo kiểm toán; máy chủ không ghi tiếp \
             vào tệp này: cho nó tệp khác (--audit-log)"
        ),
        Language::En => format!(
            "BROKEN at line {line}: {cause}; the {before} lines before it follow one from the other, \
             and from line {line} on nothing is vouched for. Keep the file as it is (copy it where \
             nobody writes), compare it with the \"audit head\" lines in the server's own log and with \
             backups, tell the auditor; the server does not go on with this file: give it another \
             (--audit-log)"
        ),
    }
}

fn cause_words(cause: &Cause, line: u64, language: Language) -> String {
    let before = line.saturating_sub(1);
    match (cause, language) {
        (Cause::Changed, Language::Vi) if before == 0 => "nội dung đã bị sửa".to_owned(),
        (Cause::Changed, Language::En) if before == 0 => "it was changed".to_owned(),
        (Cause::Changed, Language::Vi) => {
            format!("nó đã bị sửa, hoặc dòng {before} bị sửa cùng với mã băm của nó")
        }
        (Cause::Changed, Language::En) => {
            format!("it was changed, or line {before} was, together with its hash")
        }
        (Cause::Missing { from, to }, Language::Vi) => {
            format!("thiếu các dòng có số thứ tự {from} đến {to}")
        }
        (Cause::Missing { from, to }, Language::En) => {
            format!("the lines with the sequences {from} to {to} are missing")
        }
        (Cause::Moved { to }, Language::Vi) => {
            format!("các dòng bị đổi chỗ; dòng phải ở đây nay là dòng {to}")
        }
        (Cause::Moved { to }, Language::En) => {
            format!("lines were reordered; the one that belongs here is now line {to}")
        }
        (Cause::Inserted, Language::Vi) => {
            "một dòng bị chèn vào; dòng sau nó có cùng số thứ tự".to_owned()
        }
        (Cause::Inserted, Language::En) => {
            "a line was inserted; the one after it has the same sequence".to_owned()
        }
        (Cause::Repeated { sequence }, Language::Vi) => {
            format!("dòng có số thứ tự {sequence} xuất hiện lần nữa")
        }
        (Cause::Repeated { sequence }, Language::En) => {
            format!("a line with the sequence {sequence} stands there again")
        }
    }
}

fn whole_words(whole: &Whole, language: Language) -> String {
    let (lines, hash) = (whole.head.sequence, &whole.head.hash);
    let vouched = whole.noted.iter().copied().flatten().max();
    match (vouched, language) {
        (Some(to), Language::Vi) => format!(
            "{lines} dòng, nguyên vẹn; đến dòng {to} đúng như lúc ghi lại head; head {hash}"
        ),
        (Some(to), Language::En) => format!(
            "{lines} lines, unbroken; up to line {to} as they were when the head was noted; head {hash}"
        ),
        (None, Language::Vi) => format!("{lines} dòng, nguyên vẹn; head {hash}"),
        (None, Language::En) => format!("{lines} lines, unbroken; head {hash}"),
    }
}

fn absent_words(head: &str, language: Language) -> String {
    match language {
        Language::Vi => format!(
            "head {head} không có trong tệp nào: các dòng cuối đã bị cắt, hoặc nhật ký bị làm lại, hoặc \
             đây không phải tệp của head này. Giữ nguyên tệp và báo kiểm toán"
        ),
        Language::En => format!(
            "no file has the head {head}: lines at the end were removed, or the log was made anew, or \
             this head is of another file. Keep the files as they are and tell the auditor"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_audit::chain::{self, Head};
    use dc_audit::{Entry, Event, Stage};

    /// A log with so many lines, and its head.
    fn log(lines: u64) -> (String, String) {
        let (mut text, mut head) = (String::new(), Head::default());
        for sequence in 1..=lines {
            let event = Event {
                stage: Stage::Done,
                request: format!("r-{sequence}"),
                user: "oidc:an".to_owned(),
                groups: Vec::new(),
                from: "127.0.0.1".to_owned(),
                department: "so-khcn".to_owned(),
                verb: "create".to_owned(),
                resource: "volumes".to_owned(),
                name: "data".to_owned(),
                change: Value::Null,
                status: None,
                problem: None,
            };
            let time = "2026-01-01T00:00:00Z".to_owned();
            let entry = Entry {
                sequence,
                time,
                event,
            };
            let (line, next) = chain::line(&head, &entry).unwrap();
            text.push_str(&line);
            head = next;
        }
        (text, head.hash)
    }

    fn judged(texts: &[&str], heads: &[String]) -> (u8, String, Value) {
        let folder = tempfile::tempdir().unwrap();
        let found: Vec<Found> = (0..)
            .zip(texts)
            .map(|(at, text): (u32, _)| {
                let file = folder.path().join(format!("{at}.jsonl"));
                std::fs::write(&file, text).unwrap();
                let verified = verify_file(&file, heads);
                (file, verified)
            })
            .collect();
        let absent = absent(&found, heads);
        let value = value(&found, &absent, Language::En);
        let english = text(&found, &absent, Language::En);
        assert_ne!(english, text(&found, &absent, Language::Vi));
        (code(&found, &absent), english, value)
    }

    #[test]
    fn a_whole_log_is_whole_and_says_up_to_where_a_noted_head_vouches() {
        let (text, _) = log(5);
        let noted = log(3).1;
        let (code, words, value) = judged(&[&text], &[noted]);
        assert_eq!((code, &value["files"][0]["lines"]), (0, &json!(5)));
        assert!(words.contains("up to line 3"), "{words}");
    }

    #[test]
    fn the_first_wrong_line_is_named_with_what_became_of_it() {
        let (text, _) = log(4);
        let (code, words, value) = judged(&[&text.replace("r-2", "r-9")], &[]);
        assert_eq!((code, &value["files"][0]["line"]), (3, &json!(2)));
        assert!(
            words.contains("BROKEN at line 2: it was changed"),
            "{words}"
        );
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let (code, words, _) = judged(&[&[lines[0], lines[3]].concat()], &[]);
        assert!(
            code == 3 && words.contains("sequences 2 to 3 are missing"),
            "{words}"
        );
        let (code, words, _) = judged(&[&[lines[1], lines[0]].concat()], &[]);
        assert!(code == 3 && words.contains("is now line 2"), "{words}");
        let (code, words, _) = judged(&[text.trim_end()], &[]);
        assert!(
            code == 3 && words.contains("line 4 was cut short"),
            "{words}"
        );
    }

    #[test]
    fn a_cut_end_needs_a_noted_head_which_may_be_in_any_of_the_files() {
        let ((text, head), (older, older_head)) = (log(4), log(2));
        let cut = text.split_inclusive('\n').take(3).collect::<String>();
        assert_eq!(judged(&[&cut], &[]).0, 0);
        let (code, words, value) = judged(&[&cut], std::slice::from_ref(&head));
        assert_eq!((code, &value["headsMissing"]), (4, &json!([head])));
        assert!(words.contains("lines at the end were removed"), "{words}");
        assert_eq!(judged(&[&older, &text], &[head, older_head]).0, 0);
    }

    #[test]
    fn what_cannot_be_read_is_not_called_broken() {
        let verified = verify_file(Path::new("/nowhere/audit.jsonl"), &[]);
        let found = [(PathBuf::from("/nowhere/audit.jsonl"), verified)];
        assert_eq!(code(&found, &[]), 1);
        assert!(text(&found, &[], Language::En).contains("cannot be read"));
    }

    #[test]
    fn a_head_that_was_not_copied_whole_is_refused() {
        assert!(head("3c858ecb").is_err());
        assert!(head(&"zz".repeat(32)).is_err());
        assert_eq!(head(&"AB".repeat(32)), Ok("ab".repeat(32)));
    }
}
