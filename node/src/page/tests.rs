use super::*;

fn request(tag: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(tag) = tag {
        headers.insert(header::IF_NONE_MATCH, tag.parse().unwrap());
    }
    headers
}

#[test]
fn every_answer_forbids_what_the_page_does_not_need() {
    for response in [
        answer(&INDEX, &request(None)),
        answer(&INDEX, &request(Some("*"))),
        missing(),
    ] {
        for (name, value) in HEADERS {
            assert_eq!(response.headers()[&name], value, "{name}");
        }
    }
    assert!(!POLICY.contains("unsafe"), "{POLICY}");
}

#[test]
fn a_copy_that_is_still_right_is_not_sent_again() {
    for file in FILES.iter().chain([&INDEX]) {
        let first = answer(file, &request(None));
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[header::CONTENT_TYPE], file.kind);
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("\"other\", W/{tag}")] {
            let again = answer(file, &request(Some(&known)));
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(again.headers()[header::ETAG], tag.as_str());
        }
        let changed = answer(file, &request(Some("\"other\"")));
        assert_eq!(changed.status(), StatusCode::OK);
    }
}

/// The text of a file.
fn text(file: &File) -> &'static str {
    std::str::from_utf8(file.bytes).unwrap()
}

#[test]
fn each_module_that_is_imported_is_served_and_each_that_is_served_is_used() {
    let everything: String = FILES.iter().chain([&INDEX]).map(text).collect();
    for file in FILES {
        let used = [
            format!("./{}\"", file.name),
            format!("/assets/{}\"", file.name),
        ];
        assert!(
            used.iter().any(|name| everything.contains(name)),
            "{} is used by none",
            file.name
        );
        for line in text(file).lines().filter(|line| line.contains(" from \"")) {
            let name = line
                .split(" from \"./")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            let name = name.unwrap_or_else(|| panic!("{}: {line}", file.name));
            assert!(FILES.iter().any(|other| other.name == name), "{line}");
        }
    }
}

#[test]
fn no_file_names_another_host_or_makes_markup_of_text() {
    for file in FILES.iter().chain([&INDEX]) {
        let text = text(file).replace("http://www.w3.org/2000/svg", "");
        for forbidden in [
            "http://",
            "https://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "javascript:",
            "@import",
            "url(",
            "style=\"",
            "onclick=\"",
        ] {
            assert!(!text.contains(forbidden), "{}: {forbidden}", file.name);
        }
    }
}
