//! The sentences of problems, in both languages, in one place.

use super::{Part, Problem, TokenFault};
use crate::language::Language;
use crate::rights::Verb;

pub struct Text {
    vi: String,
    en: String,
}

impl Text {
    fn new(vi: impl Into<String>, en: impl Into<String>) -> Self {
        Self {
            vi: vi.into(),
            en: en.into(),
        }
    }

    pub fn in_language(self, language: Language) -> String {
        match language {
            Language::Vietnamese => self.vi,
            Language::English => self.en,
        }
    }
}

/// What is wrong, and what to do.
pub struct Words {
    pub title: Text,
    pub detail: Text,
}

fn words(title: Text, detail: Text) -> Words {
    Words { title, detail }
}

pub fn of(problem: &Problem) -> Words {
    match problem {
        Problem::NotSignedIn(fault) => words(token(*fault), sign_in(*fault)),
        Problem::Forbidden(verb) => {
            words(Text::new("Không đủ quyền", "Not allowed"), forbidden(*verb))
        }
        Problem::NotFound => words(
            Text::new("Không tìm thấy", "Not found"),
            Text::new(
                "Không có đối tượng này, hoặc bạn không được xem. Hãy kiểm tra tên đơn vị và tên đối tượng.",
                "There is no such object, or you may not see it. Check the names of the department and of the object.",
            ),
        ),
        Problem::MethodNotAllowed => words(
            Text::new("Phương thức không được hỗ trợ", "Method not allowed"),
            Text::new(
                "Tiêu đề Allow cho biết các phương thức dùng được ở địa chỉ này.",
                "The header Allow names the methods of this address.",
            ),
        ),
        Problem::Exists => words(
            Text::new("Tên đã được dùng", "The name is taken"),
            Text::new(
                "Đơn vị đã có đối tượng mang tên này. Hãy chọn tên khác hoặc sửa đối tượng đang có.",
                "The department has an object of this name. Choose another name, or change the one that is there.",
            ),
        ),
        Problem::InProgress => words(
            Text::new(
                "Yêu cầu đang được xử lý",
                "The request is being carried out",
            ),
            Text::new(
                "Một yêu cầu cùng Idempotency-Key chưa xong. Hãy gửi lại sau giây lát.",
                "A request with the same Idempotency-Key has not ended. Send it again in a moment.",
            ),
        ),
        Problem::Changed => words(
            Text::new("Đối tượng đã thay đổi", "It has changed"),
            Text::new(
                "Đối tượng đã thay đổi sau khi bạn đọc. Hãy đọc lại và gửi với ETag mới.",
                "The object has changed since you read it. Read it again and send its new ETag.",
            ),
        ),
        Problem::TooLarge { limit_bytes } => words(
            Text::new("Nội dung quá lớn", "The body is too large"),
            Text::new(
                format!("Nội dung tối đa {limit_bytes} byte."),
                format!("A body has at most {limit_bytes} bytes."),
            ),
        ),
        Problem::NotJson => words(
            Text::new("Kiểu nội dung không được hỗ trợ", "The body is not JSON"),
            Text::new(
                "Hãy gửi JSON với Content-Type: application/json.",
                "Send JSON, with Content-Type: application/json.",
            ),
        ),
        Problem::OwnRequest | Problem::OtherContent | Problem::Decided | Problem::Granted => {
            of_answers(problem)
        }
        other => of_requests(other),
    }
}

