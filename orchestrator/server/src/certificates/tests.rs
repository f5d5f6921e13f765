//! Properties of the certificates on disk.

use std::os::unix::fs::PermissionsExt;

use expect_test::expect;

use super::*;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn at(days: i64) -> Timestamp {
    Timestamp::from_second(NOW + days * DAY).unwrap()
}

fn sans(extra: &[&str]) -> Sans {
    let extra: Vec<String> = extra.iter().map(|name| (*name).to_owned()).collect();
    Sans::new("box", "10.43.0.1".parse().unwrap(), &extra)
}

fn serving(directory: &Path) -> String {
    files::read(&directory.join("serving.crt")).unwrap().unwrap()
}

#[test]
fn a_second_open_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let first = Certificates::open_at(directory.path(), sans(&[]), at(0)).unwrap();
    let before = serving(directory.path());
    let second = Certificates::open_at(directory.path(), sans(&[]), at(100)).unwrap();
    assert_eq!(first.authority_pem(), second.authority_pem());
    assert_eq!(first.service_account_key_pem(), second.service_account_key_pem());
    assert_eq!(first.authority_hash().len(), 64);
    assert_eq!(before, serving(directory.path()));
}

#[test]
fn the_serving_certificate_is_renewed_in_time_and_for_new_names() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::open_at(directory.path(), sans(&[]), at(0)).unwrap();
    let first = serving(directory.path());
    certificates.renew(at(334)).unwrap();
    assert_eq!(first, serving(directory.path()));
    certificates.renew(at(336)).unwrap();
    let renewed = serving(directory.path());
    assert_ne!(first, renewed);
    Certificates::open_at(directory.path(), sans(&["api.example.com", "192.0.2.7"]), at(336)).unwrap();
    assert_ne!(renewed, serving(directory.path()));
}

#[test]
fn keys_are_private() {
    let directory = tempfile::tempdir().unwrap();
    Certificates::open_at(directory.path(), sans(&[]), at(0)).unwrap();
    assert_eq!(directory.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let entries = std::fs::read_dir(directory.path()).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().permissions().mode() & 0o777))
        .collect();
    names.sort();
    assert!(names.iter().all(|(_, mode)| *mode == 0o600));
    let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
    expect![[r#"ca.crt ca.key front-proxy-ca.crt front-proxy-ca.key front-proxy-client.crt front-proxy-client.key service-account.key serving.crt serving.key"#]]
    .assert_eq(&names.join(" "));
}

#[test]
fn a_key_of_another_authority_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    Certificates::open_at(directory.path(), sans(&[]), at(0)).unwrap();
    std::fs::copy(directory.path().join("front-proxy-ca.key"), directory.path().join("ca.key")).unwrap();
    let error = Certificates::open_at(directory.path(), sans(&[]), at(0)).err().unwrap();
    assert!(error.to_string().contains("its key is not the one in"), "{error}");
}

#[test]
fn a_client_carries_user_and_groups_and_is_kept_until_they_change() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::open_at(directory.path(), sans(&[]), at(0)).unwrap();
    let admin = Subject::new("kubernetes-admin", &["system:masters", "team", "équipe", "team,O=x", "e"]);
    let first = certificates.clients().kept_client("admin", &admin, at(0)).unwrap();
    assert_eq!(first, certificates.clients().kept_client("admin", &admin, at(1)).unwrap());
    let der = tls::der(&first.certificate).unwrap();
    use x509_parser::prelude::FromDer;
    let (_, parsed) = x509_parser::prelude::X509Certificate::from_der(&der).unwrap();
    assert_eq!(subject::read(parsed.subject()), Some(admin.clone()));
    let other = Subject::new("kubernetes-admin", &["team"]);
    assert_ne!(first, certificates.clients().kept_client("admin", &other, at(1)).unwrap());
    let authority = tls::der(certificates.authority_pem()).unwrap();
    let (_, authority) = x509_parser::prelude::X509Certificate::from_der(&authority).unwrap();
    parsed.verify_signature(Some(authority.public_key())).unwrap();
}

#[test]
fn a_request_gets_its_subject_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::open_at(directory.path(), sans(&[]), at(0)).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:a");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = params.serialize_request(&key).unwrap().pem().unwrap();
    assert_eq!(request_subject(&request).unwrap(), Subject::new("system:node:a", &["system:nodes"]));
    let signed = certificates.sign_request(&request, Usage::Client, Duration::from_secs(3600), at(0)).unwrap();
    let der = tls::der(&signed).unwrap();
    use x509_parser::prelude::FromDer;
    let (_, parsed) = x509_parser::prelude::X509Certificate::from_der(&der).unwrap();
    assert!(!parsed.is_ca());
    assert_eq!(parsed.validity().not_after.timestamp(), NOW + 3600);
}

#[test]
fn merging_keeps_other_entries_and_makes_the_context_current() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, "apiVersion: v1\nkind: Config\ncurrent-context: work\nclusters:\n- name: work\n  cluster: {server: 'https://w'}\n- name: amphipod\n  cluster: {server: old}\ncontexts:\n- {name: work, context: {cluster: work, user: me}}\nusers: null\n").unwrap();
    let client = Pair { certificate: "C".into(), key: "K".into() };
    let context = Context { name: "amphipod", server: "https://127.0.0.1:6443", authority: "A", client: &client };
    merge_kubeconfig(&path, &context).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    expect![[r#"
        apiVersion: v1
        clusters:
        - cluster:
            server: https://w
          name: work
        - cluster:
            certificate-authority-data: QQ==
            server: https://127.0.0.1:6443
          name: amphipod
        contexts:
        - context:
            cluster: work
            user: me
          name: work
        - context:
            cluster: amphipod
            user: amphipod
          name: amphipod
        current-context: amphipod
        kind: Config
        users:
        - name: amphipod
          user:
            client-certificate-data: Qw==
            client-key-data: Sw==
    "#]]
    .assert_eq(&std::fs::read_to_string(&path).unwrap());
    std::fs::write(directory.path().join("config.lock"), "").unwrap();
    assert!(matches!(merge_kubeconfig(&path, &context), Err(CertificateError::Locked(_))));
}

#[test]
fn the_file_is_the_one_kubectl_would_write() {
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().join("there");
    std::fs::write(&there, "").unwrap();
    let list = format!("/no/a:{}:/no/b", there.display());
    assert_eq!(kubeconfig_path(Some(&list), None), Some(there));
    assert_eq!(kubeconfig_path(Some("/no/a:/no/b"), None), Some(PathBuf::from("/no/b")));
    assert_eq!(kubeconfig_path(None, Some(Path::new("/home/u"))), Some(PathBuf::from("/home/u/.kube/config")));
}
