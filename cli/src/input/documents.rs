//! YAML or JSON text to single resources: several documents in a file, `List`s unpacked.

use serde_json::Value;
use serde_saphyr::Spanned;

use super::Document;
use crate::problem::{Origin, Problem, Problems};

/// All resources of `bytes`, which came from `file`.
pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Document>, Problems> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::at(&Origin::file(file), "", format!("is not UTF-8 text (byte {})", error.valid_up_to()))
    })?;
    let parsed: Vec<Spanned<Value>> = serde_saphyr::from_multiple(text)
        .map_err(|error| Problem::at(&Origin::file(file), "", format!("is not YAML or JSON: {error}")))?;
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for document in parsed {
        let line = document.referenced.line();
        unpack(file, Some(line).filter(|line| *line > 0), document.value, &mut documents, &mut problems);
    }
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
}

fn unpack(file: &str, line: Option<u64>, value: Value, documents: &mut Vec<Document>, problems: &mut Problems) {
    let mut origin = Origin { file: file.to_owned(), line, resource: String::new() };
    let Value::Object(mut object) = value else {
        if !value.is_null() {
            problems.push(Problem::at(&origin, "", "is not a Kubernetes resource: expected a mapping with kind"));
        }
        return;
    };
    let Some(kind) = object.get("kind").and_then(Value::as_str).map(str::to_owned) else {
        problems.push(Problem::at(&origin, "kind", "is missing: this is not a Kubernetes resource"));
        return;
    };
    let is_list = kind.ends_with("List") && object.get("items").is_some_and(Value::is_array);
    if is_list && let Some(Value::Array(items)) = object.remove("items") {
        for item in items {
            unpack(file, line, item, documents, problems);
        }
        return;
    }
    let value = Value::Object(object);
    origin.resource = identity(&kind, &value);
    documents.push(Document { origin, value });
}

/// `Kind namespace/name`, as far as they are given.
fn identity(kind: &str, value: &Value) -> String {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").unwrap_or("(without a name)");
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_lines_and_lists_are_unpacked() {
        let text = "kind: A\nmetadata: {name: one}\n---\n# nothing\n---\nkind: List\nitems:\n- kind: B\n  metadata: {name: two, namespace: prod}\n- {kind: C}\n";
        let documents = parse("x.yaml", text.as_bytes()).unwrap();
        let found: Vec<String> = documents.iter().map(|document| document.origin.to_string()).collect();
        assert_eq!(found, ["x.yaml:1: A one", "x.yaml:6: B prod/two", "x.yaml:6: C (without a name)"]);
    }

    #[test]
    fn json_is_read_as_well() {
        let documents = parse("x.json", br#"{"kind":"A","spec":{"n":1,"s":"1","t":true}}"#).unwrap();
        assert_eq!(documents[0].value["spec"], serde_json::json!({"n": 1, "s": "1", "t": true}));
    }

    #[test]
    fn what_is_no_resource_is_named() {
        assert_eq!(parse("x", b"- 1").unwrap_err().len(), 1);
        assert!(parse("x", b"a: 1").unwrap_err()[0].to_string().contains("kind: is missing"));
        assert!(parse("x", b"a: [").unwrap_err()[0].to_string().starts_with("x: is not YAML or JSON"));
        assert!(parse("x", b"\xff").unwrap_err()[0].to_string().contains("UTF-8"));
        assert!(parse("x", b"").unwrap().is_empty());
    }
}