fn of_answers(problem: &Problem) -> Words {
    match problem {
        Problem::OwnRequest => words(
            Text::new(
                "Không ai tự duyệt yêu cầu của mình",
                "Nobody answers his own request",
            ),
            Text::new(
                "Bạn đã soạn hoặc sửa yêu cầu này. Hãy để người khác có thẩm quyền trả lời.",
                "You wrote in this request. Leave the answer to somebody else who may give it.",
            ),
        ),
        Problem::OtherContent => words(
            Text::new("Yêu cầu đã được sửa", "The request has changed"),
            Text::new(
                "Nội dung yêu cầu khác với bản bạn đã đọc. Hãy đọc lại rồi trả lời với uid và hash mới.",
                "The request has another content than the one you have read. Read it again, and answer with its present uid and hash.",
            ),
        ),
        Problem::Decided => words(
            Text::new("Yêu cầu đã được quyết định", "It was decided on"),
            Text::new(
                "Nội dung của yêu cầu đã được quyết định không đổi được. Hãy lập yêu cầu khác.",
                "What was decided on stays what it was. Write another request.",
            ),
        ),
        _ => words(
            Text::new("Đã được cấp theo yêu cầu", "It was granted by a request"),
            Text::new(
                "Hệ thống, cấu hình, ổ đĩa, kết nối mạng và thời hạn đã cấp chỉ đổi được bằng một yêu cầu khác.",
                "Its system, class, disks, interfaces, size and lease are changed by another request only.",
            ),
        ),
    }
}

fn of_requests(problem: &Problem) -> Words {
    match problem {
        Problem::ForeignForm => words(
            Text::new(
                "Biểu mẫu không phải của phiên này",
                "The form is not of this session",
            ),
            Text::new(
                "Không có gì thay đổi. Hãy tải lại trang rồi gửi lại.",
                "Nothing was changed. Load the page again and send it anew.",
            ),
        ),
        Problem::TooSlow => words(
            Text::new("Yêu cầu đến quá chậm", "The request came too slowly"),
            Text::new(
                "Nội dung không đến đủ trong thời hạn. Hãy kiểm tra đường truyền và gửi lại.",
                "The body did not come whole in time. Check the line and send it again.",
            ),
        ),
        Problem::Unreadable(_) => words(
            Text::new("Không đọc được yêu cầu", "The request cannot be read"),
            Text::new(
                "Mục errors cho biết chỗ sai.",
                "What is wrong is named in errors.",
            ),
        ),
        Problem::Invalid(_) => words(
            Text::new("Yêu cầu không hợp lệ", "The request is not valid"),
            Text::new(
                "Mục errors cho biết từng trường sai và quy tắc của nó.",
                "Each field that is wrong is named in errors, with its rule.",
            ),
        ),
        Problem::KeyReused => words(
            Text::new(
                "Idempotency-Key đã dùng cho yêu cầu khác",
                "The Idempotency-Key was used for another request",
            ),
            Text::new(
                "Mỗi yêu cầu mới cần một khóa mới; chỉ gửi lại khóa cũ với đúng nội dung cũ.",
                "A new request needs a new key; send an old key with the same body only.",
            ),
        ),
        Problem::TooMany { retry_after_s } => words(
            Text::new("Quá nhiều yêu cầu", "Too many requests"),
            Text::new(
                format!("Hãy gửi lại sau {retry_after_s} giây."),
                format!("Send it again after {retry_after_s} s."),
            ),
        ),
        Problem::Unavailable(part) => words(
            Text::new("Tạm thời không phục vụ được", "Not available at present"),
            unavailable(*part),
        ),
        _ => words(
            Text::new("Lỗi của hệ thống", "A mistake of the system"),
            Text::new(
                "Hãy báo trung tâm dữ liệu, kèm requestId.",
                "Tell the data centre, and name the requestId.",
            ),
        ),
    }
}

fn token(fault: TokenFault) -> Text {
    match fault {
        TokenFault::Missing => Text::new("Chưa đăng nhập", "Not signed in"),
        TokenFault::Invalid => Text::new("Mã truy cập không hợp lệ", "The token is not valid"),
        TokenFault::Expired => Text::new("Mã truy cập đã hết hạn", "The token has expired"),
        TokenFault::NotYetValid => {
            Text::new("Mã truy cập chưa có hiệu lực", "The token is not valid yet")
        }
        TokenFault::OtherAudience => Text::new(
            "Mã truy cập cấp cho ứng dụng khác",
            "The token is for another application",
        ),
        TokenFault::NoUser => Text::new(
            "Mã truy cập không nêu người dùng",
            "The token names no user",
        ),
        TokenFault::Removed => Text::new("Tài khoản đã bị thu hồi", "The user was removed"),
    }
}

