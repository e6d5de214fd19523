# Flattens the YAML of a NoCloud seed to lines `path=value`: maps by key, lists by index, as in
#   ethernets.nic0.addresses.0=10.0.0.2/24
# Understood: block maps and lists, flow maps and lists (so JSON as well) on any number of lines,
# plain and quoted scalars, comments, literal (|) text, whose line breaks become
# the character 036 (folded text, >, is taken the same way). Not understood: anchors, tags,
# several documents, plain scalars on more than one line.

{ lines[++count] = $0 }

END { at = 1; skip_blank(); block("", indent_of(lines[at])) }

function indent_of(text) { match(text, /^ */); return RLENGTH }

function spaces(n,    text) { text = ""; while (n-- > 0) text = text " "; return text }

function blank(text) { return text ~ /^[ \t\r]*(#.*)?$/ || text ~ /^(---|%)/ }

function skip_blank() { while (at <= count && blank(lines[at])) at++ }

function join_path(path, key) { return path == "" ? key : path "." key }

# One collection whose items start at `indent`. A list's item is parsed in place: its dash is
# replaced by a space, so what follows is a collection two columns further in.
function block(path, indent,    text, key, index_, n) {
    n = 0
    while (at <= count) {
        skip_blank()
        if (at > count || indent_of(lines[at]) != indent) return
        text = substr(lines[at], indent + 1)
        if (text ~ /^-([ \t]|$)/) {
            lines[at] = spaces(indent + 1) substr(text, 2)
            entry(join_path(path, n++), indent)
        } else if (text ~ /^[[{]/) {
            at_flow(path, text)
        } else if (match(text, /^("[^"]*"|'[^']*'|[^:#]|:[^ \t])+:([ \t]|$)/)) {
            key = substr(text, 1, RLENGTH)
            sub(/[ \t]*:[ \t]*$/, "", key)
            lines[at] = spaces(indent + RLENGTH) substr(text, RLENGTH + 1)
            entry_value(join_path(path, unquote(key)), indent)
        } else {
            at++
        }
    }
}

# What follows a dash: a map or list in place, a scalar, or a block on the next lines.
function entry(path, indent,    text) {
    if (blank(lines[at])) {
        at++; skip_blank()
        if (indent_of(lines[at]) > indent) block(path, indent_of(lines[at]))
        return
    }
    text = lines[at]; sub(/^ */, "", text)
    if (text ~ /^-([ \t]|$)/ || text ~ /^("[^"]*"|'[^']*'):([ \t]|$)/ ||
        (text !~ /^["'[{|>]/ && text ~ /:([ \t]|$)/))
        block(path, indent_of(lines[at]))
    else
        entry_value(path, indent)
}

# What follows `key:` or a dash with a scalar.
function entry_value(path, indent,    text) {
    text = lines[at]; sub(/^ */, "", text)
    if (blank(text)) {
        at++; skip_blank()
        # A list may stand at the same column as its key.
        if (at > count) return
        if (indent_of(lines[at]) > indent || list_item(indent)) nested(path, indent)
    }
    else if (text ~ /^[|>]/) { at++; literal(path, indent) }
    else if (text ~ /^[[{]/) at_flow(path, text)
    else { print path "=" scalar(text); at++ }
}

function list_item(indent) {
    return indent_of(lines[at]) == indent && substr(lines[at], indent + 1) ~ /^-([ \t]|$)/
}

function nested(path, indent,    deeper, n) {
    deeper = indent_of(lines[at])
    if (deeper > indent) { block(path, deeper); return }
    n = 0
    while (at <= count) {
        skip_blank()
        if (at > count || !list_item(indent)) return
        lines[at] = spaces(indent + 1) substr(lines[at], indent + 2)
        entry(join_path(path, n++), indent)
    }
}

function literal(path, indent,    inner, value) {
    inner = -1; value = ""
    while (at <= count && (lines[at] ~ /^[ \t]*$/ || indent_of(lines[at]) > indent)) {
        if (inner < 0 && lines[at] !~ /^[ \t]*$/) inner = indent_of(lines[at])
        value = value substr(lines[at], inner + 1) "\036"
        at++
    }
    print path "=" value
}

# Flow collections: gather lines until the brackets close, then walk the text.
function at_flow(path, text) {
    at++
    while (depth(text) > 0 && at <= count) text = text " " lines[at++]
    flow = text; pos = 1
    flow_value(path)
}

function depth(text,    i, c, quote, open) {
    open = 0; quote = ""
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (quote != "") { if (c == "\\" && quote == "\"") i++; else if (c == quote) quote = "" }
        else if (c == "\"" || c == "'") quote = c
        else if (c ~ /[[{]/) open++
        else if (c ~ /[]}]/) open--
    }
    return open
}

function flow_space() { while (pos <= length(flow) && substr(flow, pos, 1) ~ /[ \t\r,]/) pos++ }

function flow_token(stop,    start, quote, c) {
    start = pos; quote = substr(flow, pos, 1)
    if (quote == "\"" || quote == "'") {
        for (pos++; pos <= length(flow); pos++) {
            c = substr(flow, pos, 1)
            if (c == "\\" && quote == "\"") pos++
            else if (c == quote) { pos++; break }
        }
        return unquote(substr(flow, start, pos - start))
    }
    while (pos <= length(flow) && index(stop, substr(flow, pos, 1)) == 0) {
        # A colon ends a key only before a space: `a:b` and addresses are plain.
        pos++
        if (index(stop, ":") && substr(flow, pos, 2) ~ /^:([ ,}]|$)/) break
    }
    return scalar(substr(flow, start, pos - start))
}

function flow_value(path,    c, n, key) {
    flow_space()
    c = substr(flow, pos, 1)
    if (c == "[") {
        pos++; n = 0; flow_space()
        while (pos <= length(flow) && substr(flow, pos, 1) != "]") {
            flow_value(join_path(path, n++)); flow_space()
        }
        pos++
    } else if (c == "{") {
        pos++; flow_space()
        while (pos <= length(flow) && substr(flow, pos, 1) != "}") {
            key = flow_token(":,}")
            flow_space()
            if (substr(flow, pos, 1) == ":") pos++
            flow_value(join_path(path, key)); flow_space()
        }
        pos++
    } else {
        print path "=" flow_token(",]}")
    }
}

function scalar(text) {
    sub(/[ \t\r]+$/, "", text); sub(/^[ \t]+/, "", text)
    if (text ~ /^"/ || text ~ /^'/) { sub(/[ \t]+#[^"']*$/, "", text); return unquote(text) }
    sub(/[ \t]+#.*$/, "", text)
    return text
}

function unquote(text,    quote) {
    quote = substr(text, 1, 1)
    if (length(text) < 2 || substr(text, length(text), 1) != quote) return text
    if (quote != "'" && quote != "\"") return text
    text = substr(text, 2, length(text) - 2)
    if (quote == "'") gsub(/''/, "'", text)
    else { gsub(/\\"/, "\"", text); gsub(/\\\\/, "\\", text) }
    return text
}