fn sign_in(fault: TokenFault) -> Text {
    match fault {
        TokenFault::Removed => Text::new(
            "Hãy liên hệ quản trị của đơn vị.",
            "Ask your department's administrators.",
        ),
        TokenFault::NoUser => Text::new(
            "Nhà cung cấp danh tính phải xác nhận địa chỉ thư của bạn.",
            "The identity provider has to verify your address.",
        ),
        _ => Text::new(
            "Hãy đăng nhập lại và gửi Authorization: Bearer <mã>.",
            "Sign in again and send Authorization: Bearer <token>.",
        ),
    }
}

fn forbidden(verb: Verb) -> Text {
    match verb {
        Verb::Get | Verb::List => Text::new(
            "Bạn không có quyền xem. Hãy hỏi quản trị của đơn vị.",
            "You may not see this. Ask your department's administrators.",
        ),
        Verb::Create => Text::new(
            "Chỉ quản trị của đơn vị được tạo mới hoặc đổi cấu hình.",
            "Only the department's administrators may make new ones or change their size.",
        ),
        Verb::Patch => Text::new(
            "Bạn không có quyền thay đổi đối tượng này. Hãy hỏi quản trị của đơn vị.",
            "You may not change this. Ask your department's administrators.",
        ),
        Verb::Delete => Text::new(
            "Chỉ quản trị của đơn vị được xóa.",
            "Only the department's administrators may delete.",
        ),
        Verb::Approve => Text::new(
            "Chỉ lãnh đạo của đơn vị hoặc đơn vị vận hành trung tâm được trả lời yêu cầu.",
            "Only the department's leaders and the operator of the centre answer requests.",
        ),
        Verb::Grant => Text::new(
            "Chỉ đơn vị vận hành trung tâm được trả lời với vai trò Centre.",
            "Only the operator of the centre answers as Centre.",
        ),
    }
}

fn unavailable(part: Part) -> Text {
    match part {
        Part::Identity => Text::new(
            "Không liên lạc được với nhà cung cấp danh tính. Hãy thử lại sau.",
            "The identity provider cannot be reached. Try again later.",
        ),
        Part::Kubernetes => Text::new(
            "Máy chủ điều khiển không trả lời. Hãy thử lại sau.",
            "The control plane does not answer. Try again later.",
        ),
        Part::Audit => Text::new(
            "Không ghi được nhật ký kiểm toán nên không thay đổi gì. Hãy báo trung tâm dữ liệu.",
            "The audit log cannot be written, so nothing is changed. Tell the data centre.",
        ),
        Part::Streams => Text::new(
            "Đang có quá nhiều kết nối theo dõi. Hãy đóng bớt rồi thử lại.",
            "Too many changes are followed already. Close some, then try again.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_words_of_its_own_and_only_our_mistakes_say_so() {
        let all = [
            Problem::NotSignedIn(TokenFault::Expired),
            Problem::Forbidden(Verb::Delete),
            Problem::NotFound,
            Problem::MethodNotAllowed,
            Problem::Exists,
            Problem::InProgress,
            Problem::Changed,
            Problem::ForeignForm,
            Problem::OwnRequest,
            Problem::OtherContent,
            Problem::Decided,
            Problem::Granted,
            Problem::TooLarge { limit_bytes: 1 },
            Problem::NotJson,
            Problem::TooSlow,
            Problem::unreadable("limit", "a number"),
            Problem::Invalid(Vec::new()),
            Problem::KeyReused,
            Problem::TooMany { retry_after_s: 1 },
            Problem::Unavailable(Part::Audit),
            Problem::Internal,
        ];
        let titles: std::collections::BTreeSet<_> =
            all.iter().map(|problem| of(problem).title.vi).collect();
        assert_eq!(titles.len(), all.len());
    }
}
